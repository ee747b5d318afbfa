# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads logs. The module's documentation describes it."""

from __future__ import annotations

from typing import Any

from ..plugin_utils._k8s.action import ApiAction
from ..plugin_utils._k8s_tools.logs import ARGUMENTS, read_logs


class ActionModule(ApiAction):
    """Reads logs."""

    def _work(self) -> dict[str, Any]:
        self._begin(ARGUMENTS)
        return read_logs(self._server, self._options)
