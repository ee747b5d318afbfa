# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A module that refuses an option names the role's variable that set it, not the option."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Iterator

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[3]
# The role cluster_lab computes most options of its modules.
ROLES = sorted(path.name for path in (ROOT / "roles").iterdir() if path.name != "cluster_lab")
MODULE = "homelab.loadbalancer."
# Modules always name these variables instead of their options.
ALWAYS_NAMED = {"lb_services", "k8s_kubeconfig", "k8s_context"}
# No message names these options: their modules accept every value, name only the value, or run after another module
# has checked the same variable.
NEVER_NAMED = {
    ("k8s_list", "field_selectors"),
    ("k8s_list", "kinds"),
    ("k8s_list", "label_selectors"),
    ("k8s_logs", "label_selectors"),
    ("k8s_logs", "names"),
    ("node_inspect", "timeout"),
    ("probe_ports", "timeout"),
    ("probe_ports", "wait"),
    ("vrrp_listen", "interface"),
    ("vrrp_listen", "limit"),
    ("vrrp_listen", "router_id"),
}


def load(role: str, path: str) -> Any:
    file = ROOT / "roles" / role / path
    return yaml.safe_load(file.read_text(encoding="utf-8")) if file.exists() else {}


def calls(node: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    """The modules of the collection that tasks call, with their options; those of module_defaults too."""
    if isinstance(node, list):
        for one in node:
            yield from calls(one)
    elif isinstance(node, dict):
        for key, value in node.items():
            if key.startswith(MODULE) and isinstance(value, dict):
                yield key[len(MODULE) :], value
            else:
                yield from calls(value)


def refusable(role: str) -> set[str]:
    """The variables that a module may refuse. Ansible itself checks booleans and choices, with the role's names."""
    specs = load(role, "meta/argument_specs.yml")["argument_specs"]["main"]["options"]
    return {name for name, spec in specs.items() if spec["type"] != "bool" and "choices" not in spec}


def named_otherwise(role: str) -> Iterator[str]:
    known = refusable(role)
    defaults = dict(calls(load(role, "tasks/main.yml")))
    names = load(role, "vars/main.yml").get("__%s_variables" % role, {})
    for path in sorted((ROOT / "roles" / role / "tasks").glob("*.yml")):
        for module, given in calls(yaml.safe_load(path.read_text(encoding="utf-8"))):
            options = {**defaults.get(module, {}), **given}
            for option, value in options.items():
                used = known & set(re.findall(r"\w+", value)) if isinstance(value, str) else set()
                if len(used) != 1 or used <= ALWAYS_NAMED or (module, option) in NEVER_NAMED:
                    continue
                (variable,) = used
                name = names.get(option) if "variables" in options else str(options.get("prefix", "")) + option
                if name != variable:
                    yield "%s of %s is called %s, and the variable is %s" % (option, module, name, variable)


@pytest.mark.parametrize("role", ROLES)
def test_refusals_name_the_variables_of_the_role(role: str) -> None:
    assert list(named_otherwise(role)) == []
