# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The objects of declared routes: HTTPRoutes, and the ReferenceGrants that they need. Everything here is pure."""

from __future__ import annotations

from typing import Any, Mapping, Sequence, Tuple

from .._common.objects import PART_OF
from .input import Backend, Route, route_spec

GROUP = "gateway.networking.k8s.io"
VERSIONS = {"ReferenceGrant": GROUP + "/v1beta1", "HTTPRoute": GROUP + "/v1"}

_ALL_PATHS = {"path": {"type": "PathPrefix", "value": "/"}}

Key = Tuple[str, str, str]  # kind, namespace (empty if there is none) and name


def wanted(routes: Sequence[Route], labels: Mapping[str, str]) -> list[tuple[str, dict[str, Any]]]:
    """The objects, grants first, each after the name in messages of the entry that needs it."""
    return [*_grants(routes, labels), *((route.where, _route(route, labels)) for route in routes)]


def key_of(obj: Mapping[str, Any]) -> Key:
    """The key of an object."""
    return (str(obj["kind"]), str(obj["metadata"].get("namespace") or ""), str(obj["metadata"]["name"]))


def reference(key: Key) -> dict[str, Any]:
    """The fields of an object that are needed to remove it."""
    kind, namespace, name = key
    return {"apiVersion": VERSIONS[kind], "kind": kind, "metadata": {"name": name, "namespace": namespace}}


def _grants(routes: Sequence[Route], labels: Mapping[str, str]) -> list[tuple[str, dict[str, Any]]]:
    """The grants for routes to Services of other namespaces, each after the first entry that needs it."""
    needed: dict[tuple[str, str], list[Backend]] = {}
    for route in routes:
        for rule in route.rules:
            for backend in rule.backends:
                if backend.namespace != route.namespace:
                    needed.setdefault((backend.namespace, route.namespace), []).append(backend)
    grants = []
    for (namespace, source), backends in needed.items():
        services = sorted({backend.service for backend in backends})
        spec = {
            "from": [{"group": GROUP, "kind": "HTTPRoute", "namespace": source}],
            "to": [{"group": "", "kind": "Service", "name": service} for service in services],
        }
        grant = _object("ReferenceGrant", namespace, "%s-from-%s" % (labels[PART_OF], source), labels)
        grants.append((backends[0].where, {**grant, "spec": spec}))
    return grants


def _route(route: Route, labels: Mapping[str, str]) -> dict[str, Any]:
    return {**_object("HTTPRoute", route.namespace, route.name, labels), "spec": with_defaults(route_spec(route))}


def with_defaults(spec: Mapping[str, Any]) -> dict[str, Any]:
    """The spec of an HTTPRoute with the API server's defaults, so that no dry run is needed for an unchanged one."""
    made = {**spec, "parentRefs": [{"group": GROUP, "kind": "Gateway", **ref} for ref in spec["parentRefs"]]}
    made["rules"] = []
    for rule in spec["rules"]:
        more = {"matches": [{**_ALL_PATHS, **match} for match in rule.get("matches") or [{}]]}
        if "backendRefs" in rule:
            more["backendRefs"] = [{"group": "", "kind": "Service", **ref} for ref in rule["backendRefs"]]
        made["rules"].append({**rule, **more})
    return made


def _object(kind: str, namespace: str, name: str, labels: Mapping[str, str]) -> dict[str, Any]:
    metadata = {"name": name, "namespace": namespace, "labels": dict(labels)}
    return {"apiVersion": VERSIONS[kind], "kind": kind, "metadata": metadata}


def _key(obj: Mapping[str, Any]) -> tuple[str, str, str]:
    return (str(obj["kind"]), str(obj["metadata"].get("namespace", "")), str(obj["metadata"]["name"]))
