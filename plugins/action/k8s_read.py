# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads objects. The module's documentation describes it."""

from __future__ import annotations

from typing import Any

from ..module_utils._common.errors import InputError
from ..module_utils._k8s.transport import Request
from ..plugin_utils._k8s.action import ApiAction

TEXTS: dict[str, Any] = {"type": "list", "elements": "str", "default": []}
QUERY: dict[str, Any] = {
    "kind": {"type": "str", "required": True},
    "api_version": {"type": "str", "default": "v1"},
    "namespace": {"type": "str"},
    "name": {"type": "str"},
    "label_selectors": TEXTS,
    "field_selectors": TEXTS,
    "hidden_fields": {**TEXTS, "default": ["metadata.managedFields"]},
    "optional": {"type": "bool", "default": False},
}
ARGUMENTS: dict[str, dict[str, Any]] = {
    "queries": {"type": "list", "elements": "dict", "required": True, "options": QUERY},
}


class ActionModule(ApiAction):
    """Reads objects."""

    def _work(self) -> dict[str, Any]:
        self._begin(ARGUMENTS)
        queries = self._options["queries"]
        for index, query in enumerate(queries):
            if query["kind"] == "*" and not query["namespace"]:
                raise InputError(
                    "%squeries[%d]: kind * needs a namespace: set the namespace whose objects to read"
                    % (self._options["prefix"], index)
                )
        if not queries:
            self._server.ask(Request("GET", "/version"))
        return {"changed": False, "found": self._server.read(queries)}
