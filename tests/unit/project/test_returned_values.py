# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Each module returns something for the next task, and documents what it returns.

What modules really return is compared with their documentation wherever the integration tests run one.
"""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Iterator

import pytest

from ansible_collections.homelab.loadbalancer.tests.unit.project.returned_values import documented

PLUGINS = Path(__file__).resolve().parents[3] / "plugins"
MODULES = sorted(path for path in PLUGINS.glob("modules/*.py"))
# They only refuse, and return nothing.
CHECKS = {"check_variables"}
# Values that Ansible documents for all modules.
COMMON = {"changed", "diff", "warnings"}


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.stem)
def test_a_module_returns_something(path: Path) -> None:
    values = documented(path.stem)
    assert values or path.stem in CHECKS
    for name, value in values.items():
        assert {"description", "returned", "type"} <= set(value), name


def results(tree: ast.AST) -> Iterator[str]:
    """The keys of the mappings in a source that are a module's result, which says whether it changed anything."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Dict):
            keys = [str(key.value) for key in node.keys if isinstance(key, ast.Constant)]
        elif isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "exit_json":
            keys = [keyword.arg for keyword in node.keywords if keyword.arg]
        else:
            continue
        if "changed" in keys:
            yield from keys


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.stem)
def test_returned_values_are_documented(path: Path) -> None:
    assert set(results(ast.parse(path.read_text()))) - COMMON <= set(documented(path.stem))
