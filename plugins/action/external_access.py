# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads from the API server how Services are reached from outside. The module's documentation describes it."""

from __future__ import annotations

from typing import Any, ClassVar

from ..plugin_utils._external_access.plan import plan, queries
from ..plugin_utils._k8s.action import ClusterAction
from ..plugin_utils._k8s.model import Planner

TEXTS = {"type": "list", "elements": "str", "default": []}


class ActionModule(ClusterAction):
    """Reads the cluster, and lists the probes to make from outside."""

    ARGUMENTS: ClassVar[dict[str, Any]] = {
        "services": TEXTS,
        "http_ports": {"type": "list", "elements": "int", "default": [80, 8080]},
        "http_path": {"type": "str", "default": "/"},
        "http_host": {"type": "str", "default": ""},
        "urls": TEXTS,
        "zone": {"type": "str", "default": ""},
        "ca_files": TEXTS,
        "metallb_namespace": {"type": "str", "default": "metallb-system"},
        "memberlist_port": {"type": "int", "default": 7946},
    }
    PLANNER = Planner(queries, plan)

    def _prepare(self) -> None:
        self._options["ca"] = "\n".join(self._text(path) for path in self._options["ca_files"])
