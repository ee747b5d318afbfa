# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Measure how long one task of nftables_services takes, and how fast new connections pass its table.

    .venv/bin/python tools/bench_nftables.py                    1,000, 10,000 and 44,125 services
    .venv/bin/python tools/bench_nftables.py --services 500 --kube-proxy 500

Beside it, the lab's kube-proxy puts as many Services into the kernel by its mode nftables. Each service has two
endpoints of its own. As in tools/bench.py there are five rounds, which measure every way in turn; compare only ratios
within a round. Must run as root.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import sys
from pathlib import Path
from typing import Any, Callable, Mapping, NamedTuple, Sequence

import rich.console
import rich.table

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / ".collections"))

from ansible_collections.homelab.loadbalancer.plugins.module_utils._nftables_services.canonical import text
from ansible_collections.homelab.loadbalancer.plugins.module_utils._nftables_services.layout import Options, layout
from ansible_collections.homelab.loadbalancer.plugins.module_utils._services.model import PROTOCOLS, parse_services
from ansible_collections.homelab.loadbalancer.tools import bench
from ansible_collections.homelab.loadbalancer.tools.bench import ROUNDS, ROUTER, START, inside, seconds
from ansible_collections.homelab.loadbalancer.tools.bench_kube_proxy import KubeProxy

LOAD, TRANSACTION = "nft -f of the same table", "nft -f of one changed endpoint"
COLD, UNCHANGED, CHANGED = "task, cold", "task, unchanged", "task, one endpoint changed"
FOREIGN = "task, unchanged, after another program's change"
VARIABLE = "task, unchanged, services as an Ansible variable"
TABLE = "inet LB"


def services(count: int) -> list[dict[str, Any]]:
    """Services with two endpoints each. Only the first and the last one have those of the bench's pod."""
    declared = bench.services(count)
    for i, service in enumerate(declared[1:-1]):
        for number, endpoint in enumerate(service["endpoints"]):
            endpoint["address"] = "10.%d.%d.%d" % (110 + 10 * number + i // 65536, i // 256 % 256, i % 256)
    return declared


def transaction(declared: Sequence[dict[str, Any]]) -> str:
    """The table of services in the syntax of nft, in place of any other."""
    content = text(layout(parse_services(declared), Options(), {protocol: protocol for protocol in PROTOCOLS}))
    return "add table %s\ndelete table %s\ntable %s {\n%s\n}\n" % (TABLE, TABLE, TABLE, content)


class Took(NamedTuple):
    """The seconds by the clock, and those of the processor, which another program changes less."""

    seconds: float
    processor: float


class Bench(bench.Bench):
    """Measurements of one number of services."""

    module = "homelab.loadbalancer.nftables_services"

    def __init__(self, folder: Path, count: int) -> None:
        super().__init__(folder, services(count), "nft")
        self.options = {}

    def flush(self) -> None:
        inside(ROUTER, "nft", "flush", "ruleset")

    def change_endpoint(self) -> str:
        """Give one service in the middle another endpoint. Returns the change in the syntax of nft."""
        service = self.declared[len(self.declared) // 2]
        endpoint, key = service["endpoints"][1], "%s addresses-ip-1 { %s . tcp . 80" % (TABLE, service["address"])
        old, new = endpoint["address"], "10.140.0.1" if endpoint["address"] != "10.140.0.1" else "10.140.0.2"
        endpoint["address"] = new
        self.declare(self.declared)
        return "delete element %s : %s }\nadd element %s : %s }\n" % (key, old, key, new)

    def times(self) -> dict[str, list[Took]]:
        """The time of each way in each round."""
        found: dict[str, list[Took]] = {}

        def note(name: str, action: Callable[..., object], *arguments: str) -> None:
            before = processor()
            took = seconds(lambda: action(*arguments))
            found.setdefault(name, []).append(Took(took, processor() - before))

        for dummy in range(ROUNDS):
            note(START, self.do_nothing)
            self.flush()
            note(LOAD, load, transaction(self.declared))
            note(TRANSACTION, load, self.change_endpoint())
            self.flush()
            note(COLD, self.converge)
            note(UNCHANGED, self.converge)
            self.change_endpoint()
            note(CHANGED, self.converge)
            load("add table ip bench\ndelete table ip bench\n")
            note(FOREIGN, self.converge)
        note(VARIABLE, self.converge_by_variable)
        return found


def load(commands: str) -> None:
    inside(ROUTER, "nft", "-f", "-", stdin=commands)


def processor() -> float:
    """The processor's seconds of all programs that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def report(title: str, found: Mapping[str, Sequence[Took]]) -> None:
    heads = ("", "seconds", "above start", "x start", "x nft -f", "processor", "above start")
    table = rich.table.Table(*heads, title=title, title_justify="left")
    for name, figures in found.items():
        if name in (START, LOAD, TRANSACTION):
            seconds_, used = (statistics.median(values) for values in zip(*figures))
            table.add_row(name, "%.3f" % seconds_, "", "", "", "%.3f" % used)
            continue
        rounds = list(zip(figures, found[START], found[LOAD]))
        columns = (
            [figure.seconds for figure in figures],
            [figure.seconds - start.seconds for figure, start, dummy in rounds],
            [figure.seconds / start.seconds for figure, start, dummy in rounds],
            [(figure.seconds - start.seconds) / plain.seconds for figure, start, plain in rounds],
            [figure.processor for figure in figures],
            [figure.processor - start.processor for figure, start, dummy in rounds],
        )
        table.add_row(name, *("%.2f" % statistics.median(values) for values in columns))
    rich.console.Console(width=110).print(table)


def connections(count: int) -> None:
    """New connections through the only service of a table, and through the last one of many."""
    declared = services(count)
    alone, all_ = transaction(declared[-1:]), transaction(declared)
    rates: dict[str, list[float]] = {"alone": [], "last": []}
    with bench.serving():
        for dummy in range(3 * ROUNDS):
            for name, table in (("alone", alone), ("last", all_)):
                load(table)
                rates[name].append(bench.rate(declared[-1]["address"], 80))
    medians = [statistics.median(rates[name]) for name in rates]
    ratio = statistics.median(last / one for one, last in zip(*rates.values()))
    said = "New connections/s through the only service: %.0f, through the last of %d: %.0f, ratio %.2f\n"
    sys.stdout.write(said % (medians[0], count, medians[1], ratio))


def kube_proxy(count: int) -> None:
    """The first synchronisation of kube-proxy, and one after a change of one endpoint."""
    server, declared = KubeProxy(), services(count)
    try:
        server.start()
        server.declare(declared)
        first, used = server.first_sync(), server.processor()
        found = server.services_in_kernel()
        declared[count // 2]["endpoints"][1]["address"] = "10.140.0.1"
        one = server.change_one(declared[count // 2])
    finally:
        server.stop()
    if found <= count:
        sys.exit("kube-proxy has only %d services of %d in the kernel" % (found, count))
    said = "kube-proxy, %d services: first sync %.2f s (processor: %.2f s), one endpoint changed %.2f s\n"
    sys.stdout.write(said % (count, first, used, one))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--services", type=int, nargs="*", default=[1000, 10000, 44125])
    parser.add_argument("--kube-proxy", type=int, nargs="*", default=[10000], help="numbers of its Services")
    options = parser.parse_args()
    os.environ["ANSIBLE_CONFIG"] = str(bench.ROOT / "ansible.cfg")
    for count in options.services:
        with bench.workplace() as folder:
            report("%d services" % count, Bench(folder, count).times())
            connections(count)
    for count in options.kube_proxy:
        kube_proxy(count)


if __name__ == "__main__":
    main()
