# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Lists objects. The module's documentation describes it."""

from __future__ import annotations

from typing import Any

from ..plugin_utils._k8s.action import ApiAction
from ..plugin_utils._k8s_tools.listing import ARGUMENTS, list_objects


class ActionModule(ApiAction):
    """Lists objects."""

    def _work(self) -> dict[str, Any]:
        self._begin(ARGUMENTS)
        return list_objects(self._server, self._options)
