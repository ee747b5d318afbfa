# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the action plugins of the Kubernetes tools share: writing is closed unless asked for, and what is secret is kept
out of messages."""

from __future__ import annotations

from typing import Any, Iterable

from ansible.errors import AnsibleActionFail

from ansible_collections.homelab.loadbalancer.plugins.module_utils._k8s_redact import scrub
from ansible_collections.homelab.loadbalancer.plugins.module_utils._printable import printable
from ansible_collections.homelab.loadbalancer.plugins.plugin_utils._k8s_action import K8sAction

CLOSED = (
    "nothing was asked of the API server, because writing to the cluster is closed: set k8s_allow_write: true "
    "(-e k8s_allow_write=true; of a module, allow_write: true), or try it by --check, which writes nothing"
)


class ToolAction(K8sAction):
    """Runs a module of the collection."""

    def _gate(self, allowed: bool) -> None:
        """Refuse to write, unless asked for. A dry run writes nothing."""
        if not allowed and not self._task.check_mode:
            raise AnsibleActionFail(CLOSED)

    def _given(self, arguments: Iterable[str]) -> dict[str, Any]:
        """The task's options that are the module's own."""
        return {key: self._options[key] for key in arguments}

    def _module(
        self, name: str, arguments: dict[str, Any], secret: Iterable[str] = (), check_mode: bool = False
    ) -> dict[str, Any]:
        """What a module returns. A message of it may quote a pod, or a value of `secret`."""
        try:
            given = {**arguments, "prefix": self._options["prefix"]}
            returned = self._run_module("homelab.loadbalancer." + name, given, check_mode)
        except AnsibleActionFail as error:
            raise AnsibleActionFail(printable(scrub(str(error), secret))) from None
        return returned
