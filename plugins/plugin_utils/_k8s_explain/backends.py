# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The backends of a Service or a URL: ready pods, their ports, and the workload that is scaled to zero.

Pure: it turns API objects into plain structures.
"""

from __future__ import annotations

from typing import Any, Dict, Iterable, Iterator, List, Mapping

from .._common.hostnames import meet
from .._common.objects import SERVICE_NAME

Object = Dict[str, Any]
Objects = Mapping[str, List[Object]]

_SCALED = ("Deployment", "StatefulSet")  # the kinds that can be declared with no pods


def slices_of(service: Object, slices: Iterable[Object]) -> list[Object]:
    """The Service's EndpointSlices."""
    place = (service["metadata"]["namespace"], service["metadata"]["name"])
    return [
        one
        for one in slices
        if (one["metadata"]["namespace"], (one["metadata"].get("labels") or {}).get(SERVICE_NAME)) == place
    ]


def ready_endpoints(endpoint_slice: Object) -> list[Object]:
    """The ready endpoints of a slice; unknown counts as ready."""
    found = endpoint_slice.get("endpoints") or []
    return [one for one in found if (one.get("conditions") or {}).get("ready") is not False]


def target_ports(service: Object, name: str, slices: Iterable[Object]) -> list[int]:
    """The ports of the pods behind a port of the Service, by the port's name."""
    found = {
        port["port"]
        for one in slices_of(service, slices)
        for port in (one.get("ports") or [] if ready_endpoints(one) else [])
        if (port.get("name") or "") == name and port.get("port")
    }
    return sorted(found)


def stopped(service: Object, objects: Objects) -> str:
    """The workload that declares that a Service has no pods; empty if none does."""
    selector = service["spec"].get("selector") or {}
    owners = [
        (kind, one)
        for kind in _SCALED
        for one in objects.get(kind) or []
        if selector and one["metadata"]["namespace"] == service["metadata"]["namespace"] and _makes(one, selector)
    ]
    if not owners or any(one["spec"].get("replicas", 1) != 0 for dummy, one in owners):
        return ""
    kind, one = owners[0]
    return "stopped: replicas of the %s %s/%s is 0" % (kind, one["metadata"]["namespace"], one["metadata"]["name"])


def _makes(workload: Object, selector: Mapping[str, str]) -> bool:
    """Whether the pods of a workload have the labels that a Service selects."""
    labels = (workload["spec"]["template"].get("metadata") or {}).get("labels") or {}
    return set(selector.items()) <= set(labels.items())


def behind(host: str, path: str, objects: Objects) -> Object:
    """The backends of a URL according to the cluster's HTTPRoutes.

    Returns the `routes` that have the host name and path, and their `services`: `name`, `found` in the cluster, the
    ready `endpoints`, `targets` (the pods' ports), and the reason why they are `stopped`.
    """
    routes: list[str] = []
    services: dict[str, Object] = {}
    by_name = {_key(one): one for one in objects["Service"]}
    for route in objects.get("HTTPRoute") or []:
        namespace = route["metadata"]["namespace"]
        names = (route.get("spec") or {}).get("hostnames") or [""]
        if not any(meet(name.lower(), host) == host for name in names):
            continue
        for backend in _backends(route, path):
            key = (backend.get("namespace") or namespace, backend["name"])
            services["%s/%s" % key] = _backend(key, backend, by_name.get(key), objects)
            routes.append("%s/%s" % (namespace, route["metadata"]["name"]))
    return {"routes": sorted(set(routes)), "services": list(services.values())}


def _key(thing: Object) -> tuple[str, str]:
    return (thing["metadata"].get("namespace", ""), thing["metadata"]["name"])


def _backends(route: Object, path: str) -> Iterator[Object]:
    for rule in route["spec"].get("rules") or []:
        if any(_takes(match.get("path") or {}, path) for match in rule.get("matches") or [{}]):
            for backend in rule.get("backendRefs") or []:
                if backend.get("kind", "Service") == "Service":
                    yield backend


def _takes(match: Object, path: str) -> bool:
    """Whether a rule's match may cover a path: a regular expression may cover any."""
    value, asked = match.get("value", "/"), path.partition("?")[0]
    if match.get("type", "PathPrefix") == "Exact":
        return bool(asked == value)
    prefix = value.rstrip("/")
    return match.get("type") == "RegularExpression" or asked == prefix or asked.startswith(prefix + "/")


def _backend(key: tuple[str, str], ref: Object, service: Object | None, objects: Objects) -> Object:
    slices = objects["EndpointSlice"]
    made: Object = {"name": "%s/%s" % key, "found": service is not None, "endpoints": 0, "targets": [], "stopped": ""}
    if service is None:
        return made
    ports = [one for one in service["spec"].get("ports") or [] if one["port"] == ref.get("port")]
    made["endpoints"] = sum(len(ready_endpoints(one)) for one in slices_of(service, slices))
    made["targets"] = target_ports(service, ports[0].get("name") or "", slices) if ports else []
    made["stopped"] = "" if made["endpoints"] else stopped(service, objects)
    return made
