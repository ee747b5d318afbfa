# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Applies or removes objects. The module's documentation describes it."""

from __future__ import annotations

from typing import Any, Mapping, Sequence

from ..plugin_utils._common.objects import MANAGER, parse_definitions
from ..plugin_utils._k8s.action import ClusterAction
from ..plugin_utils._k8s.model import Answer, Apply, Plan, Planner, Query, Remove, Rollout

ARGUMENTS: dict[str, dict[str, Any]] = {
    # Raw, not a list of mappings: Ansible would quote a wrong entry in its error, and it may contain a Secret.
    "definitions": {"type": "raw", "required": True},
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    "field_manager": {"type": "str", "default": MANAGER},
    "force_conflicts": {"type": "bool", "default": False},
    "wait": {"type": "bool", "default": False},
    "timeout": {"type": "int", "default": 120},
}


def queries(options: Mapping[str, Any]) -> Sequence[Query]:
    """No queries: the engine itself reads the objects to apply."""
    return []


def plan(options: Mapping[str, Any], found: Sequence[Answer]) -> Plan:
    """One step that applies all objects, and with `wait` a second one that waits for them."""
    objects = parse_definitions(options["definitions"], options["prefix"] + "definitions")
    if options["state"] == "absent":
        return Plan([Remove(objects)], timeout=options["timeout"])
    waiting = [Rollout(objects)] if options["wait"] else []
    return Plan([Apply(objects, force=options["force_conflicts"]), *waiting], timeout=options["timeout"])


class ActionModule(ClusterAction):
    """Applies the objects in one step."""

    ARGUMENTS = ARGUMENTS
    PLANNER = Planner(queries, plan)
