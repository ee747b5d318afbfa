# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Print which lines of the plugins were run, from what tools/coverage has measured.

    tools/coverage_table.py [--all] FOLDER TESTS...

FOLDER/TESTS holds what was measured in one run of tests. Each run is counted together with those before it.
"""

from __future__ import annotations

import argparse
import tempfile
import warnings
from pathlib import Path
from typing import NamedTuple, Sequence

import coverage
import rich.console
import rich.table

ROOT = Path(__file__).resolve().parent.parent
WORST = 10  # files whose missed lines are told


class File(NamedTuple):
    """How many statements a file has, and how many of them were run."""

    name: str
    statements: int
    covered: int

    @property
    def missed(self) -> int:
        return self.statements - self.covered


def files(measured: Sequence[Path]) -> list[File]:
    """What was run in all of these folders together, for every file of the plugins, also one that nobody imported."""
    with tempfile.TemporaryDirectory() as folder:
        run = coverage.Coverage(data_file=str(Path(folder, "lines")), config_file=str(ROOT / "pyproject.toml"))
        # A process that was killed while it wrote has left half a file.
        warnings.simplefilter("ignore", coverage.exceptions.CoverageWarning)
        run.combine([str(path) for path in measured], keep=True)
        paths = sorted((ROOT / "plugins").rglob("*.py"))
        run.get_data().touch_files([str(path) for path in paths])
        found = []
        for path in paths:
            analysis = run.analysis2(str(path))
            statements, missed = len(analysis[1]), len(analysis[3])
            found.append(File(str(path.relative_to(ROOT)), statements, statements - missed))
        return found


def row(name: str, counted: Sequence[File]) -> list[str]:
    """A line of either table: statements, those that were run, those that were not, and their share."""
    statements, covered = sum(file.statements for file in counted), sum(file.covered for file in counted)
    percent = 100 * covered / statements if statements else 100
    return [name, str(statements), str(covered), str(statements - covered), "%.1f" % percent]


def table(title: str, rows: Sequence[list[str]]) -> None:
    """Print one table, as wide as it needs."""
    made = rich.table.Table(title, "statements", "covered", "missed", "percent", box=None)
    for column in made.columns[1:]:
        column.justify = "right"
    for cells in rows:
        made.add_row(*cells)
    rich.console.Console(width=120).print(made, "", sep="\n")


def main() -> None:
    """Print how much each run of tests adds, and the files that they leave the most of."""
    parser = argparse.ArgumentParser(description="Print which lines of the plugins were run.")
    parser.add_argument("--all", action="store_true", help="every file")
    parser.add_argument("folder", type=Path)
    parser.add_argument("tests", nargs="+")
    options = parser.parse_args()
    runs = [options.folder / name for name in options.tests]
    summed = [(" + ".join(options.tests[:end]), files(runs[:end])) for end in range(1, len(runs) + 1)]
    table("tests", [row(name, counted) for name, counted in summed])
    last = sorted(summed[-1][1], key=lambda file: (-file.missed, file.name))
    table("most lines missed", [row(file.name, [file]) for file in (last if options.all else last[:WORST])])


if __name__ == "__main__":
    main()
