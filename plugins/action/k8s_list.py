# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs the module of the same name, and says what to do when the API server cannot be used."""

from __future__ import annotations

from typing import Any

from ansible_collections.homelab.loadbalancer.plugins.modules.k8s_list import ARGUMENTS
from ansible_collections.homelab.loadbalancer.plugins.plugin_utils._k8s_tools import ToolAction


class ActionModule(ToolAction):
    """Lists objects."""

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result: dict[str, Any] = super().run(tmp, task_vars)
        self._begin(ARGUMENTS, task_vars)
        return {**result, "changed": False, "found": self._module("k8s_list", self._given(ARGUMENTS))["found"]}
