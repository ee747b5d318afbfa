# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads objects from where the user has them, and has k8s_objects apply or remove them; see the module's documentation
for what it does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ansible.errors import AnsibleActionFail, AnsibleError

from ansible_collections.homelab.loadbalancer.plugins.action import k8s_objects
from ansible_collections.homelab.loadbalancer.plugins.module_utils._errors import InputError
from ansible_collections.homelab.loadbalancer.plugins.module_utils._k8s_objects import name_of
from ansible_collections.homelab.loadbalancer.plugins.module_utils._k8s_redact import scrub, secret_values
from ansible_collections.homelab.loadbalancer.plugins.module_utils._printable import printable
from ansible_collections.homelab.loadbalancer.plugins.plugin_utils import _k8s_sources as sources
from ansible_collections.homelab.loadbalancer.plugins.plugin_utils._k8s_tools import ToolAction

ARGUMENTS: dict[str, dict[str, Any]] = {
    "src": {"type": "list", "elements": "raw", "default": []},
    "checksum": {"type": "str", "default": ""},
    # Not a list of mappings: Ansible would quote what is none, and a Secret may be in it.
    "definitions": {"type": "raw", "required": False},
    "default_namespace": {"type": "str", "default": "default"},
    "override_namespace": {"type": "str", "default": ""},
    "allow_write": {"type": "bool", "default": False},
}


class ActionModule(k8s_objects.ActionModule, ToolAction):
    """Applies what it reads."""

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        self._objects: list[dict[str, Any]] = []
        try:
            result: dict[str, Any] = super().run(tmp, task_vars)
        except AnsibleActionFail as error:
            # The API server may quote what it refuses.
            raise AnsibleActionFail(printable(scrub(str(error), secret_values(self._objects)))) from None
        changes = {name: verb for verb, dummy, name in (text.partition(" ") for text in result["changes"])}
        rows = [[changes.get(name_of(one), "unchanged"), name_of(one)] for one in self._objects]
        return {**result, "rows": rows, "objects": [_reference(one) for one in self._objects]}

    def _begin(self, arguments: dict[str, dict[str, Any]], task_vars: dict[str, Any] | None) -> None:
        super()._begin({**arguments, **ARGUMENTS}, task_vars)

    def _definitions(self) -> list[dict[str, Any]]:
        """The objects, in their namespaces."""
        options = self._options
        self._gate(options["allow_write"])
        try:
            given = sources.parse_sources(options["src"], options["checksum"], options["prefix"] + "src")
            objects = sources.read_objects(given, options["definitions"], self._find, self._content)
            self._objects = objects
            default, override = options["default_namespace"], options["override_namespace"]
            scopes = {}
            if sources.needs_scopes(objects, default, override):
                scopes = self._run_module("kubernetes.core.k8s_cluster_info", {}, check_mode=False)["apis"]
            self._objects = sources.placed(objects, default, override, scopes)
        except InputError as error:
            raise AnsibleActionFail(printable(str(error))) from None
        # k8s_objects turns the list around for a removal.
        return list(self._objects)

    def _find(self, place: str) -> str:
        """The path of a file or folder: as the shell has it, or else as Ansible looks for files."""
        path = Path(place).expanduser()
        if path.exists():
            return str(path)
        try:
            return str(self._find_needle("files", place))
        except AnsibleError:
            raise InputError(
                "there is no file or folder %s on this machine: looked in %s, and where the play has its files"
                % (place, Path.cwd())
            ) from None

    def _content(self, path: str) -> bytes:
        """What is in a file, which may be encrypted by Ansible Vault."""
        try:
            real = self._loader.get_real_file(path)
            try:
                return Path(real).read_bytes()
            finally:
                self._loader.cleanup_tmp_file(real)
        except (AnsibleError, OSError) as error:
            raise InputError("%s cannot be read: %s" % (path, getattr(error, "strerror", None) or error)) from None


def _reference(one: dict[str, Any]) -> dict[str, Any]:
    """What tells an object from others, and no more of it."""
    metadata = {key: one["metadata"][key] for key in ("name", "namespace") if one["metadata"].get(key)}
    return {"apiVersion": one["apiVersion"], "kind": one["kind"], "metadata": metadata}
