# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Applies or removes objects; see the module's documentation for what it does."""

from __future__ import annotations

from typing import Any, Mapping, Sequence

from ..plugin_utils._common.objects import MANAGER, parse_definitions
from ..plugin_utils._k8s.action import ClusterAction
from ..plugin_utils._k8s.model import Answer, Apply, Plan, Planner, Query, Remove, Rollout

ARGUMENTS: dict[str, dict[str, Any]] = {
    # Not a list of mappings: Ansible would quote what is none, and a Secret may be in it.
    "definitions": {"type": "raw", "required": True},
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    "field_manager": {"type": "str", "default": MANAGER},
    "force_conflicts": {"type": "bool", "default": False},
    "wait": {"type": "bool", "default": False},
    "timeout": {"type": "int", "default": 120},
}


def queries(options: Mapping[str, Any]) -> Sequence[Query]:
    """Nothing: the engine reads the objects that are to be applied."""
    return []


def plan(options: Mapping[str, Any], found: Sequence[Answer]) -> Plan:
    """One step for all objects, and where it is asked for another one that waits for them."""
    objects = parse_definitions(options["definitions"], options["prefix"] + "definitions")
    if options["state"] == "absent":
        return Plan([Remove(objects)], timeout=options["timeout"])
    waiting = [Rollout(objects)] if options["wait"] else []
    return Plan([Apply(objects, force=options["force_conflicts"]), *waiting], timeout=options["timeout"])


class ActionModule(ClusterAction):
    """Applies them in one step."""

    ARGUMENTS = ARGUMENTS
    PLANNER = Planner(queries, plan)
