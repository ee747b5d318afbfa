# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The external access of a cluster's Services, according to the API server, and why a Service has none.

Pure: it turns API objects into one structure.
"""

from __future__ import annotations

import re
from typing import Any, Dict, Iterator, List, Mapping, Sequence

from .._common.objects import is_ready
from .backends import ready_endpoints, slices_of, stopped, target_ports
from .metallb import EXCLUDED, annotation, events_of, full_name, one_line, why_pending, why_unannounced
from .nodes import remedy_of, why_not_ready

Object = Dict[str, Any]
Objects = Mapping[str, List[Object]]


def view(objects: Objects, wanted: Sequence[str], http_ports: Sequence[int], where: str = "services") -> Object:
    """The data of the cluster that the checks need.

    objects -- by kind (Service, Node, Pod of MetalLB's namespace, EndpointSlice, Event, IPAddressPool, L2Advertisement,
        BGPAdvertisement, ServiceL2Status, and where they are known Deployment, StatefulSet and HTTPRoute), as the API
        returns them
    wanted -- the Services to check, as `namespace/name`; if empty, all of type LoadBalancer
    http_ports -- ports to check by HTTP, besides those whose name or appProtocol says HTTP
    where -- the name in messages of the list of wanted Services

    Wanted Services that do not exist or have another type are left out, and named in `refused`.
    """
    nodes = {node["metadata"]["name"]: node for node in objects["Node"]}
    cluster: Object = {
        "refused": list(_refused(objects["Service"], wanted, where)),
        "metallb": _metallb(objects["Pod"], nodes),
        "nodes": [node_view(node) for node in objects["Node"]],
        "speakers": [_speaker(pod, nodes) for pod in objects["Pod"] if _component(pod) == "speaker"],
        "services": [],
    }
    for service in _chosen(objects["Service"], wanted):
        entry = _service(service, objects, http_ports)
        pending = not entry["addresses"] and not entry["names"]
        entry["pending"] = why_pending(entry, service, cluster, objects) if pending else None
        entry["aside"] = why_aside(entry, service, cluster, objects)
        entry["unannounced"] = None if pending or entry["aside"] else why_unannounced(entry, cluster, objects)
        cluster["services"].append(entry)
    return cluster


def why_aside(entry: Object, service: Object, cluster: Object, objects: Objects) -> str:
    """Why a Service is not checked from outside although it has no fault; empty if it is checked."""
    asked = service["spec"].get("loadBalancerClass") or ""
    if asked and asked != cluster["metallb"]["class"]:
        return "its loadBalancerClass %s is not MetalLB's, but of another controller, whose matter it is" % asked
    if entry["names"] and not entry["addresses"]:
        return "a name that another load balancer than MetalLB gave"
    if entry["addresses"] and not entry["endpoints"]:
        return stopped(service, objects)
    return ""


def targets_of_nodes(cluster: Object, port: int) -> list[Object]:
    """The targets of probe_ports on a node: the ports at which speakers reach each other."""
    addresses = sorted({one["address"] for one in cluster["speakers"] if one["address"]})
    # A single speaker has no others to reach.
    return [
        {"address": address, "port": port, "protocol": protocol}
        for address in (addresses if len(addresses) > 1 else [])
        for protocol in ("tcp", "udp")
    ]


def targets_of_clients(cluster: Object, path: str, host: str) -> list[Object]:
    """The targets of probe_ports on a client: each Service's ports except for udp and sctp.

    Only the clients of a udp or sctp Service know its requests.
    """
    http = {"path": path, "host": host}
    return [
        {
            "address": address,
            "port": port["port"],
            "protocol": port["protocol"],
            **(http if port["protocol"] == "http" else {}),
        }
        for service in cluster["services"]
        for address in ([] if service["aside"] else service["addresses"])
        for port in service["ports"]
        if port["protocol"] in ("http", "tcp")
    ]


def addresses_of_clients(cluster: Object) -> list[str]:
    """The addresses that probe_owners looks up on a client: the VIPs, and the nodes' to identify the owner."""
    looked_at = [service for service in cluster["services"] if not service["aside"]]
    vips = {address for service in looked_at for address in service["addresses"]}
    nodes = {address for node in cluster["nodes"] for address in node["addresses"]} if vips else set()
    return sorted(vips | nodes)


def _refused(services: Sequence[Object], wanted: Sequence[str], where: str) -> Iterator[str]:
    kinds = {full_name(service): service["spec"].get("type", "ClusterIP") for service in services}
    for at, name in enumerate(wanted):
        entry = "%s[%d] %s" % (where, at, name)
        if name not in kinds:
            yield "%s is not in the cluster: write NAMESPACE/NAME of a Service" % entry
        elif kinds[name] != "LoadBalancer":
            yield "%s is of the type %s: only one of the type LoadBalancer has a VIP" % (entry, kinds[name])


def _chosen(services: Sequence[Object], wanted: Sequence[str]) -> list[Object]:
    balanced = {full_name(one): one for one in services if one["spec"].get("type") == "LoadBalancer"}
    return [balanced[name] for name in (wanted or sorted(balanced)) if name in balanced]


def _metallb(pods: Sequence[Object], nodes: Mapping[str, Object]) -> Object:
    ours = [pod for pod in pods if _component(pod) in ("controller", "speaker")]
    controllers = [pod for pod in pods if _component(pod) == "controller"]
    # Both components have the argument, and either component may be missing.
    arguments = [argument for pod in ours for argument in _arguments(pod)]
    classes = [argument.split("=", 1)[1] for argument in arguments if argument.startswith("--lb-class=")]
    troubles = [_trouble(pod, nodes) for pod in controllers]
    return {
        "installed": bool(ours),
        "controller": "" if "" in troubles else [*troubles, "there is no pod of it"][0],
        "class": classes[0] if classes else "",
    }


def _component(pod: Object) -> str:
    """The component of MetalLB that a pod runs, from the labels of its manifests or of its Helm chart."""
    labels = pod["metadata"].get("labels") or {}
    return str(labels.get("component") or labels.get("app.kubernetes.io/component") or "")


def _arguments(pod: Object) -> list[str]:
    return [argument for container in pod["spec"]["containers"] for argument in container.get("args") or []]


def _trouble(pod: Object, nodes: Mapping[str, Object]) -> str:
    """The reason why a pod is not ready; empty if it is."""
    if is_ready(pod):
        return ""
    node = nodes.get(pod["spec"].get("nodeName", ""))
    if node and not is_ready(node):
        return why_not_ready(node)
    status = pod.get("status") or {}
    waiting = [one.get("state", {}).get("waiting", {}) for one in status.get("containerStatuses") or []]
    reasons = [one["reason"] for one in waiting if one.get("reason")]
    return one_line([*reasons, "%s, not ready" % status.get("phase", "Unknown")][0])


def _speaker(pod: Object, nodes: Mapping[str, Object]) -> Object:
    return {
        "node": pod["spec"].get("nodeName", ""),
        "address": (pod.get("status") or {}).get("podIP", ""),
        "trouble": _trouble(pod, nodes),
        "everywhere": "--ignore-exclude-lb" in [argument.split("=")[0] for argument in _arguments(pod)],
    }


def node_view(node: Object) -> Object:
    """A node's name, its addresses, whether it is ready, and whether it is excluded from announcing."""
    status = node.get("status") or {}
    return {
        "name": node["metadata"]["name"],
        "addresses": [one["address"] for one in status.get("addresses") or [] if one["type"].endswith("IP")],
        "ready": is_ready(node),
        "trouble": why_not_ready(node),
        "remedy": "" if is_ready(node) else remedy_of(node),
        "excluded": EXCLUDED in (node["metadata"].get("labels") or {}),
    }


def _service(service: Object, objects: Objects, http_ports: Sequence[int]) -> Object:
    spec, ingress = service["spec"], (service.get("status") or {}).get("loadBalancer", {}).get("ingress") or []
    endpoints = [one for each in slices_of(service, objects["EndpointSlice"]) for one in ready_endpoints(each)]
    pool = annotation(service, "ip-allocated-from-pool")
    return {
        "name": full_name(service),
        "addresses": [one["ip"] for one in ingress if one.get("ip")],
        "names": [one["hostname"] for one in ingress if one.get("hostname")],
        "ports": [_port(port, service, objects, http_ports) for port in spec.get("ports") or []],
        "endpoints": len(endpoints),
        "endpoint_nodes": sorted({one["nodeName"] for one in endpoints if one.get("nodeName")}),
        "local": spec.get("externalTrafficPolicy") == "Local",
        "source_ranges": spec.get("loadBalancerSourceRanges") or [],
        "pool": pool,
        "protocols": _protocols(pool, objects),
        "announcers": announcers(service, objects),
    }


def _port(port: Object, service: Object, objects: Objects, http_ports: Sequence[int]) -> Object:
    name, kind = port.get("name") or "", port.get("appProtocol") or ""
    named = bool(re.match(r"http(-|$)", name)) or kind in ("http", "kubernetes.io/ws")
    tls = name.startswith("https") or kind == "https"
    protocol = port.get("protocol", "TCP").lower()
    http = protocol == "tcp" and not tls and (named or port["port"] in http_ports)
    return {
        "port": port["port"],
        "protocol": "http" if http else protocol,
        "declared": str(port.get("targetPort") or port["port"]),
        "targets": target_ports(service, name, objects["EndpointSlice"]),
    }


def _protocols(pool: str, objects: Objects) -> list[str]:
    """The protocols that advertise a pool's addresses. A selector counts, because it may select the pool."""
    kinds = {"layer2": "L2Advertisement", "bgp": "BGPAdvertisement"}
    specs = {protocol: [one.get("spec") or {} for one in objects[kind]] for protocol, kind in kinds.items()}
    return [
        protocol
        for protocol, found in specs.items()
        if any(spec.get("ipAddressPoolSelectors") or pool in (spec.get("ipAddressPools") or [pool]) for spec in found)
    ]


def announcers(service: Object, objects: Objects) -> list[str]:
    """The nodes that announce the Service by layer 2: from MetalLB's status, or else from its last event."""
    place = (service["metadata"]["namespace"], service["metadata"]["name"])
    statuses = [one.get("status") or {} for one in objects["ServiceL2Status"]]
    nodes = {one.get("node", "") for one in statuses if (one.get("serviceNamespace"), one.get("serviceName")) == place}
    if nodes:
        return sorted(nodes - {""})
    said = [event.get("message", "") for event in events_of(service, objects) if event.get("reason") == "nodeAssigned"]
    found = [re.match(r'announcing from node "([^"]*)" with protocol "layer2"', message) for message in said]
    return [match.group(1) for match in found if match][-1:]
