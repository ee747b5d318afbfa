# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Roles read booleans and numbers as such: `-e name=false` and INI inventories give texts, and the text false is true.

A boolean option stands in an expression as `name | bool` only, and a numeric one as `name | int` or `name | float`. It
may also be handed over whole, `"{{ name }}"`: a boolean to a boolean option of a module or a role, and a number to
anything.
"""

from __future__ import annotations

import ast
from functools import lru_cache
from pathlib import Path
from typing import Any, Iterator

import jinja2
import pytest
import yaml
from jinja2 import nodes

ROOT = Path(__file__).resolve().parents[2]
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
        _, _, file, *part = fragment.split(".")
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


def taken_whole(keys: tuple[str, ...], kind: str) -> bool:
    """Whether what stands under these keys converts the value: a role's option, or a module's."""
    if not keys:
        return False
    if typed_options().get(keys[-1]) == kind or keys[-1].startswith("__"):
        return True
    return any(module_options(name).get(keys[-1]) == kind for name in keys[:-1])


def read_as_text(keys: tuple[str, ...], text: str, options: dict[str, str]) -> set[str]:
    """The typed options that an expression reads without a conversion."""
    tree = jinja2.Environment(extensions=["jinja2.ext.do"]).parse(text)  # noqa: S701 # nothing is rendered
    whole = len(tree.body) == 1 and isinstance(tree.body[0], nodes.Output) and len(tree.body[0].nodes) == 1
    found = set()
    for name, parents in mentions(tree):
        kind = options.get(name)
        if not kind:
            continue
        inner = parents[0]
        if isinstance(inner, nodes.Filter) and inner.name == "default":  # `name | default(false) | bool`
            inner = parents[1]
        if isinstance(inner, nodes.Filter) and inner.name in CONVERSIONS[kind]:
            continue
        if isinstance(inner, nodes.Output) and (not whole or taken_whole(keys, kind)):
            continue  # printed in a text, or handed over whole to what converts it
        if kind == NUMBER and isinstance(inner, (nodes.Output, nodes.CondExpr, nodes.Concat)):
            continue  # also handed over, to what takes numbers as text, or printed
        found.add(name)
    return found


def aliases(files: dict[Path, Any]) -> dict[str, str]:
    """The typed options, and the private variables that are one by another name."""
    known = dict(typed_options())
    while True:
        new = {}
        for content in files.values():
            for keys, text in expressions(content):
                name = text.replace("{{", "").replace("}}", "").strip()
                if keys and keys[-1].startswith("__") and name in known and keys[-1] not in known:
                    new[keys[-1]] = known[name]
        if not new:
            return known
        known.update(new)


def yaml_files() -> dict[Path, Any]:
    """What Ansible reads, without the tags that only the inventories of others have."""
    found = [path for part in ("roles", "playbooks", "molecule") for path in (ROOT / part).rglob("*.yml")]
    return {path: yaml.safe_load(path.read_text()) for path in sorted(found)}


def faults() -> list[str]:
    """Every place where an option is read as the text that it may be, in words."""
    files = yaml_files()
    options = aliases(files)
    places = [(path, *place) for path, content in files.items() for place in expressions(content)]
    places += [(path, (), path.read_text()) for path in sorted((ROOT / "roles").glob("*/templates/*.j2"))]
    return [
        "%s: %s is read without `| %s` in: %s"
        % (path.relative_to(ROOT), name, " or `| ".join(CONVERSIONS[options[name]]), text)
        for path, keys, text in places
        for name in sorted(read_as_text(keys, text, options))
    ]


def test_roles_convert_booleans_and_numbers_before_they_read_them() -> None:
    assert "\n".join(faults()) == ""


@pytest.mark.parametrize(
    ("keys", "text", "found"),
    [
        (("when",), "{{ 0 or (iptables_lb_verify) }}", True),
        (("when",), "{{ 0 or (iptables_lb_verify | bool) }}", False),
        (("when",), "{{ 0 or (not iptables_lb_verify) }}", True),
        (("when",), "{{ 0 or (iptables_lb_verify == true) }}", True),
        (("x",), "{{ 1 if iptables_lb_verify else 2 }}", True),
        (("x",), "{{ 1 if hostvars['a'].iptables_lb_verify else 2 }}", True),
        (("x",), "{{ 1 if hostvars['a'].iptables_lb_verify | default(true) | bool else 2 }}", False),
        (("x",), "{{ [] | homelab.loadbalancer.gateway_removal(gateway_remove_crds) }}", True),
        (("x",), "{% if gateway_remove_crds %}a{% endif %}", True),
        (("x",), "{{ gateway_remove_crds }}", True),
        (("x",), "gateway_remove_crds is {{ gateway_remove_crds }}", False),
        (("vars", "k8s_objects_wait"), "{{ app_wait }}", False),
        (("vars", "k8s_objects_timeout"), "{{ app_wait }}", True),
        (("vars", "k8s_objects_timeout"), "{{ app_timeout }}", False),
        (("homelab.loadbalancer.virtual_address", "probe"), "{{ iptables_lb_probe }}", False),
        (("homelab.loadbalancer.virtual_address", "interface"), "{{ iptables_lb_probe }}", True),
        (("x",), "{{ gateway_timeout // 3 }}", True),
        (("x",), "{{ gateway_timeout | int // 3 }}", False),
        (("x",), "{{ 'after %d s' % gateway_timeout }}", True),
        (("x",), "{{ 'after ' ~ gateway_timeout ~ ' s' }}", False),
    ],
)
def test_an_unconverted_option_is_found(keys: tuple[str, ...], text: str, found: bool) -> None:
    assert bool(read_as_text(keys, text, typed_options())) is found


def test_a_private_name_of_an_option_is_checked_like_the_option() -> None:
    assert aliases({Path("x"): {"__x": "{{ app_wait }}", "__y": "{{ __x }}"}})["__y"] == BOOLEAN
