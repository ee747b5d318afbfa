# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Declares address pools of MetalLB; see the module's documentation."""

from __future__ import annotations

from typing import Any, ClassVar, Mapping

from ..plugin_utils._k8s.action import ClusterAction
from ..plugin_utils._k8s.model import Planner
from ..plugin_utils._metallb_pool.input import LISTS
from ..plugin_utils._metallb_pool.plan import plan, queries

# The planner checks the entries of lists; its messages name the entry and the remedy.
_LIST: dict[str, Any] = {"type": "list", "elements": "raw", "default": []}


class ActionModule(ClusterAction):
    """Compares the declared pools with the cluster's nodes, pools and Services."""

    ARGUMENTS: ClassVar[Mapping[str, dict[str, Any]]] = {
        **dict.fromkeys(LISTS, _LIST),
        "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
        "namespace": {"type": "str", "default": "metallb-system"},
        "gateways": {"type": "list", "elements": "raw", "default": []},
        "facts": {"type": "list", "elements": "dict", "default": []},
        "allow_moves": {"type": "bool", "default": False},
        "timeout": {"type": "int", "default": 120},
    }
    PLANNER = Planner(queries, plan)
