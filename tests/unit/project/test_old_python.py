# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What runs on managed nodes evaluates no type that Python 3.8 does not know.

`from __future__ import annotations` keeps `list[str]` and `str | None` unevaluated in annotations, and there only: an
alias at module level, a base class or a cast would fail on import. The linters look at the rest of the language.
"""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

PLUGINS = Path(__file__).resolve().parents[3] / "plugins"
FILES = sorted([*PLUGINS.glob("module_utils/**/*.py"), *PLUGINS.glob("modules/*.py")])
GENERIC = {"dict", "frozenset", "list", "set", "tuple", "type"}


def without_annotations(node: ast.AST) -> ast.AST:
    """The same tree, its annotations taken out."""
    for child in ast.walk(node):
        for field in ("annotation", "returns"):
            if getattr(child, field, None) is not None:
                setattr(child, field, ast.Constant(None))
    return node


def evaluated_types(source: str) -> list[str]:
    """Types that are evaluated when the file is imported or run."""
    found = []
    for node in ast.walk(without_annotations(ast.parse(source))):
        generic = isinstance(node, ast.Subscript) and isinstance(node.value, ast.Name) and node.value.id in GENERIC
        union = isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr) and "None" in ast.unparse(node)
        if generic or union:
            found.append(ast.unparse(node))
    return found


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PLUGINS)))
def test_no_new_type_is_evaluated(path: Path) -> None:
    assert evaluated_types(path.read_text()) == []


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("def f(x: list[str] | None) -> dict[str, int]: ...", 0),
        ("class A:\n    x: tuple[int, ...] = ()", 0),
        ("x = flags | 4", 0),
        ("names = table[0]", 0),
        ("Names = dict[str, int]", 1),
        ("class A(list[str]): ...", 1),
        ("x = cast(str | None, y)", 1),
    ],
)
def test_evaluated_types_are_found(source: str, found: int) -> None:
    assert len(evaluated_types(source)) == found
