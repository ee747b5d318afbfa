# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Print which lines of the plugins were run, from the data of tools/coverage.

    tools/coverage_table.py [--all] FOLDER TESTS...

FOLDER/TESTS contains the data of one test run. The figures of each run include those of the runs before it.
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
WORST = 10  # number of files in the list of most missed lines


class File(NamedTuple):
    """The number of statements in a file, and how many of them were run."""

    name: str
    statements: int
    covered: int

    @property
    def missed(self) -> int:
        return self.statements - self.covered


def files(measured: Sequence[Path]) -> list[File]:
    """The coverage in all of these folders together, for every file of the plugins, even if it was never imported."""
    with tempfile.TemporaryDirectory() as folder:
        run = coverage.Coverage(data_file=str(Path(folder, "lines")), config_file=str(ROOT / "pyproject.toml"))
        # A process that was killed while writing has left an incomplete file.
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
    """A line of either table: statements, run statements, missed statements, and the share of run ones."""
    statements, covered = sum(file.statements for file in counted), sum(file.covered for file in counted)
    percent = 100 * covered / statements if statements else 100
    return [name, str(statements), str(covered), str(statements - covered), "%.1f" % percent]


def table(title: str, rows: Sequence[list[str]]) -> None:
    """Print one table with columns of the necessary width."""
    made = rich.table.Table(title, "statements", "covered", "missed", "percent", box=None)
    for column in made.columns[1:]:
        column.justify = "right"
    for cells in rows:
        made.add_row(*cells)
    rich.console.Console(width=120).print(made, "", sep="\n")


def main() -> None:
    """Print the coverage that each test run adds, and the files with the most missed lines."""
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
