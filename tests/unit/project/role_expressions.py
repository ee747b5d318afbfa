# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The Jinja expressions of roles and playbooks, and which options of roles they name."""

from __future__ import annotations

import ast
from functools import lru_cache
from pathlib import Path
from typing import Any, Iterator

import jinja2
import yaml
from jinja2 import nodes

ROOT = Path(__file__).resolve().parents[3]
ROLES = sorted(path.name for path in (ROOT / "roles").iterdir() if path.is_dir())
BOOLEAN, NUMBER = "bool", "number"
TYPES = {"bool": BOOLEAN, "int": NUMBER, "float": NUMBER}
CONVERSIONS = {BOOLEAN: ("bool",), NUMBER: ("int", "float")}
# Values of these keys are expressions without braces.
BARE = ("when", "failed_when", "changed_when", "until", "that")


@lru_cache(maxsize=None)
def typed_options() -> dict[str, str]:
    """The boolean and numeric options of all roles, by name."""
    found = {}
    for role in ROLES:
        specs = yaml.safe_load((ROOT / "roles" / role / "meta/argument_specs.yml").read_text())["argument_specs"]
        for spec in specs.values():
            for name, option in (spec.get("options") or {}).items():
                if option["type"] in TYPES:
                    found[name] = TYPES[option["type"]]
    return found


def documentation(path: Path) -> Iterator[tuple[str, Any]]:
    """The YAML texts of a plugin of ours, by their names."""
    for statement in ast.walk(ast.parse(path.read_text())):
        if isinstance(statement, ast.Assign) and isinstance(statement.value, ast.Constant):
            name = getattr(statement.targets[0], "id", "")
            if name.isupper() and isinstance(statement.value.value, str) and "\n" in statement.value.value:
                yield name, yaml.safe_load(statement.value.value)


@lru_cache(maxsize=None)
def module_options(name: str) -> dict[str, str]:
    """The options of a module of ours and their types, as its documentation says; of another module none."""
    path = ROOT / "plugins/modules" / ("%s.py" % name.rpartition(".")[2])
    if not name.startswith("homelab.loadbalancer.") or not path.exists():
        return {}
    said = dict(documentation(path))["DOCUMENTATION"]
    options = dict(said["options"])
    for fragment in said.get("extends_documentation_fragment", []):
        file, *part = fragment.split(".")[2:]
        texts = dict(documentation(ROOT / "plugins/doc_fragments" / ("%s.py" % file)))
        options.update(texts[part[0].upper() if part else "DOCUMENTATION"].get("options", {}))
    return {key: TYPES.get(option.get("type"), "") for key, option in options.items()}


def expressions(value: Any, keys: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], str]]:
    """Every text of a YAML file that Jinja evaluates, with the keys that lead to it."""
    if isinstance(value, dict):
        for key, entry in value.items():
            yield from expressions(entry, (*keys, str(key)))
    elif isinstance(value, list):
        for entry in value:
            yield from expressions(entry, keys)
    elif isinstance(value, str) and keys and keys[-1] in BARE and "{{" not in value:
        yield keys, "{{ 0 or (%s) }}" % value  # never a value handed over whole
    elif isinstance(value, str) and ("{{" in value or "{%" in value):
        yield keys, value


def mentions(node: nodes.Node, parents: tuple[nodes.Node, ...] = ()) -> Iterator[tuple[str, tuple[nodes.Node, ...]]]:
    """Every name and attribute of a template, with the nodes it stands in, the innermost first."""
    if isinstance(node, nodes.Name):
        yield node.name, parents
    elif isinstance(node, nodes.Getattr):
        yield node.attr, parents
    elif isinstance(node, nodes.Getitem) and isinstance(node.arg, nodes.Const):
        yield str(node.arg.value), parents
    for child in node.iter_child_nodes():
        yield from mentions(child, (node, *parents))


def yaml_files() -> dict[Path, Any]:
    """What Ansible reads, without the tags that only the inventories of others have."""
    found = [path for part in ("roles", "playbooks", "molecule") for path in (ROOT / part).rglob("*.yml")]
    return {path: yaml.safe_load(path.read_text()) for path in sorted(found)}


def parse(text: str) -> nodes.Template:
    """A template as Jinja reads it."""
    return jinja2.Environment(extensions=["jinja2.ext.do"]).parse(text)  # noqa: S701 # nothing is rendered
