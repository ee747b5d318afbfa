# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads the cluster until workloads have rolled out; see the module's documentation for what it does, and
plugin_utils/_k8s/wait.py for how."""

from __future__ import annotations

from typing import Any, Sequence

from ansible.errors import AnsibleActionFail

from ansible_collections.homelab.loadbalancer.plugins.plugin_utils._k8s.wait import UnfinishedError, wait_for_rollout
from ansible_collections.homelab.loadbalancer.plugins.plugin_utils._k8s_action import K8sAction

ARGUMENTS: dict[str, dict[str, Any]] = {
    "definitions": {"type": "list", "elements": "dict", "required": True},
    "addresses": {"type": "bool", "default": False},
    "timeout": {"type": "int", "default": 300},
}


class ActionModule(K8sAction):
    """Waits, and when that fails says why."""

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result: dict[str, Any] = super().run(tmp, task_vars)
        self._begin(ARGUMENTS, task_vars)
        definitions = self._definitions()
        try:
            addresses = wait_for_rollout(
                lambda queries: self._read(list(map(dict, queries))),
                [] if self._task.check_mode else definitions,
                self._options["addresses"],
                self._options["timeout"],
                log=self._log,
                warn=self._display.warning,
            )
        except UnfinishedError as error:
            return {**result, "failed": True, "msg": str(error), "unfinished": error.unfinished}
        return {**result, "changed": False, "addresses": addresses}

    def _log(self, namespace: str, pod: str, container: str, tail: int) -> Sequence[str]:
        """There may be none any more, and then there is nothing to show."""
        arguments = {"name": pod, "namespace": namespace, "container": container, "tail_lines": tail}
        try:
            return list(self._run_module("kubernetes.core.k8s_log", arguments, False)["log_lines"])
        except AnsibleActionFail:
            return []
