# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Write the table of roles, modules and plugins into docs/reference.md, and that of packages into CONTRIBUTING.md.

.venv/bin/python tools/readme.py
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Iterator

import yaml

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / ".collections"))

from ansible_collections.homelab.loadbalancer.tests.unit.project import package_graph, shipped  # noqa: E402

REFERENCE = ROOT / "docs" / "reference.md"
CONTRIBUTING = ROOT / "CONTRIBUTING.md"
TABLE = re.compile(r"(?s)(?<=<!-- begin: the next table is written by tools/readme.py -->\n).*?(?=<!-- end -->)")
_DOCUMENTATION = re.compile(r'(?s)^DOCUMENTATION = r?"""(.*?)"""', re.MULTILINE)


def rows() -> Iterator[tuple[str, str, str]]:
    """Kind, name and short description of each role, module and plugin."""
    for specs in sorted(ROOT.glob("roles/*/meta/argument_specs.yml")):
        main = yaml.safe_load(specs.read_text())["argument_specs"]["main"]
        yield "role", specs.parent.parent.name, main["short_description"] + where(specs)
    for kind in ("module", "filter", "connection", "callback"):
        folder = "modules" if kind == "module" else kind
        for path in sorted((ROOT / "plugins" / folder).glob("*.py")):
            found = _DOCUMENTATION.search(path.read_text())
            if found:
                yield kind, path.stem, yaml.safe_load(found.group(1))["short_description"] + where(path)


def where(path: Path) -> str:
    """A remark about a file that is not part of the installed collection."""
    return "" if shipped.is_shipped(str(path.relative_to(ROOT))) else " (only in the repository)"


def table() -> str:
    lines = ["| kind | name | what it is |", "|---|---|---|"]
    lines += ["| %s | `%s` | %s |" % row for row in rows()]
    return "".join(line + "\n" for line in lines)


def written() -> str:
    """The page of all names with its table brought up to date."""
    return TABLE.sub(lambda dummy: table(), REFERENCE.read_text())


def with_packages() -> str:
    """CONTRIBUTING with its table of packages brought up to date."""
    return TABLE.sub(lambda dummy: package_graph.table(), CONTRIBUTING.read_text())


if __name__ == "__main__":
    REFERENCE.write_text(written())
    CONTRIBUTING.write_text(with_packages())
