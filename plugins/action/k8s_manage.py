# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Manages one object. The module's documentation describes it."""

from __future__ import annotations

from typing import Any

from ..module_utils._common.errors import InputError
from ..module_utils._common.printable import printable_diff
from ..plugin_utils._common.redact import leaves
from ..plugin_utils._k8s.action import ApiAction
from ..plugin_utils._k8s.sources import load_documents
from ..plugin_utils._k8s.trial import plain
from ..plugin_utils._k8s_tools import manage
from ..plugin_utils._k8s_tools.gate import refuse_writing

GIVEN = {"create": "definition", "replace": "definition", "patch": "patch"}


class ActionModule(ApiAction):
    """Makes one operation on one object."""

    def _work(self) -> dict[str, Any]:
        self._begin(manage.ARGUMENTS)
        operation, check_mode = self._options["operation"], bool(self._task.check_mode)
        if operation != "read":
            refuse_writing(self._options["allow_write"], check_mode)
        options = {**self._options, **self._parsed(operation)}
        # Any value of a patch may come from a Secret.
        definition = options["definition"] or {}
        for part in (definition.get("data"), definition.get("stringData"), options["patch"]):
            self._secrets += leaves(part)
        done = manage.manage(self._server, options, check_mode)
        return {**done, "diff": printable_diff(done["diff"])}

    def _parsed(self, operation: str) -> dict[str, Any]:
        """The object and the patch, checked before the first request."""
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
        return plain(values)


def _loaded(raw: Any, where: str) -> Any:
    """The user's value, parsed if it is YAML text."""
    if not isinstance(raw, str):
        return raw
    documents = load_documents(raw.encode(), where)
    return documents[0] if len(documents) == 1 else documents
