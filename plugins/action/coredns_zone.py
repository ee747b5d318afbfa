# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A private DNS zone, served by CoreDNS in the cluster; see the module's documentation."""

from __future__ import annotations

from typing import Any

from ..plugin_utils._coredns_zone.plan import plan, queries
from ..plugin_utils._k8s.action import ClusterAction
from ..plugin_utils._k8s.model import Planner

ARGUMENTS: dict[str, dict[str, Any]] = {
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    "name": {"type": "str", "default": "k8s.local"},
    "mode": {"type": "str", "choices": ["cluster", "deployment"], "default": "cluster"},
    "records": {"type": "raw", "default": []},  # the planner checks them
    "from_routes": {"type": "bool", "default": True},
    "ttl": {"type": "int", "default": 60},
    "node_port": {"type": "int", "default": 30053},
    "load_balancer": {"type": "raw", "default": False},
    "image": {"type": "str", "default": ""},
    "replicas": {"type": "int", "default": 2},
    "extra": {"type": "str", "default": ""},
    "trial_timeout": {"type": "int", "default": 60},
    "timeout": {"type": "int", "default": 300},
}


class ActionModule(ClusterAction):
    """Serves a zone of declared records and of the host names of HTTPRoutes."""

    ARGUMENTS = ARGUMENTS
    PLANNER = Planner(queries, plan)
