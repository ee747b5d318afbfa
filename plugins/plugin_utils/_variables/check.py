# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The variables of the collection's roles, and checks of the values that a user has set."""

from __future__ import annotations

import difflib
import fnmatch
import functools
from pathlib import Path
from typing import Any, Iterable, Mapping

import yaml

ROLES = Path(__file__).resolve().parents[3] / "roles"
# Prefixes of options that several roles share. All other options begin with their role's name.
SHARED = ("lb_", "k8s_")
# The results and facts that roles leave to a play.
PUBLISHED = {
    "app": ("app_rollout", "app_undeclared"),
    "coredns_zone": ("coredns_zone_servers",),
    "external_access": ("external_access_checks",),
    "gateway": ("gateway_addresses",),
    "httproute": ("httproute_hostnames",),
    "inspect": ("inspect_cluster", "inspect_report"),
    "k8s_objects": ("k8s_objects_result",),
    "k8s_tools": (
        "k8s_tools_app",
        "k8s_tools_applied",
        "k8s_tools_events",
        "k8s_tools_list",
        "k8s_tools_logs",
        "k8s_tools_managed",
    ),
}
# Variables of the collection's playbooks and action plugins, besides the roles' options.
OTHERS = ("inspect_hosts", "k8s_eks", "lb_hosts")
# Names, and patterns of names, that users reserve for their own variables.
OWN = "homelab_loadbalancer_own_variables"
# Ansible accepts these for an option of type bool, but the filter `bool` reads them as false.
MISREAD = ("t", "y")
# The numeric options that may be negative.
SIGNED = ("k8s_tools_tail",)


@functools.lru_cache(maxsize=None)
def options_of_roles() -> dict[str, dict[str, Any]]:
    """The options of each role, from its argument specification."""
    # The loader in C reads all of them in a hundredth of a second, the other one in a quarter.
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    found: dict[str, dict[str, Any]] = {}
    for path in sorted(ROLES.glob("*/meta/argument_specs.yml")):
        specs = yaml.load(path.read_text(encoding="utf-8"), loader)["argument_specs"]  # noqa: S506 # a safe one
        found[path.parents[1].name] = {
            name: option for spec in specs.values() for name, option in (spec.get("options") or {}).items()
        }
    return found


def unknown_variables(role: str, names: Iterable[str], own: Iterable[str] = ()) -> list[str]:
    """One sentence for each unknown name with a prefix of the role's variables.

    own -- names and patterns of the user's own variables
    """
    roles = options_of_roles()
    options = {name for known in roles.values() for name in known}
    known = {*options, *OTHERS, *(name for names in PUBLISHED.values() for name in names)}
    begin = ("%s_" % role, *(prefix for prefix in SHARED if any(name.startswith(prefix) for name in roles[role])))
    found = []
    for name in sorted(names):
        if name.startswith(begin) and name not in known and not any(fnmatch.fnmatchcase(name, one) for one in own):
            near = difflib.get_close_matches(name, sorted(options), 1, 0.7)
            advice = "did you mean %s?" % near[0] if near else "remove it, or correct its name"
            found.append("%s is not a variable of the role %s: %s" % (name, role, advice))
    return found


def misread_values(role: str, values: Mapping[str, Any]) -> list[str]:
    """One sentence for each option of the role with a value that Ansible accepts but the role would misread.

    values -- the options' values, by name
    """
    found = []
    for name, option in options_of_roles()[role].items():
        value = values.get(name)
        if not isinstance(value, str):
            continue
        if option["type"] == "bool" and value.strip().lower() in MISREAD:
            found.append("%s %s is neither true nor false: write true" % (name, value))
        if option["type"] in ("list", "dict") and not value.strip():
            empty = "[]" if option["type"] == "list" else "{}"
            found.append("%s is an empty text: write a %s, of which %s has no entries" % (name, option["type"], empty))
    return found


def negative_numbers(role: str, values: Mapping[str, Any]) -> list[str]:
    """One sentence for each negative number, such as a time or a count."""
    found = []
    for name, option in options_of_roles()[role].items():
        if option["type"] not in ("int", "float") or name in SIGNED:
            continue
        try:
            negative = float(values.get(name, 0)) < 0
        except (TypeError, ValueError):
            continue  # a template, or a value that Ansible refuses
        if negative:
            found.append("%s %s is negative: write 0 or more" % (name, values[name]))
    return found
