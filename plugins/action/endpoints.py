# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Endpoints of Services without a selector; see the module's documentation."""

from __future__ import annotations

from typing import Any, ClassVar

from ..plugin_utils._endpoints.plan import plan, queries
from ..plugin_utils._k8s.action import ClusterAction
from ..plugin_utils._k8s.model import Planner


class ActionModule(ClusterAction):
    """Declares the endpoints."""

    ARGUMENTS: ClassVar[dict[str, Any]] = {
        "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
        "services": {"type": "raw"},
    }
    PLANNER = Planner(queries, plan)
