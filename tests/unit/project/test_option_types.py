# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Roles read booleans and numbers as such: `-e name=false` and INI inventories give texts, and the text false is true.

A boolean option stands in an expression as `name | bool` only, and a numeric one as `name | int` or `name | float`. It
may also be handed over whole, `"{{ name }}"`: a boolean to a boolean option of a module or a role, and a number to
anything.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from jinja2 import nodes

from ansible_collections.homelab.loadbalancer.tests.unit.project.role_expressions import (
    BOOLEAN,
    CONVERSIONS,
    NUMBER,
    ROOT,
    expressions,
    mentions,
    module_options,
    parse,
    typed_options,
    yaml_files,
)


def taken_whole(keys: tuple[str, ...], kind: str) -> bool:
    """Whether the option under these keys, of a role or a module, converts the value."""
    if not keys:
        return False
    if typed_options().get(keys[-1]) == kind or keys[-1].startswith("__"):
        return True
    return any(module_options(name).get(keys[-1]) == kind for name in keys[:-1])


def read_as_text(keys: tuple[str, ...], text: str, options: dict[str, str]) -> set[str]:
    """The typed options that an expression reads without a conversion."""
    tree = parse(text)
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
            continue  # printed in a text, or passed whole to an option that converts it
        if kind == NUMBER and isinstance(inner, (nodes.Output, nodes.CondExpr, nodes.Concat)):
            continue  # also passed to an option that takes numbers as text, or printed
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
        (("when",), "{{ 0 or (lb_verify) }}", True),
        (("when",), "{{ 0 or (lb_verify | bool) }}", False),
        (("when",), "{{ 0 or (not lb_verify) }}", True),
        (("when",), "{{ 0 or (lb_verify == true) }}", True),
        (("x",), "{{ 1 if lb_verify else 2 }}", True),
        (("x",), "{{ 1 if hostvars['a'].lb_verify else 2 }}", True),
        (("x",), "{{ 1 if hostvars['a'].lb_verify | default(true) | bool else 2 }}", False),
        (("x",), "{{ [] | homelab.loadbalancer.some_filter(gateway_remove_crds) }}", True),
        (("x",), "{% if gateway_remove_crds %}a{% endif %}", True),
        (("x",), "{{ gateway_remove_crds }}", True),
        (("x",), "gateway_remove_crds is {{ gateway_remove_crds }}", False),
        (("vars", "k8s_objects_wait"), "{{ app_wait }}", False),
        (("vars", "k8s_objects_timeout"), "{{ app_wait }}", True),
        (("vars", "k8s_objects_timeout"), "{{ app_timeout }}", False),
        (("homelab.loadbalancer.virtual_address", "probe"), "{{ lb_probe }}", False),
        (("homelab.loadbalancer.virtual_address", "interface"), "{{ lb_probe }}", True),
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
