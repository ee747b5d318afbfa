# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A role's argument specification and its defaults say the same, in the project's names."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Iterator

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[3]
# Options without a default that are not required: the role itself says when an undefined one is refused, which Ansible
# cannot. An empty list would be a declaration, by which everything is removed.
UNDEFINED = ("endpoints_services", "httproute_routes", "lb_services", "network_policy_policies")
ROLES = sorted(path.name for path in (ROOT / "roles").iterdir() if path.is_dir())


def load(role: str, path: str) -> dict[str, Any]:
    """A YAML file of a role; a missing or empty one is an empty mapping."""
    file = ROOT / "roles" / role / path
    return (yaml.safe_load(file.read_text()) if file.exists() else None) or {}


def main_options(role: str) -> dict[str, Any]:
    """The options of the role's main entry point."""
    options: dict[str, Any] = load(role, "meta/argument_specs.yml")["argument_specs"]["main"]["options"]
    return options


def all_options(options: dict[str, Any], path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Every option with its path, those of nested dictionaries too."""
    for name, option in options.items():
        yield path + name, option
        yield from all_options(option.get("options") or {}, "%s%s." % (path, name))


def differences(options: dict[str, Any], defaults: dict[str, Any]) -> list[str]:
    """Where the two disagree, in words. A required variable has no default; every other one has it in both."""
    found = []
    for name in sorted({*options, *defaults}):
        option = options.get(name)
        if option is None:
            found.append("%s is in defaults/main.yml and not in meta/argument_specs.yml" % name)
        elif option.get("required"):
            if name in defaults or "default" in option:
                found.append("%s is required and has a default" % name)
        elif name in UNDEFINED:
            if name in defaults or "default" in option:
                found.append("%s has a default, and an undefined one is to be refused" % name)
        elif name not in defaults:
            found.append("%s is in meta/argument_specs.yml and not in defaults/main.yml" % name)
        elif "default" not in option:
            found.append("%s has a default in defaults/main.yml and none in meta/argument_specs.yml" % name)
        elif (type(option["default"]), option["default"]) != (type(defaults[name]), defaults[name]):
            found.append(
                "%s is %r in defaults/main.yml and %r in meta/argument_specs.yml"
                % (name, defaults[name], option["default"])
            )
    return found


@pytest.mark.parametrize("role", ROLES)
def test_defaults_equal_specification(role: str) -> None:
    assert differences(main_options(role), load(role, "defaults/main.yml")) == []


@pytest.mark.parametrize("role", ROLES)
def test_variables_are_named_after_the_role(role: str) -> None:
    public = ("%s_" % role, "lb_", "k8s_")
    assert [name for name in main_options(role) if not name.startswith(public)] == []
    assert [name for name in load(role, "vars/main.yml") if not name.startswith("__%s_" % role)] == []


@pytest.mark.parametrize("role", ROLES)
def test_every_option_is_described(role: str) -> None:
    lacking = [
        "%s: no %s" % (path, key)
        for path, option in all_options(main_options(role))
        for key in ("description", "type")
        if not option.get(key)
    ]
    lacking += [
        "%s: a list without `elements`" % path
        for path, option in all_options(main_options(role))
        if option.get("type") == "list" and not option.get("elements")
    ]
    assert lacking == []


@pytest.mark.parametrize(
    ("options", "defaults", "found"),
    [
        ({"r_a": {"default": 1}}, {"r_a": 1}, 0),
        ({"r_a": {"required": True}}, {}, 0),
        ({"r_a": {"default": 1}}, {"r_a": 2}, 1),
        ({"r_a": {"default": True}}, {"r_a": 1}, 1),
        ({"r_a": {"default": 1}}, {}, 1),
        ({}, {"r_a": 1}, 1),
        ({"r_a": {}}, {"r_a": 1}, 1),
        ({"r_a": {}}, {}, 1),
        ({"r_a": {"required": True}}, {"r_a": 1}, 1),
        ({"lb_services": {}}, {}, 0),
        ({"lb_services": {}}, {"lb_services": []}, 1),
        ({"lb_services": {"default": []}}, {}, 1),
    ],
)
def test_differences_are_found(options: dict[str, Any], defaults: dict[str, Any], found: int) -> None:
    assert len(differences(options, defaults)) == found
