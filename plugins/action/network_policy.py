# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Network policies; see the module's documentation."""

from __future__ import annotations

from typing import Any, ClassVar

from ..plugin_utils._k8s.action import ClusterAction
from ..plugin_utils._k8s.model import Planner
from ..plugin_utils._network_policy.plan import plan, queries


class ActionModule(ClusterAction):
    """Declares the network policies."""

    ARGUMENTS: ClassVar[dict[str, Any]] = {
        "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
        "policies": {"type": "raw"},
    }
    PLANNER = Planner(queries, plan)
