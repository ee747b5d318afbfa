# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Installs, upgrades or removes MetalLB; see the module's documentation."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any, ClassVar, Mapping

from ..module_utils._common.errors import InputError
from ..plugin_utils._k8s.action import ClusterAction
from ..plugin_utils._k8s.model import Planner
from ..plugin_utils._k8s.sources import download, is_url
from ..plugin_utils._metallb.input import MODES, source, verify
from ..plugin_utils._metallb.manifest import read
from ..plugin_utils._metallb.plan import plan, queries


class ActionModule(ClusterAction):
    """Applies MetalLB's manifest, which it reads on the control node."""

    ARGUMENTS: ClassVar[Mapping[str, dict[str, Any]]] = {
        "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
        "version": {"type": "str", "default": "0.15.2"},
        "mode": {"type": "str", "choices": list(MODES), "default": "native"},
        "manifest": {"type": "str", "default": ""},
        "manifest_checksum": {"type": "str", "default": ""},
        "load_balancer_class": {"type": "str", "default": ""},
        "speaker_node_selector": {"type": "dict", "default": {}},
        "speaker_tolerations": {"type": "list", "elements": "dict", "default": []},
        "include_excluded_nodes": {"type": "bool", "default": False},
        "strict_arp": {"type": "bool", "default": True},
        "take_over": {"type": "bool", "default": False},
        "allow_moves": {"type": "bool", "default": False},
        "leaving": {"type": "list", "elements": "dict", "default": []},
        "timeout": {"type": "int", "default": 300},
    }
    PLANNER = Planner(queries, plan)

    def _prepare(self) -> None:
        options = self._options
        options["now"] = datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
        options["wanted"] = self._manifest() if options["state"] == "present" else []

    def _manifest(self) -> list[dict[str, Any]]:
        """The objects of the manifest."""
        options, where = self._options, self._options["prefix"] + "manifest"
        place, checksum = source(options)
        data = download(place) if is_url(place) else self._text(place).encode()
        verify(data, place, checksum, where)
        try:
            text = data.decode()
        except UnicodeDecodeError:
            raise InputError("%s %s is no text in UTF-8" % (where, place)) from None
        selector, tolerations = options["speaker_node_selector"], options["speaker_tolerations"]
        return read(text, where, options["load_balancer_class"], selector, tolerations)
