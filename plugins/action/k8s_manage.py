# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs the module of the same name, keeps what is secret out of messages, and says what to do when the API server
cannot be used."""

from __future__ import annotations

from typing import Any

from ansible.errors import AnsibleActionFail

from ansible_collections.homelab.loadbalancer.plugins.module_utils import _k8s_manage as manage
from ansible_collections.homelab.loadbalancer.plugins.module_utils._errors import InputError
from ansible_collections.homelab.loadbalancer.plugins.module_utils._k8s_redact import leaves
from ansible_collections.homelab.loadbalancer.plugins.module_utils._printable import printable
from ansible_collections.homelab.loadbalancer.plugins.modules.k8s_manage import ARGUMENTS
from ansible_collections.homelab.loadbalancer.plugins.plugin_utils._k8s_sources import load_documents
from ansible_collections.homelab.loadbalancer.plugins.plugin_utils._k8s_tools import ToolAction

GIVEN = {"create": "definition", "replace": "definition", "patch": "patch"}


class ActionModule(ToolAction):
    """Does one thing with one object."""

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result: dict[str, Any] = super().run(tmp, task_vars)
        self._begin(ARGUMENTS, task_vars)
        operation = self._options["operation"]
        if operation != "read":
            self._gate(self._options["allow_write"])
        try:
            arguments = {**self._given(ARGUMENTS), **self._parsed(operation)}
        except InputError as error:
            raise AnsibleActionFail(printable(str(error))) from None
        # Any value of a patch may be one of a Secret.
        secret = [*leaves((arguments["definition"] or {}).get("data")), *leaves(arguments["patch"])]
        secret += leaves((arguments["definition"] or {}).get("stringData"))
        done = self._module("k8s_manage", arguments, secret, self._task.check_mode)
        return {**result, **{key: done[key] for key in ("changed", "object", "change", "diff")}}

    def _parsed(self, operation: str) -> dict[str, Any]:
        """The object and the patch, checked before anything is asked of the server."""
        options = self._options
        values = {key: _loaded(options[key], options["prefix"] + key) for key in ("definition", "patch")}
        needed = GIVEN.get(operation)
        if needed and not values[needed]:
            raise InputError("%s%s is missing: the operation %s needs it" % (options["prefix"], needed, operation))
        if values["definition"]:
            values["definition"] = manage.parse_definition(values["definition"], options["prefix"] + "definition")
        if operation == "patch":
            values["patch"] = manage.parse_patch(values["patch"], options["patch_type"], options["prefix"] + "patch")
        manage.parse_target(options, values["definition"] or {})
        return values


def _loaded(raw: Any, where: str) -> Any:
    """What the user gave, which may be a text in YAML."""
    if not isinstance(raw, str):
        return raw
    documents = load_documents(raw.encode(), where)
    return documents[0] if len(documents) == 1 else documents
