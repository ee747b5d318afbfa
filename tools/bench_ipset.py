# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Measure how long one task of the module ipset takes for a large set, compared with a plain `ipset restore`.

    .venv/bin/python tools/bench_ipset.py
    .venv/bin/python tools/bench_ipset.py --entries 10000 --type hash:net

As in tools/bench.py there are five rounds, which measure every way in turn in the bench's own network namespace;
compare only ratios within a round. The entries come from a file on the node. Must run as root.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
from pathlib import Path
from typing import Callable

import rich.console
import rich.table

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / ".collections"))

from ansible_collections.homelab.loadbalancer.tools.bench import (
    ROOT,
    ROUNDS,
    ROUTER,
    START,
    Bench,
    inside,
    seconds,
    workplace,
)

SPELLINGS = {"hash:ip": "10.%d.%d.%d", "hash:net": "%d.%d.%d.0/24", "hash:ip,port": "10.%d.%d.%d,tcp:80"}
RESTORE = "ipset restore of the same"


def entries(kind: str, count: int) -> list[str]:
    """Distinct entries of a type, in the kernel's spelling."""
    first = 10 if kind == "hash:net" else 0
    return [SPELLINGS[kind] % (first + i // 65536, i // 256 % 256, i % 256) for i in range(count)]


def measure(bench: Bench, folder: Path, kind: str, count: int) -> dict[str, list[float]]:
    """The seconds of each way in each round."""
    declared, file = entries(kind, count), folder / "entries"
    create = "create LB-BENCH %s maxelem %d\n" % (kind, count + 1)
    text = create + "".join("add LB-BENCH %s\n" % entry for entry in declared)
    each = {"name": "LB-BENCH", "type": kind, "maxelem": count + 1}
    found: dict[str, list[float]] = {}

    def note(name: str, action: Callable[[], object]) -> None:
        found.setdefault(name, []).append(seconds(action))

    def converge() -> None:
        bench.play({"homelab.loadbalancer.ipset": {"sets": [{**each, "entries_file": str(file)}]}})

    def empty() -> None:
        inside(ROUTER, "ipset", "destroy")

    for dummy in range(ROUNDS):
        file.write_text("\n".join(declared))
        empty()
        note(START, bench.do_nothing)
        note(RESTORE, lambda: inside(ROUTER, "ipset", "restore", stdin=text))
        note("ipset save", lambda: inside(ROUTER, "ipset", "save"))
        empty()
        note("one task, cold", converge)
        note("one task, unchanged", converge)
        file.write_text("\n".join([*declared[1:], entries(kind, count + 1)[-1]]))
        note("one task, one entry another", converge)
        file.write_text("\n".join([*declared[: count // 2], *entries(kind, count * 3 // 2)[count:]]))
        note("one task, half of the entries others", converge)
    return found


def report(kind: str, found: dict[str, list[float]]) -> None:
    table = rich.table.Table("", "seconds", "above start", "x restore", title=kind, title_justify="left")
    for name, figures in found.items():
        start = [0.0] * ROUNDS if name in (RESTORE, "ipset save") else found[START]
        above = [figure - s for figure, s in zip(figures, start)]
        ratio = statistics.median(a / r for a, r in zip(above, found[RESTORE]))
        cells = ["%.2f" % statistics.median(figures), "%.2f" % statistics.median(above), "%.2f" % ratio]
        table.add_row(name, *(cells if name != START else [cells[0], "", ""]))
    rich.console.Console(width=110).print(table)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--entries", type=int, default=65536)
    parser.add_argument("--type", nargs="+", choices=list(SPELLINGS), default=list(SPELLINGS))
    options = parser.parse_args()
    os.environ["ANSIBLE_CONFIG"] = str(ROOT / "ansible.cfg")
    for kind in options.type:
        with workplace() as folder:
            found = measure(Bench(folder, [], "nft"), folder, kind, options.entries)
        sys.stdout.write("%d entries\n" % options.entries)
        report(kind, found)


if __name__ == "__main__":
    main()
