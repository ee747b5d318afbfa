# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Waits until workloads have rolled out. The module's documentation describes it; plugin_utils/_k8s/wait.py does it."""

from __future__ import annotations

from typing import Any, ClassVar, Mapping, Sequence

from ..plugin_utils._common.objects import parse_definitions
from ..plugin_utils._k8s.action import ClusterAction
from ..plugin_utils._k8s.model import Answer, Plan, Planner, Query, Rollout


def queries(options: Mapping[str, Any]) -> Sequence[Query]:
    """No queries: the engine itself reads the objects to wait for."""
    return []


def plan(options: Mapping[str, Any], found: Sequence[Answer]) -> Plan:
    """One step that waits for all objects."""
    objects = parse_definitions(options["definitions"], options["prefix"] + "definitions")
    return Plan(
        [Rollout(objects, options["addresses"])],
        timeout=options["timeout"],
        result=lambda outcome: {"addresses": outcome.addresses},
    )


class ActionModule(ClusterAction):
    """Waits, and explains a failure."""

    ARGUMENTS: ClassVar[dict[str, dict[str, Any]]] = {
        # Raw, not a list of mappings: Ansible would quote a wrong entry in its error, and it may contain a Secret.
        "definitions": {"type": "raw", "required": True},
        "addresses": {"type": "bool", "default": False},
        "timeout": {"type": "int", "default": 300},
    }
    PLANNER = Planner(queries, plan)

    def _work(self) -> dict[str, Any]:
        """Wait, and report no change."""
        return {key: value for key, value in super()._work().items() if key not in ("changes", "diff", "notes")}
