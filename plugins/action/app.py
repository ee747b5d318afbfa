# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs an application in a cluster. The module's documentation describes it."""

from __future__ import annotations

from typing import Any, ClassVar

from ..module_utils._common.errors import InputError
from ..module_utils._common.values import parse_list, value_or
from ..plugin_utils._app.input import OPTIONS
from ..plugin_utils._app.plan import plan, queries
from ..plugin_utils._k8s.action import ClusterAction
from ..plugin_utils._k8s.model import Planner


class ActionModule(ClusterAction):
    """Compares the declared applications with those of the cluster."""

    ARGUMENTS: ClassVar[dict[str, dict[str, Any]]] = {
        # The planner checks them: its messages name the entry, and quote no Secret.
        **{option: {"type": "raw"} for option in ("name", "image", "manifests", "manifest_files", *OPTIONS)},
        "replicas": {"type": "raw", "default": 1},  # null is a valid value
        "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
        "part_of": {"type": "str", "default": ""},
        "remove_undeclared": {"type": "bool", "default": True},
        "delete_data": {"type": "bool", "default": False},
        "force_conflicts": {"type": "bool", "default": False},
        "wait": {"type": "bool", "default": True},
        "wait_for_address": {"type": "bool", "default": False},
        "timeout": {"type": "int", "default": 300},
    }
    PLANNER = Planner(queries, plan)

    def _prepare(self) -> None:
        """Read the files of the control node."""
        where = self._options["prefix"] + "manifest_files"
        files = parse_list(value_or(self._options, "manifest_files", []), where)
        for index, file in enumerate(files):
            if not isinstance(file, str) or not file:
                raise InputError("%s[%d] %s is not the path of a file" % (where, index, file))
        self._options["manifest_files"] = [(file, self._text(file)) for file in files]
