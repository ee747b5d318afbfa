# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the action plugins for Kubernetes share: they let modules reach the API server."""

from __future__ import annotations

import base64
from typing import Any

import yaml
from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase

from ansible_collections.homelab.loadbalancer.plugins.module_utils import _k8s_objects as objects
from ansible_collections.homelab.loadbalancer.plugins.module_utils._errors import InputError

# The options by which modules find the API server.
ACCESS: dict[str, dict[str, Any]] = {
    "kubeconfig": {"type": "str", "default": ""},
    "context": {"type": "str", "default": ""},
}


class K8sAction(ActionBase):
    """Runs modules that ask the API server, on the host of the task."""

    _supports_check_mode = True

    def _begin(self, arguments: dict[str, dict[str, Any]], task_vars: dict[str, Any] | None) -> None:
        """Check the task's options."""
        self._vars = task_vars or {}
        self._options = self.validate_argument_spec({**arguments, **ACCESS})[1]

    def _definitions(self) -> list[dict[str, Any]]:
        """The objects that the task names."""
        try:
            return objects.parse_definitions(self._options["definitions"], "definitions")
        except InputError as error:
            raise AnsibleActionFail(str(error)) from error

    def _read(self, queries: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """What homelab.loadbalancer.k8s_read finds, an answer to each query."""
        returned = self._run_module("homelab.loadbalancer.k8s_read", {"queries": queries}, check_mode=False)
        found: list[dict[str, Any]] = returned["found"]
        return found

    def _run_module(self, name: str, arguments: dict[str, Any], check_mode: bool) -> dict[str, Any]:
        """Run a module that asks the API server, and fail with what the user can do when it does not work."""
        access = {key: self._options[key] for key in ("kubeconfig", "context") if self._options[key]}
        task = self._task
        saved = task.check_mode, task.diff, task.no_log
        # Secrets do not belong into the system's log, to which a module writes its arguments.
        task.check_mode, task.diff, task.no_log = check_mode, True, True
        try:
            returned: dict[str, Any] = self._execute_module(name, {**arguments, **access}, task_vars=self._vars)
        finally:
            task.check_mode, task.diff, task.no_log = saved
        if returned.get("failed"):
            raise AnsibleActionFail(objects.failure(_said(returned), self._server(), self._kubeconfig))
        return returned

    @property
    def _kubeconfig(self) -> str:
        return self._options["kubeconfig"] or "~/.kube/config"

    def _server(self) -> str:
        """The API server's address, for messages, as far as the kubeconfig tells it."""
        read = self._execute_module("ansible.builtin.slurp", {"src": self._kubeconfig}, task_vars=self._vars)
        try:
            return objects.server_of(yaml.safe_load(base64.b64decode(read["content"])), self._options["context"])
        except (KeyError, ValueError, yaml.YAMLError):
            return ""


def _said(returned: dict[str, Any]) -> str:
    """Why a module failed. Where it did so by an exception, ansible-core before 2.19 has its text elsewhere."""
    event = getattr(returned.get("exception"), "event", None)
    return str(returned.get("msg") if event is None else event.msg) + str(returned.get("module_stderr", ""))
