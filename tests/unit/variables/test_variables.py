# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A misspelt variable of a role is refused with the closest known name. Correct variables are accepted."""

from __future__ import annotations

import re
from functools import lru_cache
from pathlib import Path
from typing import Any, Iterator

import pytest
import yaml

from ansible_collections.homelab.loadbalancer.plugins.plugin_utils._variables import check as variables

ROOT = Path(__file__).resolve().parents[3]
ROLES = sorted(path.name for path in (ROOT / "roles").iterdir() if path.is_dir())


def mappings(value: Any) -> Iterator[dict[str, Any]]:
    """Every mapping of a YAML document."""
    if isinstance(value, dict):
        yield value
    for entry in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from mappings(entry)


def left_by(documents: list[Any]) -> set[str]:
    """The names of the results and facts that tasks leave to a play."""
    found: set[str] = set()
    for task in (task for document in documents for task in mappings(document)):
        found |= {task["register"]} if isinstance(task.get("register"), str) else set()
        found |= set(task.get("ansible.builtin.set_fact", {}))
    return found


def set_in(documents: list[Any]) -> set[str]:
    """The names of all variables that inventories, plays and tasks set."""
    found = left_by(documents)
    for entry in (entry for document in documents for entry in mappings(document)):
        found |= set(entry["vars"]) if isinstance(entry.get("vars"), dict) else set()
    return found


def load(*patterns: str) -> list[Any]:
    return [yaml.safe_load(path.read_text()) for pattern in patterns for path in sorted(ROOT.glob(pattern))]


def refused(role: str, *names: str, own: tuple[str, ...] = ()) -> str:
    return "\n".join(variables.unknown_variables(role, names, own))


@pytest.mark.parametrize("role", ROLES)
def test_every_role_refuses_unknown_variables_first(role: str) -> None:
    [tasks] = load("roles/%s/tasks/main.yml" % role)
    assert "homelab.loadbalancer.check_variables" in tasks[0]
    assert tasks[0]["tags"] == ["always"]
    assert "when" not in tasks[0]


@pytest.mark.parametrize("role", ROLES)
def test_an_unknown_variable_of_a_role_is_refused(role: str) -> None:
    assert refused(role, role + "_xyz").startswith("%s_xyz is not a variable of the role %s: " % (role, role))


@pytest.mark.parametrize("role", ROLES)
def test_the_closest_known_name_is_named(role: str) -> None:
    name = max(variables.options_of_roles()[role], key=len)
    assert refused(role, name[:-2] + name[-1]).endswith("did you mean %s?" % name)


@pytest.mark.parametrize("role", ["iptables_lb", "ipvs_lb", "vip_failover"])
def test_one_service_is_not_a_declaration_of_services(role: str) -> None:
    assert (
        refused(role, "lb_service") == "lb_service is not a variable of the role %s: did you mean lb_services?" % role
    )


@pytest.mark.parametrize(
    ("role", "name"),
    [
        ("iptables_lb", "lb_services"),
        ("nftables_lb", "lb_services"),
        ("ipvs_lb", "lb_services"),
        ("vip_failover", "lb_services"),
    ],
)
def test_an_undefined_declaration_is_refused_before_all_else(role: str, name: str) -> None:
    [tasks] = load("roles/%s/tasks/preflight.yml" % role)
    assert "%s is defined and %s is not none" % (name, name) in tasks[0]["ansible.builtin.assert"]["that"]
    assert "write %s: []" % name in tasks[0]["ansible.builtin.assert"]["fail_msg"]


@pytest.mark.parametrize("role", ROLES)
def test_options_of_all_roles_are_known_to_each(role: str) -> None:
    assert refused(role, *(name for options in variables.options_of_roles().values() for name in options)) == ""


@lru_cache(maxsize=None)
def variables_of_the_repository() -> frozenset[str]:
    found = set_in(load("playbooks/*.yml", "molecule/**/*.yml", "inventories/*/hosts.yml"))
    for content in load("inventories/*/*_vars/**/*.yml", "molecule/*/vars.yml"):
        found |= set(content or {})
    for path in [*ROOT.glob("docs/*.md"), ROOT / "README.md"]:
        for block in re.findall(r"```yaml\n(.*?)```", path.read_text(), re.DOTALL):
            found |= set(re.findall(r"^[- ]*([a-z]\w+):", block, re.MULTILINE))
    return frozenset(found)


@pytest.mark.parametrize("role", ROLES)
def test_no_variable_of_the_repository_is_refused(role: str) -> None:
    assert len(variables_of_the_repository()) > 50
    assert refused(role, *variables_of_the_repository()) == ""


@pytest.mark.parametrize("role", ROLES)
def test_published_variables_are_declared(role: str) -> None:
    left = {name for name in left_by(load("roles/%s/tasks/*.yml" % role)) if not name.startswith("_")}
    assert left == set(variables.PUBLISHED.get(role, ()))


def test_foreign_and_private_names_are_left_alone() -> None:
    assert refused("app", "application_name", "__app_x", "lb_x", "ansible_facts", "hostvars", "my_app_x") == ""


@pytest.mark.parametrize(
    ("own", "known"), [((), False), (("app_version",), True), (("app_v*",), True), (("b",), False)]
)
def test_reserved_user_names_are_accepted(own: tuple[str, ...], known: bool) -> None:
    assert (refused("app", "app_version", own=own) == "") is known


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("lb_verify", "y", "lb_verify y is neither true nor false"),
        ("lb_verify", "T", "lb_verify T is neither true nor false"),
        ("lb_verify", "false", ""),
        ("lb_verify", True, ""),
        ("lb_pod_cidr", "", "lb_pod_cidr is an empty text: write a list, of which [] has no entries"),
        ("lb_pod_cidr", "10.0.0.0/8", ""),
        ("lb_pod_cidr", [], ""),
        ("lb_sysctls", " ", "lb_sysctls is an empty text: write a dict, of which {} has no entries"),
        ("iptables_lb_layout", "", ""),
    ],
)
def test_ambiguous_texts_are_refused(name: str, value: Any, said: str) -> None:
    found = variables.misread_values("iptables_lb", {name: value})
    assert "\n".join(found).startswith(said)
    assert bool(found) is bool(said)


@pytest.mark.parametrize(
    ("role", "name", "value", "said"),
    [
        ("gateway", "gateway_timeout", -5, "gateway_timeout -5 is negative: write 0 or more"),
        ("gateway", "gateway_timeout", "-5", "gateway_timeout -5 is negative: write 0 or more"),
        ("external_access", "external_access_wait", -0.5, "external_access_wait -0.5 is negative: write 0 or more"),
        ("gateway", "gateway_timeout", 0, ""),
        ("gateway", "gateway_timeout", "{{ patience }}", ""),
        ("gateway", "gateway_timeout", None, ""),
        ("gateway", "gateway_class", "-5", ""),
        ("k8s_tools", "k8s_tools_tail", -1, ""),
    ],
)
def test_negative_numbers_are_refused(role: str, name: str, value: Any, said: str) -> None:
    assert variables.negative_numbers(role, {name: value}) == ([said] if said else [])
