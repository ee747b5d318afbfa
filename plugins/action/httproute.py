# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Routes of HTTP requests from Gateways to Services; see the module's documentation."""

from __future__ import annotations

from typing import Any

from ..plugin_utils._httproute.plan import plan, queries
from ..plugin_utils._k8s.action import ClusterAction
from ..plugin_utils._k8s.model import Planner

ARGUMENTS: dict[str, dict[str, Any]] = {
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    "routes": {"type": "raw"},  # the planner checks them
    "part_of": {"type": "str", "default": "routes"},
    "remove_undeclared": {"type": "bool", "default": True},
    "timeout": {"type": "int", "default": 60},
}


class ActionModule(ClusterAction):
    """Declares HTTPRoutes, and the ReferenceGrants that they need."""

    ARGUMENTS = ARGUMENTS
    PLANNER = Planner(queries, plan)
