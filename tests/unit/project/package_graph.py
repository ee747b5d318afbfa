# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which package of `plugins` imports which, read from the sources."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Iterator

PLUGINS = Path(__file__).resolve().parents[3] / "plugins"
SHARED = ("module_utils", "plugin_utils")  # folders of packages; the others are one package each
OURS = "ansible_collections.homelab"


def parts_of(path: Path) -> tuple[str, ...]:
    """The folders below `plugins` that a file is in."""
    return path.relative_to(PLUGINS).parts[:-1]


def package(parts: tuple[str, ...]) -> str:
    """The package that a module is in: `module_utils/_iptables`, or `action`."""
    return "/".join(parts[:2]) if parts[0] in SHARED else parts[0]


def imported(path: Path) -> Iterator[tuple[str, ...]]:
    """The modules of `plugins` that a file imports: the parts of their names below `plugins`."""
    here = parts_of(path)
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.level:
            above = here[: len(here) - node.level + 1]
            named = (*above, *(node.module or "").split(".")) if node.module else above
            # `from ..PACKAGE import MODULE` names a folder, and the modules are what is taken from it.
            modules = [(*named, name.name) for name in node.names] if PLUGINS.joinpath(*named).is_dir() else [named]
            yield from modules


def absolute(path: Path) -> list[str]:
    """The absolute imports of this collection in a file."""
    nodes = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.ImportFrom)]
    modules = [node.module or "" for node in nodes if not node.level]
    return [module for module in modules if module.startswith(OURS)]


def graph() -> dict[str, set[str]]:
    """The packages that each package imports."""
    found: dict[str, set[str]] = {}
    for path in sorted(PLUGINS.rglob("*.py")):
        own = package(parts_of(path))
        found.setdefault(own, set()).update(package(parts) for parts in imported(path))
        found[own].discard(own)
    return found


def table() -> str:
    """The graph of the shared packages in Markdown."""
    lines = ["| package | imports of %s | imports of %s |" % SHARED, "|---|---|---|"]
    for name, used in sorted(graph().items()):
        if "/" in name:
            cells = [
                " ".join("`%s`" % other.split("/")[1] for other in sorted(used) if folder in other) for folder in SHARED
            ]
            lines.append("| `%s` | %s |" % (name, " | ".join(cells)))
    return "".join(line + "\n" for line in lines)
