# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Compares declared routes with the Gateways and Services of a cluster.

Everything here is pure, and works on objects that were read before. Listeners accept routes by the rules of
sigs.k8s.io/gateway-api, apis/v1/gateway_types.go (Listener, AllowedRoutes) and apis/v1/httproute_types.go (Hostnames).
"""

from __future__ import annotations

from typing import Any, Iterator, Mapping, NamedTuple, Sequence

from .._common.hostnames import meet
from .input import Backend, GatewayRef, Route
from .listeners import admits, listeners_of, serves_routes
from .objects import Key

# The objects of the cluster, by kind, namespace (empty if there is none) and name.
Cluster = Mapping[Key, Mapping[str, Any]]


class Secured(NamedTuple):
    """A host name that an HTTPS listener accepts."""

    where: str  # its name in messages
    name: str
    listener: str  # the listener's name in messages
    secrets: list[tuple[str, str]]  # namespaces and names of its certificates


def hostnames(routes: Sequence[Route], cluster: Cluster) -> dict[str, list[str]]:
    """The addresses of the Gateways at which each host name of the routes is served."""
    found: dict[str, list[str]] = {}
    for route in routes:
        for ref in route.gateways:
            gateway = cluster.get(("Gateway", ref.namespace, ref.name)) or {}
            listed = (gateway.get("status") or {}).get("addresses") or []
            addresses = [str(entry["value"]) for entry in listed if entry.get("type", "IPAddress") == "IPAddress"]
            for listener in _takers(route, ref, gateway, cluster):
                for name in route.hostnames or [""]:
                    both = meet(listener.get("hostname") or "", name)
                    if both:
                        found[both] = sorted({*found.get(both, ()), *addresses})
    return found


def by_name(found: Sequence[Mapping[str, Any]]) -> Cluster:
    """The objects in the answers to queries, by their keys."""
    return {
        (str(entry["kind"]), str(obj["metadata"].get("namespace") or ""), str(obj["metadata"]["name"])): obj
        for entry in found
        for obj in entry["resources"]
    }


def unmet(route: Route, cluster: Cluster) -> Iterator[str]:
    """Sentences about what a route lacks in the cluster."""
    missing = [fault for ref in route.gateways for fault in _gateway_faults(route, ref, cluster)]
    yield from missing
    if not missing:
        yield from _hostname_faults(route, cluster)
        yield from _loops(route, cluster)
    for rule in route.rules:
        for backend in rule.backends:
            yield from _backend_faults(backend, cluster)


def _gateway_faults(route: Route, ref: GatewayRef, cluster: Cluster) -> Iterator[str]:
    """Why a Gateway, or its requested listener, cannot accept the route at all."""
    full = "%s/%s" % (ref.namespace, ref.name)
    gateway = cluster.get(("Gateway", ref.namespace, ref.name))
    if not gateway:
        known = ["%s/%s" % key[1:] for key in cluster if key[0] == "Gateway"]
        yield "%s is the Gateway %s, which is not there: make it by the role gateway, or name one that is (%s)" % (
            ref.where, full, ", ".join(known) or "there is none",
        )  # fmt: skip
        return
    asked = listeners_of(gateway, ref.listener)
    if not asked:
        yield "%s.listener %s is not there: the Gateway %s has %s" % (
            ref.where, ref.listener, full, ", ".join(entry["name"] for entry in listeners_of(gateway)),
        )  # fmt: skip
    elif not any(map(serves_routes, asked)):
        yield "%s is the Gateway %s, which takes no HTTPRoutes%s: name a listener of the protocol HTTP or HTTPS" % (
            ref.where, full, " at its listener " + ref.listener if ref.listener else "",
        )  # fmt: skip
    elif not _takers(route, ref, gateway, cluster):
        yield (
            "%s is the Gateway %s, which takes no routes of the namespace %s: let its listener take them (from: all in "
            "the role gateway), or put the route into a namespace that it takes" % (ref.where, full, route.namespace)
        )


def _hostname_faults(route: Route, cluster: Cluster) -> Iterator[str]:
    """Host names that no listener accepts, and Gateways that accept none of the host names."""
    idle = []
    served: set[str] = set()
    for ref in route.gateways:
        takers = _takers(route, ref, cluster.get(("Gateway", ref.namespace, ref.name)) or {}, cluster)
        taken = {
            name for name in route.hostnames for entry in takers if meet(entry.get("hostname") or "", name) is not None
        }
        offered = ", ".join("%s for %s" % (entry["name"], entry.get("hostname") or "all names") for entry in takers)
        served |= taken
        idle += [] if taken or not route.hostnames else [(ref, offered)]
    for index, name in enumerate(route.hostnames):
        if name not in served:
            yield "%s.hostnames[%d] %s is taken by no listener of its gateways: give one this hostname, or none" % (
                route.where, index, name,
            )  # fmt: skip
    for ref, offered in idle:
        yield "%s takes none of the hostnames of the route: the Gateway %s/%s has the listeners %s" % (
            ref.where, ref.namespace, ref.name, offered,
        )  # fmt: skip


def _loops(route: Route, cluster: Cluster) -> Iterator[str]:
    """Redirects to the scheme of the request itself. A browser follows them until it gives up."""
    for rule in route.rules:
        for ref in route.gateways if rule.scheme else ():
            gateway = cluster.get(("Gateway", ref.namespace, ref.name)) or {}
            for listener in _takers(route, ref, gateway, cluster):
                if listener["protocol"].lower() == rule.scheme and _meets(listener, route):
                    yield "%s.redirect leads requests at the listener %s of %s back to it: name the other one there" % (
                        rule.where, listener["name"], ref.where,
                    )  # fmt: skip


def _backend_faults(backend: Backend, cluster: Cluster) -> Iterator[str]:
    """Why a backend cannot work: its Service or the port does not exist."""
    full = "%s/%s" % (backend.namespace, backend.service)
    service = cluster.get(("Service", backend.namespace, backend.service))
    if not service:
        yield "%s is the Service %s, which is not there: make it first, or name another one" % (backend.where, full)
        return
    ports = [entry["port"] for entry in service["spec"].get("ports") or [] if entry.get("protocol", "TCP") == "TCP"]
    if backend.port not in ports:
        yield "%s.port %d is not one of the Service %s, which has %s" % (
            backend.where, backend.port, full, ", ".join(map(str, ports)) or "no tcp port",
        )  # fmt: skip


def unknown_features(route: Route, cluster: Cluster) -> Iterator[str]:
    """Parts of rules that may have no effect, because the GatewayClass lists features and theirs are not among them."""
    for ref in route.gateways:
        gateway = cluster.get(("Gateway", ref.namespace, ref.name)) or {"spec": {}}
        name = str(gateway["spec"].get("gatewayClassName", ""))
        found = cluster.get(("GatewayClass", "", name)) or {}
        known = [entry.get("name") for entry in (found.get("status") or {}).get("supportedFeatures") or []]
        for rule in route.rules:
            for where, feature in rule.features if known else ():
                if feature not in known:
                    yield "%s may have no effect: the GatewayClass %s does not list %s" % (where, name, feature)


def secured(route: Route, cluster: Cluster) -> Iterator[Secured]:
    """The host names of a route that HTTPS listeners accept."""
    for ref in route.gateways:
        gateway = cluster.get(("Gateway", ref.namespace, ref.name)) or {}
        for listener in _takers(route, ref, gateway, cluster):
            refs = (listener.get("tls") or {}).get("certificateRefs") or []
            for index, name in enumerate(route.hostnames if listener["protocol"] == "HTTPS" else []):
                both = meet(listener.get("hostname") or "", name)
                if both and refs:
                    yield Secured(
                        "%s.hostnames[%d]" % (route.where, index),
                        both,
                        "the listener %s of the Gateway %s" % (listener["name"], ref.name),
                        [(one.get("namespace") or ref.namespace, one["name"]) for one in refs],
                    )


def _takers(route: Route, ref: GatewayRef, gateway: Mapping[str, Any], cluster: Cluster) -> list[Mapping[str, Any]]:
    """The listeners that accept HTTPRoutes of the namespace, regardless of host names."""
    space = cluster.get(("Namespace", "", route.namespace))
    return [
        entry
        for entry in listeners_of(gateway, ref.listener)
        if serves_routes(entry) and admits(entry, ref.namespace, route.namespace, space)
    ]


def _meets(listener: Mapping[str, Any], route: Route) -> bool:
    return any(meet(listener.get("hostname") or "", name) is not None for name in route.hostnames or [""])
