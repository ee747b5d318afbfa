# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module netns_lab on the real kernel: builds, repairs and removes, and packets pass."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Callable, Iterator

import pytest

from ansible_collections.homelab.loadbalancer.plugins.module_utils import _netns_apply
from ansible_collections.homelab.loadbalancer.plugins.module_utils._command import Completed, run
from ansible_collections.homelab.loadbalancer.plugins.module_utils._netns_model import parse_lab
from ansible_collections.homelab.loadbalancer.plugins.module_utils._netns_plan import plan, sysctls_of
from ansible_collections.homelab.loadbalancer.plugins.module_utils._netns_state import processes, read

REPOSITORY = Path(__file__).resolve().parents[2]
MODULE = REPOSITORY / "plugins/modules/netns_lab.py"
POD = "192.168.20.20"
POD6 = "fd00:20::20"
_numbers = itertools.count()


def wait_for(condition: Callable[[], Any], what: str, limit: float = 20.0) -> None:
    """Wait until it holds, for a bounded time."""
    end = time.monotonic() + limit
    while not condition():
        assert time.monotonic() < end, "not seen: " + what
        time.sleep(0.01)


class Lab:
    """A lab of a name of its own: a - VLAN 10 - router - VLAN 20 - b, which serves HTTP and UDP."""

    def __init__(self) -> None:
        self.name = "nlt%dx%d" % (os.getpid(), next(_numbers))
        self.hosts: list[dict[str, Any]] = [
            {
                "name": "a",
                "links": [{"name": "eth0", "vlan": 10, "addresses": ["192.168.10.10/24", "fd00:10::10/64"]}],
                "gateways": ["192.168.10.1", "fd00:10::1"],
            },
            {
                "name": "router",
                "links": [
                    {"name": "eth0", "vlan": 10, "addresses": ["192.168.10.1/24", "fd00:10::1/64"]},
                    {"name": "eth1", "vlan": 20, "addresses": ["192.168.20.1/24", "fd00:20::1/64"]},
                ],
                "sysctls": {"net.ipv4.ip_forward": 1, "net.ipv6.conf.all.forwarding": 1},
            },
            {
                "name": "b",
                "links": [{"name": "eth0", "vlan": 20, "addresses": [POD + "/24", POD6 + "/64"]}],
                "gateways": ["192.168.20.1", "fd00:20::1"],
            },
        ]
        self.servers: list[dict[str, Any]] = [
            {"host": "b", "port": 80, "text": "Hello from Pod B"},
            {"host": "b", "port": 53, "text": "今日は", "protocol": "udp"},
        ]

    def command(self) -> list[str]:
        return [sys.executable, str(MODULE)]

    def module(
        self, state: str = "present", check: bool = False, command: list[str] | None = None, **more: Any
    ) -> dict[str, Any]:
        arguments = {
            "name": self.name,
            "hosts": self.hosts,
            "servers": self.servers,
            "state": state,
            "_ansible_check_mode": check,
            "_ansible_diff": True,
            **more,
        }
        done = run(
            command or self.command(),
            stdin=json.dumps({"ANSIBLE_MODULE_ARGS": arguments}),
            env={"PYTHONPATH": str(REPOSITORY / ".collections")},
            check=False,
        )
        assert done.out.strip(), done.err
        result: dict[str, Any] = json.loads(done.out)
        return result

    def quick(self, state: str = "present", check: bool = False) -> dict[str, Any]:
        """What the module does, without starting it."""
        lab = parse_lab(self.name, self.hosts, self.servers)
        planned = plan(read(lab.name, sysctls_of(lab)), lab, state == "present")
        if not check:
            _netns_apply.apply(planned)
        return {"changed": planned.changed, "diff": {"before": planned.before, "after": planned.after}}

    def apply(self, state: str = "present", run: Callable[..., dict[str, Any]] | None = None) -> dict[str, Any]:
        """Check mode, then a real run, which must do and show the same, then another, which must do nothing."""
        run = run or self.quick
        predicted, done, again = run(state, check=True), run(state), run(state)
        assert not done.get("failed"), done
        for side in ("before", "after"):
            assert predicted["diff"][side].splitlines() == done["diff"][side].splitlines()
        assert predicted["changed"] == done["changed"]
        assert not again["changed"], again["diff"]
        assert again["diff"]["before"] == again["diff"]["after"] == done["diff"]["after"]
        return done

    def namespace(self, host: str) -> str:
        return "%s-%s" % (self.name, host)

    def ip(self, host: str, *arguments: str) -> str:
        return run(["ip", "-n", self.namespace(host), *arguments]).out

    def run(self, host: str, *argv: str, check: bool = True) -> Completed:
        return run(["ip", "netns", "exec", self.namespace(host), *argv], check=check)

    def namespaces(self) -> list[str]:
        names = [line.split()[0] for line in run(["ip", "netns", "list"]).out.splitlines()]
        return sorted(name for name in names if name.startswith(self.name + "-"))

    def curl(self, address: str = POD) -> str:
        return self.run("a", "curl", "-s", "--max-time", "5", "http://%s/" % address, check=False).out

    def works(self) -> None:
        """Packets pass between the VLANs, by IPv4 and IPv6, at once."""
        self.run("a", "ping", "-c1", "-W5", POD)
        self.run("a", "ping", "-c1", "-W5", POD6)
        assert self.curl() == self.curl("[%s]" % POD6) == "Hello from Pod B\n"

    def server_pids(self) -> list[int]:
        found = []
        for entry in os.listdir("/proc"):
            with contextlib.suppress(OSError):
                if entry.isdigit() and self.name.encode() in Path("/proc", entry, "cmdline").read_bytes().split(b"\0"):
                    found.append(int(entry))
        return sorted(found)


@pytest.fixture
def lab() -> Iterator[Lab]:
    lab = Lab()
    try:
        yield lab
    finally:
        # Whatever the test declared last, also what is refused.
        lab.hosts, lab.servers = [], []
        lab.quick("absent")
        assert (lab.namespaces(), lab.server_pids()) == ([], [])


@pytest.fixture
def built(lab: Lab) -> Lab:
    assert lab.quick()["changed"]
    return lab


def machine() -> list[str]:
    """What of this machine's own network a lab could disturb."""
    shown = [["ip", "-o", "link"], ["ip", "route", "show", "table", "all"], ["ip", "-6", "route"], ["ip", "rule"]]
    shown += [["iptables-save", "-t", table] for table in ("filter", "nat")]
    # Counters of chains and the date are no state.
    texts = [
        "\n".join(line.partition("[")[0] for line in run(argv, check=False).out.splitlines() if line[:1] != "#")
        for argv in shown
    ]
    keys = ("ipv4/ip_forward", "ipv6/conf/all/forwarding", "ipv6/conf/all/accept_dad", "ipv6/conf/all/disable_ipv6")
    return texts + [Path("/proc/sys/net", key).read_text() for key in keys if Path("/proc/sys/net", key).exists()]


def test_build_and_remove(lab: Lab) -> None:
    before = machine()
    assert lab.module(check=True)["changed"]
    assert lab.namespaces() == []
    result = lab.apply(run=lab.module)
    assert result["namespaces"] == {host: lab.namespace(host) for host in ("a", "router", "b")}
    assert result["diff"]["before"] == ""
    assert lab.namespaces() == sorted(map(lab.namespace, ("a", "b", "router", "switch")))
    lab.works()
    # Others may be at work on this machine: what they do passes, what the lab did would stay.
    wait_for(lambda: machine() == before, "the machine's own network as it was")
    left_alone = subprocess.Popen(["ip", "netns", "exec", lab.namespace("a"), "sleep", "1000"])
    wait_for(lambda: processes([lab.namespace("a")])[lab.namespace("a")], "sleep in the namespace")
    assert lab.apply("absent", run=lab.module)["diff"]["after"] == ""
    assert left_alone.wait(timeout=20) == -signal.SIGTERM
    assert (lab.namespaces(), lab.server_pids()) == ([], [])
    found = run(["find", "/run", "/tmp", "-xdev", "-name", "*%s*" % lab.name], check=False).out
    assert found == ""
    wait_for(lambda: machine() == before, "the machine's own network as it was")


def drop_namespace(lab: Lab, *hosts: str) -> None:
    for host in hosts:
        run(["ip", "netns", "del", lab.namespace(host)])


def replace_link(lab: Lab) -> None:
    lab.ip("a", "link", "del", "eth0")
    lab.ip("a", "link", "add", "eth0", "type", "bridge")


def replace_route(lab: Lab) -> None:
    lab.ip("a", "route", "replace", "default", "via", "192.168.10.77")
    lab.ip("a", "route", "add", "10.0.0.0/8", "via", "192.168.10.77", "proto", "static")


def secondary_first(lab: Lab) -> None:
    """The declared address becomes a secondary one, which the kernel deletes together with the primary."""
    lab.ip("a", "addr", "del", "192.168.10.10/24", "dev", "eth0")
    lab.ip("a", "addr", "add", "192.168.10.99/24", "dev", "eth0")
    lab.ip("a", "addr", "add", "192.168.10.10/24", "dev", "eth0")


def kill_servers(lab: Lab) -> None:
    for pid in lab.server_pids():
        os.kill(pid, signal.SIGKILL)
    wait_for(lambda: not lab.server_pids(), "the servers' end")


DRIFT: dict[str, Callable[[Lab], Any]] = {
    "an IPv4 address deleted": lambda lab: lab.ip("a", "addr", "del", "192.168.10.10/24", "dev", "eth0"),
    "an IPv6 address deleted": lambda lab: lab.ip("b", "addr", "del", POD6 + "/64", "dev", "eth0"),
    "all addresses deleted": lambda lab: lab.ip("router", "addr", "flush", "dev", "eth1"),
    "an address added": lambda lab: lab.ip("a", "addr", "add", "192.168.10.99/24", "dev", "eth0"),
    "the declared address secondary to another": secondary_first,
    "a link down": lambda lab: lab.ip("a", "link", "set", "eth0", "down"),
    "loopback down": lambda lab: lab.ip("b", "link", "set", "lo", "down"),
    "a link deleted": lambda lab: lab.ip("router", "link", "del", "eth1"),
    "a link replaced by another kind": replace_link,
    "link-local addresses deleted": lambda lab: lab.ip("router", "addr", "flush", "dev", "eth1", "scope", "link"),
    "another MTU": lambda lab: lab.ip("b", "link", "set", "eth0", "mtu", "1400"),
    "a port down": lambda lab: lab.ip("switch", "link", "set", "b.eth0", "down"),
    "a port unplugged": lambda lab: lab.ip("switch", "link", "set", "b.eth0", "nomaster"),
    "a port in the wrong VLAN": lambda lab: lab.ip("switch", "link", "set", "b.eth0", "master", "vlan10"),
    "a bridge down": lambda lab: lab.ip("switch", "link", "set", "vlan10", "down"),
    "a bridge deleted": lambda lab: lab.ip("switch", "link", "del", "vlan10"),
    "the default route deleted": lambda lab: lab.ip("a", "route", "del", "default"),
    "another default route": replace_route,
    "forwarding off": lambda lab: lab.run("router", "sysctl", "-w", "net.ipv4.ip_forward=0"),
    "servers killed": kill_servers,
    "a host deleted": lambda lab: drop_namespace(lab, "a"),
    "the pod deleted under its server": lambda lab: drop_namespace(lab, "b"),
    "the switch deleted": lambda lab: drop_namespace(lab, "switch"),
    "all deleted": lambda lab: drop_namespace(lab, "a", "b", "router", "switch"),
}


@pytest.mark.parametrize("drift", DRIFT.values(), ids=DRIFT)
def test_drift_is_repaired(built: Lab, drift: Callable[[Lab], Any]) -> None:
    drift(built)
    done = built.quick()
    assert done["changed"]
    assert done["diff"]["before"] != done["diff"]["after"]
    assert not built.quick()["changed"]
    built.works()
    assert len(built.server_pids()) == 2


@pytest.mark.parametrize("name", ["an address added", "a port in the wrong VLAN", "servers killed"])
def test_check_mode_predicts_a_repair_exactly(built: Lab, name: str) -> None:
    DRIFT[name](built)
    assert built.apply()["changed"]


def test_what_others_put_into_the_lab_stays(built: Lab) -> None:
    built.ip("router", "addr", "add", "192.168.10.100/32", "dev", "eth0")
    built.ip("router", "addr", "add", "fd00:10::100/128", "dev", "eth0", "nodad")
    built.ip("router", "link", "add", "br7", "type", "bridge")
    built.ip("router", "route", "add", "10.7.0.0/16", "via", "192.168.10.7")
    built.run("router", "iptables", "-A", "FORWARD", "-d", "192.0.2.1", "-j", "DROP")
    own = [built.ip("router", "-o", what) for what in ("addr", "route")] + [built.run("router", "iptables-save").out]
    assert not built.apply()["changed"]
    built.hosts[1]["links"][1]["addresses"].append("192.168.20.2/24")
    assert built.apply()["changed"]
    now = [built.ip("router", "-o", what) for what in ("addr", "route")] + [built.run("router", "iptables-save").out]
    assert "192.168.10.100/32" in own[0]
    assert [line for line in now[0].splitlines() if "192.168.20.2/24" not in line] == own[0].splitlines()
    assert now[1] == own[1]
    assert "-A FORWARD -d 192.0.2.1/32 -j DROP" in now[2]


def test_declaration_changes(built: Lab) -> None:
    built.hosts.append(
        {
            "name": "a-second-pod-with-a-long-name",
            "links": [{"name": "eth0", "vlan": 20, "addresses": ["192.168.20.21/24"], "mtu": 9000}],
            "gateways": ["192.168.20.1"],
        }
    )
    built.servers.append({"host": "a-second-pod-with-a-long-name", "text": "Hello from the second"})
    built.servers[0]["text"] = "Hello again"
    assert built.apply()["changed"]
    assert (built.curl(), built.curl("192.168.20.21")) == ("Hello again\n", "Hello from the second\n")
    built.hosts[0]["links"][0]["addresses"] = ["192.168.10.11/24"]
    built.hosts[0]["gateways"] = ["192.168.10.1"]
    del built.hosts[-1], built.servers[-1], built.servers[1]
    assert built.apply()["changed"]
    assert "a-second" not in " ".join(built.namespaces())
    assert "192.168.10.10/" not in built.ip("a", "addr")
    assert built.curl() == "Hello again\n"
    assert len(built.server_pids()) == 1
    # The link itself goes, and its VLAN with it.
    del built.hosts[1]["links"][1]
    assert built.apply()["changed"]
    assert "eth1" not in built.ip("router", "link")


def test_http_answer_names_the_client(built: Lab) -> None:
    for address, client in ((POD, "192.168.10.10"), ("[%s]" % POD6, "fd00:10::10")):
        shown = built.run("a", "curl", "-si", "--max-time", "5", "http://%s/any/path" % address).out
        assert shown.startswith("HTTP/1.1 200 OK")
        assert "X-Client-Address: %s\n" % client in shown.replace("\r", "")
    # One connection, several requests.
    urls = ["http://%s/%d" % (POD, number) for number in range(5)]
    shown = built.run("a", "curl", "-s", "-w", "%{num_connects}\n", *urls).out
    assert shown == "Hello from Pod B\n1\n" + "Hello from Pod B\n0\n" * 4


def test_udp_answer(built: Lab) -> None:
    ask = "import socket; s = socket.create_connection; c = socket.socket({0}, 2); c.settimeout(10)\n"
    ask += "c.connect(({1!r}, 53)); c.send(b'?'); print(ascii(c.recv(99).decode()))"
    for family, address in (("socket.AF_INET", POD), ("socket.AF_INET6", POD6)):
        shown = built.run("a", sys.executable, "-c", ask.format(family, address)).out
        assert shown == ascii("今日は\n") + "\n"


def test_two_labs_side_by_side(built: Lab) -> None:
    other = Lab()
    # Its namespaces' names begin with those of the first one.
    other.name = built.name + "-b"
    other.servers[0]["text"] = "Hello from the other"
    try:
        other.apply()
        built.works()
        assert other.curl() == "Hello from the other\n"
        built.apply("absent")
        assert other.curl() == "Hello from the other\n"
        assert not other.quick()["changed"]
    finally:
        other.quick("absent")
    assert built.namespaces() == []


def test_port_that_is_taken(built: Lab) -> None:
    code = "import socket; s = socket.create_server(('', 81)); print('listens', flush=True); s.accept()"
    taken = subprocess.Popen(
        ["ip", "netns", "exec", built.namespace("b"), sys.executable, "-c", code], stdout=subprocess.PIPE, text=True
    )
    with taken:
        assert taken.stdout is not None
        assert taken.stdout.readline() == "listens\n"
        built.servers.append({"host": "b", "port": 81, "text": "x"})
        assert built.module()["msg"] == (
            "the server in network namespace %s did not start: cannot listen on http port 81: Address already in use"
            % built.namespace("b")
        )
        taken.kill()
    assert built.apply()["changed"]


def test_namespace_of_somebody_else_is_refused(lab: Lab) -> None:
    theirs = lab.namespace("router")
    run(["ip", "netns", "add", theirs])
    try:
        lab.ip("router", "link", "add", "br0", "type", "bridge")
        for check in (True, False):
            assert lab.module(check=check, prefix="vlan_lab_")["msg"] == (
                "network namespace %s exists and is not part of the lab %s: remove it (ip netns del %s) or choose "
                "another vlan_lab_name" % (theirs, lab.name, theirs)
            )
        assert not lab.module("absent")["changed"]
        assert lab.namespaces() == [theirs]
    finally:
        run(["ip", "netns", "del", theirs])


def test_what_an_interrupted_run_left_is_completed(lab: Lab) -> None:
    run(["ip", "netns", "add", lab.namespace("router")])
    Path("/run/netns", lab.namespace("a")).touch()
    assert lab.apply()["changed"]
    lab.works()


def test_refused_before_anything_changes(lab: Lab) -> None:
    lab.hosts[1]["links"][0]["addresses"][0] = "10.0.0.300/24"
    assert lab.module(prefix="vlan_lab_")["msg"] == (
        "vlan_lab_hosts[1].links[0].addresses[0] 10.0.0.300/24 is not an IP address with a prefix length"
    )
    assert lab.namespaces() == []


def test_sysctl_that_the_kernel_refuses(lab: Lab) -> None:
    lab.hosts[0]["sysctls"] = {"net.ipv4.no_such": 1}
    assert "sysctl net.ipv4.no_such does not exist in network namespace" in lab.module()["msg"]
    lab.hosts[0]["sysctls"] = {"net.ipv4.ip_default_ttl": "never"}
    assert "ip_default_ttl of network namespace %s does not take never" % lab.namespace("a") in lab.module()["msg"]
    del lab.hosts[0]["sysctls"]
    lab.apply()
    lab.works()


def test_whoever_removes_the_lab_from_inside_stays_alive(built: Lab) -> None:
    inside = ["ip", "netns", "exec", built.namespace("a"), "sh", "-c", '"$@"; exit', "sh", *built.command()]
    assert built.module("absent", command=inside)["changed"]
    assert built.namespaces() == []


def test_not_root(lab: Lab) -> None:
    nobody = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups", *lab.command()]
    assert lab.module(command=nobody)["msg"].startswith("only root can make network namespaces: run Ansible as root")


def test_process_that_does_not_end_when_asked_is_killed() -> None:
    code = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(flush=True); time.sleep(1000)"
    stubborn = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    with stubborn:
        assert stubborn.stdout is not None
        stubborn.stdout.readline()
        _netns_apply.end(lambda: [stubborn.pid] if stubborn.poll() is None else [], grace=0.1)
        assert stubborn.returncode == -signal.SIGKILL
