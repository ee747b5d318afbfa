# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run the collection on other systems, and write the results into the table of docs/systems.md.

    tools/compat.py [OPTION...]    options of pytest, for instance -k "trixie and nftables"

Rows of tests that did not run stay as they are.
"""

from __future__ import annotations

import datetime
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Dict, Iterator, NamedTuple, Tuple
from xml.etree import ElementTree

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs/systems.md"
BEGIN = "<!-- begin: the next table is written by `make compat` -->\n"
END = "<!-- end -->\n"
HEAD = "| system | what ran | versions | result | date |\n|---|---|---|---|---|\n"


class Row(NamedTuple):
    """The result of one test."""

    system: str
    ran: str
    versions: str
    result: str
    date: str


Rows = Dict[Tuple[str, str], Row]


def read_table(text: str) -> Rows:
    """The rows of the page, by system and by what ran."""
    table = text.partition(BEGIN)[2].partition(END)[0]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()[2:]]
    return {(row[0], row[1]): Row(*row) for row in cells}


def with_table(text: str, rows: Rows) -> str:
    """The page with these rows."""
    before, dummy, rest = text.partition(BEGIN)
    lines = ["| %s |\n" % " | ".join(row) for row in sorted(rows.values(), key=order)]
    return before + BEGIN + HEAD + "".join(lines) + END + rest.partition(END)[2]


def order(row: Row) -> tuple[str, ...]:
    """Control nodes first."""
    return ("" if row.system.startswith("ansible-core") else row.system, *row)


def results(report: Path, date: str) -> Iterator[Row]:
    """The rows of a JUnit file."""
    for case in ElementTree.parse(report).iter("testcase"):
        notes = [json.loads(note.get("value", "")) for note in case.iter("property") if note.get("name") == "row"]
        if notes:
            system, ran, versions = notes[-1]
            yield Row(system, ran, versions, outcome(case), date)


def outcome(case: ElementTree.Element) -> str:
    """The result of a test in words."""
    skipped = case.find("skipped")
    if case.find("failure") is not None or case.find("error") is not None:
        return "fails"
    return "works" if skipped is None else "not run: " + (skipped.get("message") or "").replace("|", "")


def main(options: list[str]) -> int:
    """Run the tests, and return their exit code."""
    with tempfile.TemporaryDirectory(prefix="compat-") as folder:
        report = Path(folder) / "report.xml"
        argv = [sys.executable, "-m", "pytest", "-v", "tests/compat", "--junitxml=%s" % report, *options]
        code = subprocess.run(argv, cwd=ROOT, check=False).returncode
        rows = list(results(report, datetime.date.today().isoformat())) if report.exists() else []
    text = PAGE.read_text(encoding="utf-8")
    known = read_table(text)
    known.update({(row.system, row.ran): row for row in rows})
    PAGE.write_text(with_table(text, known), encoding="utf-8")
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
