# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Serves Gateways; see the module's documentation. Manifests and certificates are read on the control node."""

from __future__ import annotations

from typing import Any

from ..module_utils._common.errors import InputError
from ..plugin_utils._gateway.input import parse_gateways, parse_options
from ..plugin_utils._gateway.manifests import manifests_of, read_manifests
from ..plugin_utils._gateway.plan import plan, queries
from ..plugin_utils._gateway.tls import files_of
from ..plugin_utils._k8s.action import ClusterAction
from ..plugin_utils._k8s.model import Planner
from ..plugin_utils._k8s.sources import download, is_url

_DEFAULT = [{"name": "public", "listeners": [{"name": "http", "protocol": "HTTP", "port": 80, "from": "all"}]}]

ARGUMENTS: dict[str, dict[str, Any]] = {
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    "controller": {"type": "str", "choices": ["nginx", "traefik"], "default": "nginx"},
    "version": {"type": "str"},
    "class": {"type": "str"},
    "namespace": {"type": "str"},
    "replicas": {"type": "int", "default": 2},
    "manage_crds": {"type": "bool", "default": True},
    # The planner checks the entries of lists, because its messages are better than Ansible's.
    "crds": {"type": "raw", "default": []},
    "manifests": {"type": "raw", "default": []},
    "gateways": {"type": "raw", "default": _DEFAULT},
    "take_over": {"type": "bool", "default": False},
    "remove_crds": {"type": "bool", "default": False},
    "timeout": {"type": "int", "default": 300},
    "validate_only": {"type": "bool", "default": False},
}


class ActionModule(ClusterAction):
    """Reads the files of the options on the control node; the planner and the engine do the rest."""

    ARGUMENTS = ARGUMENTS
    PLANNER = Planner(queries, plan)

    def _prepare(self) -> None:
        if self._options["state"] == "absent" and not self._options["validate_only"]:
            return
        asked = parse_options(self._options)
        files = files_of(parse_gateways(self._options["gateways"], asked.controller, asked.namespace, asked.prefix))
        if self._options["validate_only"]:
            texts = {pair.certificate: self._certificate(pair.certificate) for pair in files}
            self._options["certificates"] = {path: text for path, text in texts.items() if text}
            return
        kinds, others = read_manifests(manifests_of(self._options, asked), self._manifest)
        texts = {path: self._certificate(path) for pair in files for path in pair}
        self._options.update(crd_objects=kinds, manifest_objects=others, files=texts)

    def _manifest(self, source: str) -> bytes:
        """The content of a manifest, given as a URL or a file path."""
        return download(source) if is_url(source) else self._content(source)

    def _certificate(self, path: str) -> str:
        """The text of a certificate or key; empty if it cannot be read, which the planner refuses."""
        try:
            return self._text(path)
        except InputError:
            return ""
