# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The objects of the controllers that serve Gateways."""

from __future__ import annotations

import copy
from typing import Any, Sequence

from ...module_utils._common.errors import InputError
from .._common.objects import name_of
from .input import Gateway, Options
from .objects import namespace_object, traefik_objects


def controller_objects(
    gateways: Sequence[Gateway], options: Options, manifests: Sequence[dict[str, Any]]
) -> list[dict[str, Any]]:
    """The objects of the controller, including its namespace."""
    if options.controller == "nginx":
        return _nginx_objects(manifests, options)
    if manifests:
        raise InputError("%smanifests has a %s: Traefik needs none but kinds" % (options.prefix, name_of(manifests[0])))
    return [
        namespace_object(options.namespace),
        *traefik_objects(gateways, options.gateway_class, options.namespace, options.version, options.replicas),
    ]


def _nginx_objects(manifest: Sequence[dict[str, Any]], options: Options) -> list[dict[str, Any]]:
    """The objects of NGINX Gateway Fabric, with the name of the class and the number of pods."""
    _check_nginx(manifest, options)
    found = copy.deepcopy(list(manifest))
    for entry in found:
        if entry["kind"] == "GatewayClass":
            entry["metadata"]["name"] = options.gateway_class
        # The controller makes each Gateway's Deployment from the NginxProxy, or a DaemonSet, which has no replicas.
        if entry["kind"] == "NginxProxy" and "deployment" in (entry["spec"].get("kubernetes") or {}):
            entry["spec"]["kubernetes"]["deployment"]["replicas"] = options.replicas
        if entry["kind"] == "Deployment":
            for container in entry["spec"]["template"]["spec"]["containers"]:
                container["args"] = [
                    "--gatewayclass=" + options.gateway_class if text.startswith("--gatewayclass=") else text
                    for text in container.get("args") or []
                ]
    return found


def _check_nginx(manifest: Sequence[dict[str, Any]], options: Options) -> None:
    prefix = options.prefix
    names = {(entry["kind"], entry["metadata"]["name"]) for entry in manifest}
    if ("Namespace", options.namespace) not in names:
        raise InputError(
            "%smanifests has no Namespace %s: set %snamespace to the one of the manifest, %s"
            % (
                prefix,
                options.namespace,
                prefix,
                ", ".join(name for kind, name in sorted(names) if kind == "Namespace") or "which has none",
            )
        )
    if not any(kind == "GatewayClass" for kind, dummy in names):
        raise InputError(
            "%smanifests has no GatewayClass: it must hold a controller of the Gateway API" % options.prefix
        )
