# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What to do with the objects of the role `gateway`: pure functions of manifests, Gateways and what is in the cluster.

What was applied is on record in the cluster, so that an upgrade and a removal know it, whatever the manifests and the
declaration have become. The kinds of the Gateway API are not: with them would go the routes of everybody.
"""

from __future__ import annotations

import copy
from typing import Any, Iterator, Mapping, NamedTuple, Sequence

from ansible_collections.homelab.loadbalancer.plugins.module_utils._errors import InputError
from ansible_collections.homelab.loadbalancer.plugins.module_utils._k8s_objects import (
    has_labels,
    name_of,
    parse_definitions,
)
from ansible_collections.homelab.loadbalancer.plugins.module_utils._k8s_record import (
    read_record,
    stale,
    write_record,
)
from ansible_collections.homelab.loadbalancer.plugins.plugin_utils._gateway.input import Gateway, Options
from ansible_collections.homelab.loadbalancer.plugins.plugin_utils._gateway.objects import (
    LABELS,
    TRAEFIK,
    gateway_objects,
    namespace_object,
    traefik_objects,
)

CRD = "CustomResourceDefinition"
RECORD = "homelab-loadbalancer-gateway"
# By these NGINX Gateway Fabric and its proxies know each other. A Job makes them, and then removes itself.
_CERTIFICATES = ("agent-tls", "server-tls")

# By kind the objects of the cluster.
Cluster = Mapping[str, Sequence[Mapping[str, Any]]]


class Plan(NamedTuple):
    """What is to be done, in this order."""

    apply: list[dict[str, Any]]
    remove: list[dict[str, Any]]  # what was applied before and is declared no more
    settle: list[dict[str, Any]]  # the record after that
    services: list[dict[str, Any]]  # that must get an address
    expected: dict[str, list[str]]  # by namespace/name of a Gateway the addresses that it must have, empty: any
    missing: list[str]  # sentences about Secrets that are not there


def manifest_objects(documents: Sequence[Any], where: str) -> list[dict[str, Any]]:
    """The objects of a manifest, to be applied by server-side apply."""
    found = copy.deepcopy(parse_definitions([entry for entry in documents if entry is not None], where))
    for entry in found:
        entry.pop("status", None)
        entry["metadata"].pop("creationTimestamp", None)
        entry["metadata"]["labels"] = {**(entry["metadata"].get("labels") or {}), **LABELS}
    return found


def plan(
    gateways: Sequence[Gateway],
    options: Options,
    manifests: Sequence[dict[str, Any]],
    cluster: Cluster,
    files: Mapping[str, str],
) -> Plan:
    """What makes the cluster serve the Gateways.

    manifests -- the objects of the controller's manifests, but for kinds
    cluster -- the role's ConfigMap and Namespace, and the Secrets without their data
    files -- the texts of certificates and keys by their paths
    Raises InputError for manifests that are not those of the controller.
    """
    recorded = recorded_objects(cluster)
    others = _controller_objects(gateways, options, manifests)
    # A namespace of somebody else would go with us.
    if not all(has_labels(entry, LABELS) for entry in cluster.get("Namespace", ())):
        others = [entry for entry in others if entry["kind"] != "Namespace"]
    # First what the rest needs: its namespace, and that all of it is on record before it is there.
    others.sort(key=lambda entry: bool(entry["kind"] != "Namespace"))
    wanted = [*others, *gateway_objects(gateways, options.gateway_class, options.controller, files)]
    remove = stale(recorded, [*wanted, _record([], options.namespace)])
    first = [entry for entry in wanted if entry["kind"] == "Namespace"]
    made = {_name(entry) for entry in cluster.get("Secret", ()) if _namespace(entry) == options.namespace}
    rest = [entry for entry in wanted[len(first) :] if entry["kind"] != "Job" or not made.issuperset(_CERTIFICATES)]
    return Plan(
        [*first, _record([*wanted, *remove], options.namespace), *rest],
        remove,
        [_record(wanted, options.namespace)] if remove else [],
        _services(gateways, options),
        {gateway.key: gateway.addresses for gateway in gateways},
        list(_missing(gateways, cluster.get("Secret", ()))),
    )


def _controller_objects(
    gateways: Sequence[Gateway], options: Options, manifests: Sequence[dict[str, Any]]
) -> list[dict[str, Any]]:
    """What serves the Gateways, in its namespace."""
    if options.controller == "nginx":
        return _nginx_objects(manifests, options)
    if manifests:
        raise InputError("gateway_manifests has a %s: Traefik needs none but kinds" % name_of(manifests[0]))
    return [
        namespace_object(options.namespace),
        *traefik_objects(gateways, options.gateway_class, options.namespace, options.version, options.replicas),
    ]


def recorded_objects(cluster: Cluster) -> list[dict[str, Any]]:
    """References to what was applied, in that order."""
    return [
        reference
        for entry in cluster.get("ConfigMap", ())
        for reference in read_record(
            (entry.get("data") or {}).get("objects") or "", name_of({**entry, "kind": "ConfigMap"})
        )
    ]


def removal(cluster: Cluster, remove_crds: bool) -> tuple[list[dict[str, Any]], list[str]]:
    """What to remove, the last one first, and why it may not be.

    cluster -- the role's ConfigMap; with `remove_crds` also the kinds that the role brought and all objects of them
    """
    recorded = recorded_objects(cluster)
    if not remove_crds:
        return recorded, []
    keys = {(entry["kind"], _namespace(entry), _name(entry)) for entry in recorded}
    staying = [
        name_of({**entry, "kind": kind})
        for kind, found in cluster.items()
        if kind not in (CRD, "ConfigMap", "Namespace", "Secret")
        for entry in found
        if (kind, _namespace(entry), _name(entry)) not in keys
    ]
    faults = [
        "gateway_remove_crds would remove %s, which the role gateway did not make: remove it first, or leave the kinds "
        "of the Gateway API in the cluster" % name
        for name in staying
    ]
    crds = [
        {"apiVersion": "apiextensions.k8s.io/v1", "kind": CRD, "metadata": {"name": _name(entry)}}
        for entry in cluster.get(CRD, ())
    ]
    return [*crds, *recorded], faults


def _nginx_objects(manifest: Sequence[dict[str, Any]], options: Options) -> list[dict[str, Any]]:
    """The objects of NGINX Gateway Fabric, with the name of the class and the number of pods."""
    names = {(entry["kind"], _name(entry)) for entry in manifest}
    if ("Namespace", options.namespace) not in names:
        raise InputError(
            "gateway_manifests has no Namespace %s: set gateway_namespace to the one of the manifest, %s"
            % (
                options.namespace,
                ", ".join(name for kind, name in sorted(names) if kind == "Namespace") or "which has none",
            )
        )
    if not any(kind == "GatewayClass" for kind, dummy in names):
        raise InputError("gateway_manifests has no GatewayClass: it must hold a controller of the Gateway API")
    found = copy.deepcopy(list(manifest))
    for entry in found:
        if entry["kind"] == "GatewayClass":
            entry["metadata"]["name"] = options.gateway_class
        # By it the controller makes the Deployment of each Gateway; or a DaemonSet, which has no number.
        if entry["kind"] == "NginxProxy" and "deployment" in (entry["spec"].get("kubernetes") or {}):
            entry["spec"]["kubernetes"]["deployment"]["replicas"] = options.replicas
        if entry["kind"] == "Deployment":
            for container in entry["spec"]["template"]["spec"]["containers"]:
                container["args"] = [
                    "--gatewayclass=" + options.gateway_class if text.startswith("--gatewayclass=") else text
                    for text in container.get("args") or []
                ]
    return found


def _record(applied: Sequence[Mapping[str, Any]], namespace: str) -> dict[str, Any]:
    """The ConfigMap that keeps which objects were applied, in their order, itself among them."""
    record: dict[str, Any] = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": RECORD, "namespace": namespace, "labels": dict(LABELS)},
    }
    first = [entry for entry in applied if entry["kind"] == "Namespace"]
    rest = [entry for entry in applied if entry["kind"] != "Namespace"]
    return {**record, "data": {"objects": write_record([*first, record, *rest])}}


def _services(gateways: Sequence[Gateway], options: Options) -> list[dict[str, Any]]:
    """The Services by which Gateways are reached: Traefik has one, NGINX Gateway Fabric makes one for each."""
    names = [(gateway.namespace, "%s-%s" % (gateway.name, options.gateway_class)) for gateway in gateways]
    if options.controller == "traefik":
        names = [(options.namespace, TRAEFIK)]
    return [
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": name, "namespace": namespace},
            "spec": {"type": "LoadBalancer"},
        }
        for namespace, name in names
    ]


def _missing(gateways: Sequence[Gateway], secrets: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    types = {(_namespace(entry), _name(entry)): entry.get("type") for entry in secrets}
    for gateway in gateways:
        for listener in gateway.listeners:
            if not listener.secret or listener.files:
                continue
            found = types.get((gateway.namespace, listener.secret))
            if found != "kubernetes.io/tls":
                yield (
                    "%s.tls.secret %s %s: make it by kubectl create secret tls %s --namespace %s, or name "
                    "certificate_file and key_file"
                    % (
                        listener.where,
                        listener.secret,
                        "is of the type %s, and not kubernetes.io/tls" % found if found else "is not in the cluster",
                        listener.secret,
                        gateway.namespace,
                    )
                )


def _name(entry: Mapping[str, Any]) -> str:
    return str(entry["metadata"]["name"])


def _namespace(entry: Mapping[str, Any]) -> str:
    return str(entry["metadata"].get("namespace") or "")
