# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Packages of the control node use each other in one direction, and what managed nodes get uses none of them."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Iterator

from graphlib import TopologicalSorter

PLUGINS = Path(__file__).resolve().parents[2] / "plugins"
BASE = "ansible_collections.homelab.loadbalancer.plugins."


def imported(path: Path) -> Iterator[str]:
    """The modules of `plugins` that a file imports, with dots. `from PACKAGE import NAME` is PACKAGE.NAME."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(BASE):
            module = (node.module or "")[len(BASE) :]
            inside = PLUGINS / module.replace(".", "/")
            yield from (["%s.%s" % (module, name.name) for name in node.names] if inside.is_dir() else [module])


def graph() -> dict[str, set[str]]:
    """Of each package or single file of plugin_utils those that it imports."""
    found: dict[str, set[str]] = {}
    for path in (PLUGINS / "plugin_utils").rglob("*.py"):
        own = path.relative_to(PLUGINS / "plugin_utils").parts[0].removesuffix(".py")
        names = [module.split(".")[1] for module in imported(path) if module.startswith("plugin_utils.")]
        found.setdefault(own, set()).update(name for name in names if name != own)
    return found


def test_packages_have_no_circle() -> None:
    found = graph()
    assert "_k8s" in found["_metallb"]
    list(TopologicalSorter(found).static_order())  # raises CycleError, which names them


def test_managed_nodes_get_nothing_that_needs_the_control_node() -> None:
    paths = [*(PLUGINS / "module_utils").rglob("*.py"), *(PLUGINS / "modules").glob("*.py")]
    assert [path.name for path in paths for module in imported(path) if not module.startswith("module_utils.")] == []
