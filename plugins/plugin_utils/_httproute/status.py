# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether the controllers of Gateways have accepted routes, and why not, from the conditions that they report.

Everything here is pure. Conditions and their reasons are those of sigs.k8s.io/gateway-api, apis/v1/shared_types.go.
The texts of conditions come from the cluster, so all output passes through `printable`.
"""

from __future__ import annotations

from typing import Any, Iterator, Mapping, Sequence

from ...module_utils._common.printable import printable
from .cluster import Cluster
from .input import GatewayRef, Route

CONDITIONS = ("Accepted", "ResolvedRefs")
MAX_LENGTH = 500  # characters of a line

_HINTS = {
    "BackendNotFound": "a Service, its port or its endpoints are not there: make them, or name another one",
    "IncompatibleFilters": "the controller cannot do these things in one rule: make two rules of it",
    "InvalidKind": "a route can send requests to Services only",
    "NoMatchingListenerHostname": "no listener takes one of its hostnames",
    "NoMatchingParent": "the listener is not there, or does not work, for instance for want of a certificate",
    "NotAllowedByListeners": "the listener takes no routes of this kind or namespace: see its allowedRoutes",
    "RefNotPermitted": "a namespace does not let the route use what is in it: see its ReferenceGrants",
    "UnsupportedProtocol": "the controller does not speak the protocol that the Service's port names as appProtocol",
    "UnsupportedValue": "the controller does not know a part of the rules",
}


def pending(routes: Sequence[Route], cluster: Cluster) -> list[str]:
    """Lines about each route that a Gateway's controller does not report as working, and why; empty if all work.

    cluster -- Gateways and HTTPRoutes
    """
    lines = [line for route in routes for ref in route.gateways for line in _missing(route, ref, cluster)]
    return [printable(line if len(line) <= MAX_LENGTH else line[:MAX_LENGTH] + " ...") for line in lines]


def _missing(route: Route, ref: GatewayRef, cluster: Cluster) -> Iterator[str]:
    """Lines about a route that does not work at one Gateway."""
    live = cluster.get(("HTTPRoute", route.namespace, route.name))
    if not live:
        yield "HTTPRoute %s/%s: it was removed meanwhile" % (route.namespace, route.name)
        return
    said = [_said(parent, live) for parent in _parents(live, ref)]
    if any(all(entry["status"] == "True" for entry in conditions) for conditions in said):
        return
    head = "HTTPRoute %s/%s at the Gateway %s/%s: " % (route.namespace, route.name, ref.namespace, ref.name)
    if not said:
        yield head + "no controller has said anything of it"
    for reason, text in dict(_faults(said)).items():
        yield head + text
        if reason in _HINTS:
            yield "  " + _HINTS[reason]
    yield from _gateway(ref, cluster)


def _parents(live: Mapping[str, Any], ref: GatewayRef) -> list[Mapping[str, Any]]:
    """The route's status entries for a Gateway. A controller may report one per listener, or one for all of them."""
    found = []
    for entry in (live.get("status") or {}).get("parents") or []:
        parent = entry["parentRef"]
        namespace = parent.get("namespace") or live["metadata"]["namespace"]
        same = (namespace, parent["name"]) == (ref.namespace, ref.name)
        if same and (not ref.listener or parent.get("sectionName") in (None, ref.listener)):
            found.append(entry)
    return found


def _said(parent: Mapping[str, Any], live: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The conditions for the current generation of the route. One for an older generation counts as Unknown."""
    by_type = {
        entry["type"]: entry
        for entry in parent.get("conditions") or []
        if entry.get("observedGeneration", 0) >= live["metadata"].get("generation", 0)
    }
    unseen = {"status": "Unknown", "reason": "Pending", "message": "its controller has not seen the change yet"}
    return [by_type.get(kind, {"type": kind, **unseen}) for kind in CONDITIONS]


def _faults(said: Sequence[Sequence[Mapping[str, Any]]]) -> Iterator[tuple[str, str]]:
    """Reason and text of each condition that is not true."""
    for conditions in said:
        for entry in conditions:
            if entry["status"] != "True":
                yield str(entry.get("reason")), _text(entry)


def _gateway(ref: GatewayRef, cluster: Cluster) -> Iterator[str]:
    """Lines about the Gateway itself, if its controller reports that it does not work."""
    gateway = cluster.get(("Gateway", ref.namespace, ref.name))
    if not gateway:
        yield "  the Gateway is not there any more"
        return
    status = gateway.get("status") or {}
    hold = {entry["type"]: entry for entry in status.get("conditions") or []}
    if hold.get("Accepted", {}).get("status") != "True":
        yield "  no controller has taken the Gateway: see that one for the GatewayClass %s is installed and runs" % (
            gateway["spec"].get("gatewayClassName")
        )
    for listener in status.get("listeners") or []:
        for entry in listener.get("conditions") or []:
            if entry["type"] in ("Accepted", "Programmed", "ResolvedRefs") and entry["status"] != "True":
                yield "  its listener %s: %s" % (listener["name"], _text(entry))


def _text(condition: Mapping[str, Any]) -> str:
    message = " ".join(str(condition.get("message") or "").split())
    text = "%s is %s (%s)" % (condition["type"], condition["status"], condition.get("reason"))
    return "%s: %s" % (text, message) if message else text
