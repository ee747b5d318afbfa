# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads objects from files, folders and URLs, and applies or removes them. The module's documentation describes it."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

from ansible.errors import AnsibleError

from ..module_utils._common.errors import InputError
from ..plugin_utils._common.objects import identity, name_of
from ..plugin_utils._common.redact import secret_values
from ..plugin_utils._k8s import sources
from ..plugin_utils._k8s.action import ClusterAction
from ..plugin_utils._k8s_tools.gate import refuse_writing
from . import k8s_objects


class ActionModule(ClusterAction):
    """Applies the objects that it reads."""

    ARGUMENTS: ClassVar[dict[str, dict[str, Any]]] = {
        **k8s_objects.ARGUMENTS,
        "src": {"type": "list", "elements": "raw", "default": []},
        "checksum": {"type": "str", "default": ""},
        "definitions": {"type": "raw", "required": False},
        "default_namespace": {"type": "str", "default": "default"},
        "override_namespace": {"type": "str", "default": ""},
        "allow_write": {"type": "bool", "default": False},
    }
    PLANNER = k8s_objects.ActionModule.PLANNER

    def _work(self) -> dict[str, Any]:
        result = super()._work()
        objects = self._options["definitions"]
        changes = {name: verb for verb, dummy, name in (text.partition(" ") for text in result["changes"])}
        rows = [[changes.get(name_of(one), "unchanged"), name_of(one)] for one in objects]
        return {**result, "rows": rows, "objects": [identity(one) for one in objects]}

    def _prepare(self) -> None:
        """Read the objects, and set their namespaces."""
        options = self._options
        refuse_writing(options["allow_write"], bool(self._task.check_mode))
        given = sources.parse_sources(options["src"], options["checksum"], options["prefix"] + "src")
        objects = sources.read_objects(given, options["definitions"], self._find, self._content)
        self._secrets += secret_values(objects)
        default, override = options["default_namespace"], options["override_namespace"]
        scopes: dict[str, dict[str, Any]] = {}
        if sources.needs_scopes(objects, default, override):
            for kind in self._server.discovery.all():
                scopes.setdefault(kind.api_version, {})[kind.kind] = {"namespaced": kind.namespaced}
        options["definitions"] = sources.placed(objects, default, override, scopes)

    def _find(self, place: str) -> str:
        """Find a file or folder: first relative to the working directory, then in Ansible's search path."""
        path = Path(place).expanduser()
        if path.exists():
            return str(path.absolute())
        try:
            return str(self._find_needle("files", place))
        except AnsibleError:
            raise InputError(
                "the file or folder %s was not found on this machine: searched %s and the play's folder `files`"
                % (place, Path.cwd())
            ) from None
