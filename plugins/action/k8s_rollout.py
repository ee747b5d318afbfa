# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Waits until workloads have rolled out; see the module's documentation for what it does, and
plugin_utils/_k8s/wait.py for how."""

from __future__ import annotations

from typing import Any, ClassVar, Mapping, Sequence

from ..plugin_utils._common.objects import parse_definitions
from ..plugin_utils._k8s.action import ClusterAction
from ..plugin_utils._k8s.model import Answer, Plan, Planner, Query, Rollout


def queries(options: Mapping[str, Any]) -> Sequence[Query]:
    """Nothing: the engine reads the objects that are awaited."""
    return []


def plan(options: Mapping[str, Any], found: Sequence[Answer]) -> Plan:
    """One step for all objects."""
    objects = parse_definitions(options["definitions"], options["prefix"] + "definitions")
    return Plan(
        [Rollout(objects, options["addresses"])],
        timeout=options["timeout"],
        result=lambda outcome: {"addresses": outcome.addresses},
    )


class ActionModule(ClusterAction):
    """Waits, and when that fails says why."""

    ARGUMENTS: ClassVar[dict[str, dict[str, Any]]] = {
        # Not a list of mappings: Ansible would quote what is none, and a Secret may be in it.
        "definitions": {"type": "raw", "required": True},
        "addresses": {"type": "bool", "default": False},
        "timeout": {"type": "int", "default": 300},
    }
    PLANNER = Planner(queries, plan)

    def _work(self) -> dict[str, Any]:
        """It changes nothing."""
        return {key: value for key, value in super()._work().items() if key not in ("changes", "diff", "notes")}
