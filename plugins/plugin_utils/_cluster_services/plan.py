# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The Services of a cluster as `lb_services`, with remarks about features that `lb_services` cannot express.

Everything here is pure: it turns objects of the API into a declaration. Endpoints get connections by the rules of
kube-proxy (pkg/proxy/topology.go): the ready ones; if none is ready, those that terminate and still serve; and with the
traffic policy Local, only those on this node.
"""

from __future__ import annotations

import collections
import contextlib
import ipaddress
from typing import Any, Iterator, Mapping, NamedTuple, Sequence

from ...module_utils._common.errors import InputError
from .._common.objects import SERVICE_NAME

# The kinds of a Service's addresses and ports that can be carried.
CARRY = ("cluster_ips", "external_ips", "load_balancer_ips", "node_ports")
# The label of a Service that another proxy serves. kube-proxy ignores it too.
OTHER_PROXY = "service.kubernetes.io/service-proxy-name"
MAX_NAME = 63

# The objects of the cluster, by kind.
Cluster = Mapping[str, Sequence[Mapping[str, Any]]]


class Scope(NamedTuple):
    """What to carry, and on which host."""

    node: str = ""  # the host's name as a node of the cluster; empty if it is none
    namespaces: tuple[str, ...] = ()  # empty: all
    carry: tuple[str, ...] = CARRY


class Carried(NamedTuple):
    """The declaration, and remarks about what it leaves out."""

    services: list[dict[str, Any]]
    remarks: list[str]


class Front(NamedTuple):
    """An address at which a Service is reached."""

    kind: str  # as in CARRY
    address: str
    source_ranges: tuple[str, ...] = ()


class Backend(NamedTuple):
    """An endpoint of one port."""

    address: str
    port: int
    node: str
    ready: bool
    draining: bool  # it terminates, and still serves


def carried(cluster: Cluster, scope: Scope) -> Carried:
    """The Services as `lb_services`.

    cluster -- all Services, EndpointSlices and Nodes, by their kinds
    Raises InputError if `scope.node` is not a node of the cluster.
    """
    nodes = [node["metadata"]["name"] for node in cluster.get("Node", ())]
    if scope.node and scope.node not in nodes:
        raise InputError(
            "cluster_services_node %s is no node of the cluster, which has %s: name one, or none for a host outside"
            % (scope.node, ", ".join(nodes) or "none")
        )
    slices = collections.defaultdict(list)
    for entry in cluster.get("EndpointSlice", ()):
        labels = entry["metadata"].get("labels") or {}
        slices[entry["metadata"]["namespace"], labels.get(SERVICE_NAME)].append(entry)
    result = Carried([], [])
    owners: dict[tuple[Any, ...], str] = {}
    for service in sorted(cluster.get("Service", ()), key=_key):
        if scope.namespaces and _key(service)[0] not in scope.namespaces:
            continue
        called = "Service %s/%s" % _key(service)
        reason = _left_out(service)
        remarks = [reason] if reason else list(_cannot_say(service, scope))
        for port in [] if reason else service["spec"].get("ports") or []:
            entries, more = _entries(service, port, slices[_key(service)], scope)
            remarks += more
            for entry in entries:
                owner = owners.setdefault((entry["address"], entry["protocol"], entry["port"]), called)
                if owner == called:
                    result.services.append(entry)
                else:
                    remarks.append("%s port %d is left out: %s has it" % (entry["address"], entry["port"], owner))
        result.remarks.extend("%s: %s" % (called, remark) for remark in dict.fromkeys(remarks))
    return result


def refuse_shared(services: Sequence[Mapping[str, Any]], beside: Sequence[Any]) -> None:
    """Raise InputError if a host's own services have the same address or node port. Both declarations would answer.

    beside -- the host's `lb_services`, unchecked; invalid entries are refused elsewhere, when they are carried
    """
    owners = {place: str(service["name"]) for service in services for place in _places(service)}
    for i, own in enumerate(beside):
        for place in _places(own) if isinstance(own, dict) else ():
            if place in owners:
                raise InputError(
                    "lb_services[%d] has %s, which %s of the cluster has: take it out of lb_services, or leave the "
                    "Service out by cluster_services_namespaces or cluster_services_carry" % (i, place, owners[place])
                )


def _places(service: Mapping[str, Any]) -> Iterator[str]:
    """The addresses and ports at which a service is reached, in words."""
    protocol = str(service.get("protocol") or "tcp").lower()
    with contextlib.suppress(ValueError):
        yield "%s port %s/%s" % (_spelt(str(service.get("address"))), service.get("port"), protocol)
    if service.get("node_port"):
        yield "node port %s/%s" % (service["node_port"], protocol)


def _left_out(service: Mapping[str, Any]) -> str:
    """Why a Service is not carried at all; empty when it is."""
    spec, labels = service["spec"], service["metadata"].get("labels") or {}
    if spec.get("type") == "ExternalName":
        return "it is left out, for it is but a name in DNS (ExternalName)"
    if spec.get("clusterIP") == "None":
        return "it is left out, for it is headless: clients connect to its pods"
    if OTHER_PROXY in labels:
        return "it is left out, for the proxy %s carries it" % labels[OTHER_PROXY]
    return ""


def _cannot_say(service: Mapping[str, Any], scope: Scope) -> Iterator[str]:
    """Remarks about settings of a Service that its declaration cannot express."""
    spec = service["spec"]
    external = set(scope.carry) - {"cluster_ips"}
    for key in ("internalTrafficPolicy", *(["externalTrafficPolicy"] if external else [])):
        if spec.get(key) == "Local" and not scope.node:
            yield "%s is Local, and this host is no node: all endpoints get connections" % key
    if external and scope.node and spec.get("externalTrafficPolicy") == "Local":
        yield (
            "externalTrafficPolicy is Local: endpoints see this node's address in place of the client's, where "
            "connections are masqueraded, and pods of this node reach only the endpoints of this node from outside"
        )
    if spec.get("healthCheckNodePort"):
        yield "its healthCheckNodePort %d is not answered" % spec["healthCheckNodePort"]
    if spec.get("trafficDistribution"):
        yield "trafficDistribution is %s: near and far endpoints get connections alike" % spec["trafficDistribution"]
    for ingress in ((service.get("status") or {}).get("loadBalancer") or {}).get("ingress") or []:
        if "load_balancer_ips" in scope.carry and (not ingress.get("ip") or ingress.get("ipMode") == "Proxy"):
            address = ingress.get("ip") or ingress.get("hostname")
            yield "its load balancer %s is left out, for it is not of this cluster's hosts" % address


def _entries(
    service: Mapping[str, Any], port: Mapping[str, Any], slices: Sequence[Mapping[str, Any]], scope: Scope
) -> tuple[list[dict[str, Any]], list[str]]:
    """The declarations of one port, and remarks."""
    spec = service["spec"]
    entries: list[dict[str, Any]] = []
    remarks: list[str] = []
    families = {_version(address): _backends(slices, port, _version(address)) for address in _cluster_ips(spec)}
    outside = {version: _chosen(found, spec, "external", scope.node) for version, found in families.items()}
    for front in _fronts(service):
        version = _version(front.address)
        backends = families.get(version, [])
        # An external address may belong to a host that is itself an endpoint. That endpoint needs no translation.
        others = [backend for backend in backends if backend.address != front.address]
        chosen = _chosen(others, spec, "internal" if front.kind == "cluster_ips" else "external", scope.node)
        if front.kind not in scope.carry:
            continue
        reason = _front_left_out(front, spec, version in families, bool(chosen), scope)
        if reason:
            remarks.append("%s is left out, %s" % (front.address, reason))
            continue
        entries.append(_entry(service, port, front, chosen))
    if port.get("nodePort") and "node_ports" in scope.carry:
        remarks += _add_node_port(entries, port["nodePort"], outside)
    return entries, remarks


def _front_left_out(front: Front, spec: Mapping[str, Any], known: bool, endpoints: bool, scope: Scope) -> str:
    """Why an address is not carried; empty when it is."""
    if not known:
        return "for the Service is not of its family"
    if front.kind == "cluster_ips":
        return ""
    if scope.node and spec.get("externalTrafficPolicy") == "Local" and not endpoints:
        return "for externalTrafficPolicy is Local and no endpoint is on this node"
    if front.kind == "load_balancer_ips" and spec.get("loadBalancerSourceRanges") and not front.source_ranges:
        return "for none of its source ranges is of its family, and all could connect"
    return ""


def _entry(
    service: Mapping[str, Any], port: Mapping[str, Any], front: Front, endpoints: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    """One entry of `lb_services`."""
    spec = service["spec"]
    protocol = _protocol(port).lower()
    # Address, port and protocol make the name unique. The part before them names the Service.
    unique = "-%s-%d-%s" % (front.address.replace(".", "-").replace(":", "-"), port["port"], protocol)
    affinity = {}
    if spec.get("sessionAffinity") == "ClientIP":
        client = (spec.get("sessionAffinityConfig") or {}).get("clientIP") or {}
        affinity = {"session_affinity": {"timeout": client.get("timeoutSeconds") or 10800}}
    return {
        "name": ("%s-%s" % _key(service))[: MAX_NAME - len(unique)] + unique,
        "address": front.address,
        "port": port["port"],
        "protocol": protocol,
        "endpoints": list(endpoints),
        **affinity,
        **({"source_ranges": list(front.source_ranges)} if front.source_ranges else {}),
    }


def _add_node_port(
    entries: Sequence[dict[str, Any]], number: int, outside: Mapping[int, Sequence[Mapping[str, Any]]]
) -> list[str]:
    """Add the node port to one entry of each family that has the same endpoints and no source ranges."""
    remarks = []
    for version, endpoints in outside.items():
        fitting = [
            entry
            for entry in entries
            if _version(entry["address"]) == version
            and entry["endpoints"] == endpoints
            and not entry.get("source_ranges")
        ]
        for entry in fitting[:1]:
            entry["node_port"] = number
        if not fitting:
            remarks.append(
                "node port %d is left out for IPv%d: no address that is carried leads to the same endpoints"
                % (number, version)
            )
    return remarks


def _fronts(service: Mapping[str, Any]) -> Iterator[Front]:
    spec, status = service["spec"], service.get("status") or {}
    for address in _cluster_ips(spec):
        yield Front("cluster_ips", address)
    for address in spec.get("externalIPs") or []:
        yield Front("external_ips", _spelt(address))
    ranges = [ipaddress.ip_network(entry.strip(), strict=False) for entry in spec.get("loadBalancerSourceRanges") or []]
    for ingress in (status.get("loadBalancer") or {}).get("ingress") or []:
        if ingress.get("ip") and ingress.get("ipMode") != "Proxy":
            version = _version(ingress["ip"])
            allowed = tuple(str(entry) for entry in ranges if entry.version == version)
            yield Front("load_balancer_ips", _spelt(ingress["ip"]), allowed)


def _backends(slices: Sequence[Mapping[str, Any]], port: Mapping[str, Any], version: int) -> list[Backend]:
    """The endpoints of a port, each once: slices may overlap while Kubernetes moves endpoints between them."""
    found: dict[tuple[str, int], Backend] = {}
    for entry in slices:
        numbers = [
            its["port"]
            for its in entry.get("ports") or []
            if its.get("port")
            and (its.get("name") or "") == (port.get("name") or "")
            and _protocol(its) == _protocol(port)
        ]
        for endpoint in (entry.get("endpoints") or []) if entry["addressType"] == "IPv%d" % version else []:
            conditions = endpoint.get("conditions") or {}
            # The API says to treat an unknown condition as true.
            ready = conditions.get("ready") is not False
            serving = ready if conditions.get("serving") is None else bool(conditions["serving"])
            for number in numbers:
                address = _spelt(endpoint["addresses"][0])
                draining = serving and bool(conditions.get("terminating"))
                backend = Backend(address, number, endpoint.get("nodeName") or "", ready, draining)
                found[address, number] = max(backend, found.get((address, number), backend), key=lambda one: one.ready)
    return sorted(found.values())


def _chosen(backends: Sequence[Backend], spec: Mapping[str, Any], side: str, node: str) -> list[dict[str, Any]]:
    """The endpoints that get connections. `side`, internal or external, says which traffic policy applies."""
    if node and spec.get(side + "TrafficPolicy") == "Local":
        backends = [backend for backend in backends if backend.node == node]
    ready = [backend for backend in backends if backend.ready] or [one for one in backends if one.draining]
    return [{"address": backend.address, "port": backend.port} for backend in ready]


def _cluster_ips(spec: Mapping[str, Any]) -> list[str]:
    return [_spelt(address) for address in spec.get("clusterIPs") or [spec["clusterIP"]]]


def _protocol(port: Mapping[str, Any]) -> str:
    return str(port.get("protocol") or "TCP")


def _spelt(address: str) -> str:
    return str(ipaddress.ip_address(address))


def _version(address: str) -> int:
    return 6 if ":" in address else 4


def _key(obj: Mapping[str, Any]) -> tuple[str, str]:
    return str(obj["metadata"]["namespace"]), str(obj["metadata"]["name"])
