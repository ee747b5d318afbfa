# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Measure how long one task takes for many services, compared with other tools.

    make bench                                     1,000 and 10,000 services, both backends
    .venv/bin/python tools/bench.py --services 500 --backend nft

Every figure is the median of five rounds. Each round measures every way in turn, in the bench's own network
namespaces. Compare only ratios within a round: machines differ, and are sometimes busy. Must run as root.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Callable, Iterator

import rich.console
import rich.table

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / ".collections"))

from ansible_collections.homelab.loadbalancer.plugins.module_utils._iptables import layout as iptables_layout  # noqa: E402
from ansible_collections.homelab.loadbalancer.plugins.module_utils._iptables.plan import boot_text  # noqa: E402
from ansible_collections.homelab.loadbalancer.plugins.module_utils._services.model import parse_services  # noqa: E402

ROUNDS = 5
START = "Ansible's own start (a task that does nothing)"
NAME = "lb-bench-%d" % os.getpid()
CLIENT, ROUTER, POD = NAME + "-c", NAME + "-r", NAME + "-p"
CONNECTIONS = 2000
LOOP_RULES = 50

SERVER = """
import socket
listener = socket.create_server(("", 8080), backlog=1024)
print("ready", flush=True)
while True:
    listener.accept()[0].close()
"""
CLIENT_LOOP = """
import socket, sys, time
def connect():
    socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=10).recv(1)
connect()
start = time.perf_counter()
for _ in range(int(sys.argv[3])):
    connect()
print(time.perf_counter() - start)
"""


def services(count: int) -> list[dict[str, Any]]:
    """Services with two endpoints each; all endpoints are in the bench's pod."""
    pods = ["10.2.0.%d" % (2 + i) for i in range(2)]
    return [
        {
            "name": "s%d" % i,
            "address": "10.%d.%d.%d" % (100 + i // 65536, i // 256 % 256, i % 256),
            "port": 80,
            "endpoints": [{"address": pod, "port": 8080} for pod in pods],
        }
        for i in range(count)
    ]


def run(*argv: str, stdin: str = "") -> str:
    """Run a command; if it fails, end the bench with its error message."""
    done = subprocess.run(argv, input=stdin, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit("%s\n%s%s" % (" ".join(argv), done.stdout, done.stderr))
    return done.stdout


def inside(namespace: str, *argv: str, stdin: str = "") -> str:
    """Run a command in a network namespace."""
    return run("ip", "netns", "exec", namespace, *argv, stdin=stdin)


def build_network() -> None:
    """A client, a router and a pod, in a row."""
    for namespace in (CLIENT, ROUTER, POD):
        run("ip", "netns", "add", namespace)
    for namespace, link, net in ((CLIENT, "west", "10.1.0"), (POD, "east", "10.2.0")):
        run("ip", "link", "add", link, "netns", ROUTER, "type", "veth", "peer", "name", "eth0", "netns", namespace)
        for where, name, host in ((ROUTER, link, 1), (namespace, "eth0", 2)):
            run("ip", "-n", where, "address", "add", "%s.%d/24" % (net, host), "dev", name)
            run("ip", "-n", where, "link", "set", name, "up")
        run("ip", "-n", namespace, "route", "add", "default", "via", net + ".1")
    run("ip", "-n", POD, "address", "add", "10.2.0.3/24", "dev", "eth0")
    inside(ROUTER, "sysctl", "-qw", "net.ipv4.ip_forward=1")


def remove_network() -> None:
    """Remove the network in any state of the bench."""
    for namespace in (CLIENT, ROUTER, POD):
        subprocess.run(["ip", "netns", "delete", namespace], stderr=subprocess.DEVNULL, check=False)


@contextlib.contextmanager
def workplace() -> Iterator[Path]:
    """The network during the block, and a folder for files."""
    with tempfile.TemporaryDirectory(prefix="lb-bench-") as folder:
        try:
            build_network()
            yield Path(folder)
        finally:
            remove_network()


def seconds(action: Callable[[], object]) -> float:
    """The duration of an action."""
    start = time.perf_counter()
    action()
    return time.perf_counter() - start


class Bench:
    """Measurements of one number of services with one backend."""

    module = "homelab.loadbalancer.iptables_services"

    def __init__(self, folder: Path, declared: list[dict[str, Any]], backend: str) -> None:
        self.folder = folder
        self.options = {"backend": backend}
        self.declared = declared
        self.command = "iptables-%s" % backend
        (folder / "inventory.json").write_text(
            json.dumps(
                {
                    "all": {
                        "hosts": {ROUTER: {}},
                        "vars": {
                            "ansible_connection": "homelab.loadbalancer.netns",
                            "ansible_netns_name": ROUTER,
                            "ansible_python_interpreter": sys.executable,
                        },
                    }
                }
            )
        )
        self.declare(self.declared)

    def declare(self, declared: list[dict[str, Any]]) -> None:
        (self.folder / "services.json").write_text(json.dumps(declared))

    def change_one(self) -> None:
        """Give one service in the middle a new endpoint."""
        endpoint = self.declared[len(self.declared) // 2]["endpoints"][1]
        endpoint["port"] = 8081 if endpoint["port"] == 8080 else 8080
        self.declare(self.declared)

    def play(self, task: dict[str, Any], *arguments: str) -> str:
        """Run one task with ansible-playbook."""
        play = {"hosts": "all", "gather_facts": False, "tasks": [task]}
        (self.folder / "play.json").write_text(json.dumps([play]))
        argv = ("-i", str(self.folder / "inventory.json"), *arguments, str(self.folder / "play.json"))
        return run(str(ROOT / ".venv/bin/ansible-playbook"), *argv)

    def do_nothing(self) -> None:
        self.play({"ansible.builtin.ping": None})

    def converge(self) -> None:
        self.play({self.module: {"services_file": str(self.folder / "services.json"), **self.options}})

    def converge_by_variable(self) -> None:
        variables = self.folder / "variables.json"
        variables.write_text(json.dumps({"lb_services": self.declared}))
        self.play({self.module: {"services": "{{ lb_services }}", **self.options}}, "-e", "@%s" % variables)

    def flush(self) -> None:
        """Remove all rules, faster than a task would."""
        for table in ("nat", "filter"):
            inside(ROUTER, self.command, "-t", table, "-F")
            inside(ROUTER, self.command, "-t", table, "-X")

    def stock_module(self) -> None:
        """The loop with ansible.builtin.iptables, for a few rules."""
        rule = {"table": "nat", "chain": "PREROUTING", "protocol": "tcp", "jump": "DNAT"}
        rule.update(destination="{{ item }}", destination_port="80", to_destination="10.2.0.2:8080")
        loop = [service["address"] for service in self.declared[:LOOP_RULES]]
        self.play({"ansible.builtin.iptables": rule, "loop": loop})

    def measure(self) -> dict[str, list[float]]:
        """The seconds of each tool in each round. A round measures every tool, so a slow moment affects all of them."""
        wanted = iptables_layout.layout(parse_services(self.declared), "ipv4", iptables_layout.Options())
        text = boot_text(wanted)
        rules = sum(len(chain) for table in wanted.values() for chain in table.chains.values())
        restore = "%s-restore of the same %d rules" % (self.command, rules)
        variable = "one task, unchanged, services as an Ansible variable"
        loop = "ansible.builtin.iptables in a loop, scaled up from %d rules" % LOOP_RULES
        found: dict[str, list[float]] = {}

        def note(name: str, action: Callable[[], object], scale: float = 1) -> None:
            found.setdefault(name, []).append(seconds(action) * scale)

        for dummy in range(ROUNDS):
            note(START, self.do_nothing)
            self.flush()
            note(restore, lambda: inside(ROUTER, self.command + "-restore", "--noflush", stdin=text))
            self.flush()
            note("one task, cold", self.converge)
            note("one task, unchanged", self.converge)
            self.change_one()
            note("one task, one endpoint changed", self.converge)
        note(variable, self.converge_by_variable)
        self.flush()
        note(loop, self.stock_module, rules / LOOP_RULES)
        self.flush()
        return found

    def connections(self) -> dict[str, list[float]]:
        """New connections per second, without a service, and through the first and the last one."""
        self.declared = services(len(self.declared))
        self.declare(self.declared)
        self.converge()
        with serving():
            fronts = [("10.2.0.2", 8080)] + [(self.declared[i]["address"], 80) for i in (0, -1)]
            names = ("to the pod itself", "through the first service", "through the last service")
            rounds = [[rate(*front) for front in fronts] for dummy in range(ROUNDS)]
            return dict(zip(names, map(list, zip(*rounds))))


@contextlib.contextmanager
def serving() -> Iterator[None]:
    """A server in the pod."""
    argv = ["ip", "netns", "exec", POD, sys.executable, "-c", SERVER]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as server:
        if server.stdout:
            server.stdout.readline()  # wait until it listens
        try:
            yield
        finally:
            server.terminate()


def rate(address: str, port: int) -> float:
    """New connections per second."""
    argv = (sys.executable, "-c", CLIENT_LOOP, address, str(port), str(CONNECTIONS))
    return CONNECTIONS / float(inside(CLIENT, *argv))


def report(bench: Bench) -> None:
    """Measure one backend with one number of services, and print the figures."""
    title = "%d services, %s" % (len(bench.declared), run(bench.command, "--version").strip())
    table = rich.table.Table(
        "", "seconds", "above start", "x start", "x restore", "x both", title=title, title_justify="left"
    )
    found = bench.measure()
    start, restore = list(found.values())[:2]
    for name, figures in found.items():
        rounds = list(zip(figures, start, restore))
        ratios = (
            [figure - s for figure, s, dummy in rounds],
            [figure / s for figure, s, dummy in rounds],
            [figure / r for figure, dummy, r in rounds],
            [figure / (s + r) for figure, s, r in rounds],
        )
        table.add_row(name, *("%.2f" % statistics.median(values) for values in (figures, *ratios)))
    rates = rich.table.Table("", "connections/s", "x direct", title="New connections, one after the other")
    rates.title_justify = "left"
    measured = bench.connections()
    direct = next(iter(measured.values()))
    for name, figures in measured.items():
        ratio = statistics.median(rate / d for rate, d in zip(figures, direct))
        rates.add_row(name, "%.0f" % statistics.median(figures), "%.2f" % ratio)
    console = rich.console.Console(width=110)
    console.print(table)
    console.print(rates)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--services", type=int, nargs="+", default=[1000, 10000])
    parser.add_argument("--backend", nargs="+", choices=["legacy", "nft"], default=["legacy", "nft"])
    options = parser.parse_args()
    os.environ["ANSIBLE_CONFIG"] = str(ROOT / "ansible.cfg")
    for backend in options.backend:
        for count in options.services:
            with workplace() as folder:
                report(Bench(folder, services(count), backend))


if __name__ == "__main__":
    main()
