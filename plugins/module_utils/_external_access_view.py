# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the API server knows of the external access of a cluster's Services, and why a Service has none.

Pure: objects of the API in, one structure out. The rules that it follows are MetalLB's: controller/service.go and
internal/allocator for who gets an address, speaker/layer2_controller.go for who announces it.
"""

from __future__ import annotations

import re
from typing import Any, Dict, Iterable, Iterator, List, Mapping, Sequence

from ansible_collections.homelab.loadbalancer.plugins.module_utils._k8s_events import last_seen
from ansible_collections.homelab.loadbalancer.plugins.module_utils._k8s_objects import SERVICE_NAME, is_ready
from ansible_collections.homelab.loadbalancer.plugins.module_utils._printable import printable

Object = Dict[str, Any]
Objects = Mapping[str, List[Object]]

EXCLUDED = "node.kubernetes.io/exclude-from-external-load-balancers"
# MetalLB's annotations have had two prefixes.
_PREFIXES = ("metallb.io/", "metallb.universe.tf/")


def view(objects: Objects, wanted: Sequence[str], http_ports: Sequence[int]) -> Object:
    """The cluster as the checks need it.

    objects -- by kind (Service, Node, Pod of MetalLB's namespace, EndpointSlice, Event, IPAddressPool, L2Advertisement,
        BGPAdvertisement, ServiceL2Status), as the API returns them
    wanted -- the Services to look at, `namespace/name`; all of the type LoadBalancer when empty
    http_ports -- the ports that are asked by HTTP, besides those whose name or appProtocol says so

    Wanted Services that are not there or of another type are left out, and named in `refused`.
    """
    cluster: Object = {
        "refused": list(_refused(objects["Service"], wanted)),
        "metallb": _metallb(objects["Pod"]),
        "nodes": [node_view(node) for node in objects["Node"]],
        "speakers": [_speaker(pod) for pod in objects["Pod"] if _component(pod) == "speaker"],
        "services": [],
    }
    for service in _chosen(objects["Service"], wanted):
        entry = _service(service, objects, http_ports)
        entry["pending"] = None if entry["addresses"] else why_pending(entry, service, cluster, objects)
        entry["unannounced"] = why_unannounced(entry, cluster, objects) if entry["addresses"] else None
        cluster["services"].append(entry)
    return cluster


def targets_of_nodes(cluster: Object, port: int) -> list[Object]:
    """What probe_ports is to ask on a node: where the speakers hear each other."""
    addresses = sorted({one["address"] for one in cluster["speakers"] if one["address"]})
    # Nothing is to be heard by a speaker that is alone.
    return [
        {"address": address, "port": port, "protocol": protocol}
        for address in (addresses if len(addresses) > 1 else [])
        for protocol in ("tcp", "udp")
    ]


def targets_of_clients(cluster: Object, path: str, host: str) -> list[Object]:
    """What probe_ports is to ask on a client: each Service's ports, but for those of udp and sctp, which only its
    clients know how to ask."""
    http = {"path": path, "host": host}
    return [
        {"address": address, **port, **(http if port["protocol"] == "http" else {})}
        for service in cluster["services"]
        for address in service["addresses"]
        for port in service["ports"]
        if port["protocol"] in ("http", "tcp")
    ]


def addresses_of_clients(cluster: Object) -> list[str]:
    """What probe_owners is to ask for on a client: the VIPs, and the nodes' addresses to know who answers."""
    vips = {address for service in cluster["services"] for address in service["addresses"]}
    nodes = {address for node in cluster["nodes"] for address in node["addresses"]} if vips else set()
    return sorted(vips | nodes)


def fault(cause: str, remedy: str = "") -> Object:
    """What is wrong, and what to do."""
    return {"cause": one_line(cause), "remedy": one_line(remedy)}


def one_line(text: str) -> str:
    """What comes from a cluster, made fit for a table."""
    return " ".join(printable(text).split())


def full_name(thing: Object) -> str:
    """`namespace/name`."""
    return "%s/%s" % (thing["metadata"].get("namespace", ""), thing["metadata"]["name"])


def _refused(services: Sequence[Object], wanted: Sequence[str]) -> Iterator[str]:
    kinds = {full_name(service): service["spec"].get("type", "ClusterIP") for service in services}
    for at, name in enumerate(wanted):
        where = "external_access_services[%d] %s" % (at, name)
        if name not in kinds:
            yield "%s is not in the cluster: write NAMESPACE/NAME of a Service" % where
        elif kinds[name] != "LoadBalancer":
            yield "%s is of the type %s: only one of the type LoadBalancer has a VIP" % (where, kinds[name])


def _chosen(services: Sequence[Object], wanted: Sequence[str]) -> list[Object]:
    balanced = {full_name(one): one for one in services if one["spec"].get("type") == "LoadBalancer"}
    return [balanced[name] for name in (wanted or sorted(balanced)) if name in balanced]


def _metallb(pods: Sequence[Object]) -> Object:
    controllers = [pod for pod in pods if _component(pod) == "controller"]
    arguments = [argument for pod in controllers for argument in _arguments(pod)]
    classes = [argument.split("=", 1)[1] for argument in arguments if argument.startswith("--lb-class=")]
    troubles = [_trouble(pod) for pod in controllers]
    return {
        "installed": any(_component(pod) in ("controller", "speaker") for pod in pods),
        "controller": "" if "" in troubles else [*troubles, "there is no pod of it"][0],
        "class": classes[0] if classes else "",
    }


def _component(pod: Object) -> str:
    """Which part of MetalLB a pod is, by the labels of its manifests or of its Helm chart."""
    labels = pod["metadata"].get("labels") or {}
    return str(labels.get("component") or labels.get("app.kubernetes.io/component") or "")


def _arguments(pod: Object) -> list[str]:
    return [argument for container in pod["spec"]["containers"] for argument in container.get("args") or []]


def _trouble(pod: Object) -> str:
    """Why a pod is not ready; empty when it is."""
    if is_ready(pod):
        return ""
    status = pod.get("status") or {}
    waiting = [one.get("state", {}).get("waiting", {}) for one in status.get("containerStatuses") or []]
    reasons = [one["reason"] for one in waiting if one.get("reason")]
    return one_line([*reasons, "%s, not ready" % status.get("phase", "Unknown")][0])


def _speaker(pod: Object) -> Object:
    return {
        "node": pod["spec"].get("nodeName", ""),
        "address": (pod.get("status") or {}).get("podIP", ""),
        "trouble": _trouble(pod),
        "everywhere": "--ignore-exclude-lb" in [argument.split("=")[0] for argument in _arguments(pod)],
    }


def node_view(node: Object) -> Object:
    """A node's name, its addresses, whether it is ready, and whether it is kept from announcing."""
    status = node.get("status") or {}
    return {
        "name": node["metadata"]["name"],
        "addresses": [one["address"] for one in status.get("addresses") or [] if one["type"].endswith("IP")],
        "ready": is_ready(node),
        "excluded": EXCLUDED in (node["metadata"].get("labels") or {}),
    }


def _service(service: Object, objects: Objects, http_ports: Sequence[int]) -> Object:
    spec, ingress = service["spec"], (service.get("status") or {}).get("loadBalancer", {}).get("ingress") or []
    endpoints = [one for each in slices_of(service, objects["EndpointSlice"]) for one in ready_endpoints(each)]
    pool = _annotation(service, "ip-allocated-from-pool")
    return {
        "name": full_name(service),
        "addresses": [one["ip"] for one in ingress if one.get("ip")],
        "ports": [_port(port, http_ports) for port in spec.get("ports") or []],
        "endpoints": len(endpoints),
        "endpoint_nodes": sorted({one["nodeName"] for one in endpoints if one.get("nodeName")}),
        "local": spec.get("externalTrafficPolicy") == "Local",
        "source_ranges": spec.get("loadBalancerSourceRanges") or [],
        "pool": pool,
        "protocols": _protocols(pool, objects),
        "announcers": announcers(service, objects),
    }


def _port(port: Object, http_ports: Sequence[int]) -> Object:
    name, kind = port.get("name") or "", port.get("appProtocol") or ""
    named = bool(re.match(r"http(-|$)", name)) or kind in ("http", "kubernetes.io/ws")
    tls = name.startswith("https") or kind == "https"
    protocol = port.get("protocol", "TCP").lower()
    http = protocol == "tcp" and not tls and (named or port["port"] in http_ports)
    return {"port": port["port"], "protocol": "http" if http else protocol}


def slices_of(service: Object, slices: Iterable[Object]) -> list[Object]:
    """The Service's EndpointSlices."""
    place = (service["metadata"]["namespace"], service["metadata"]["name"])
    return [
        one
        for one in slices
        if (one["metadata"]["namespace"], (one["metadata"].get("labels") or {}).get(SERVICE_NAME)) == place
    ]


def ready_endpoints(endpoint_slice: Object) -> list[Object]:
    """Those of a slice that are ready; unknown counts as ready."""
    found = endpoint_slice.get("endpoints") or []
    return [one for one in found if (one.get("conditions") or {}).get("ready") is not False]


def _annotation(service: Object, key: str) -> str:
    annotations = service["metadata"].get("annotations") or {}
    return str(next((annotations[prefix + key] for prefix in _PREFIXES if prefix + key in annotations), ""))


def _protocols(pool: str, objects: Objects) -> list[str]:
    """How the addresses of a pool are advertised. A selector may select the pool, and so counts as if it did."""
    kinds = {"layer2": "L2Advertisement", "bgp": "BGPAdvertisement"}
    specs = {protocol: [one.get("spec") or {} for one in objects[kind]] for protocol, kind in kinds.items()}
    return [
        protocol
        for protocol, found in specs.items()
        if any(spec.get("ipAddressPoolSelectors") or pool in (spec.get("ipAddressPools") or [pool]) for spec in found)
    ]


def announcers(service: Object, objects: Objects) -> list[str]:
    """The nodes that announce it by layer 2: MetalLB's own word, or else the last event that says so."""
    place = (service["metadata"]["namespace"], service["metadata"]["name"])
    statuses = [one.get("status") or {} for one in objects["ServiceL2Status"]]
    nodes = {one.get("node", "") for one in statuses if (one.get("serviceNamespace"), one.get("serviceName")) == place}
    if nodes:
        return sorted(nodes - {""})
    said = [event.get("message", "") for event in _events(service, objects) if event.get("reason") == "nodeAssigned"]
    found = [re.match(r'announcing from node "([^"]*)" with protocol "layer2"', message) for message in said]
    return [match.group(1) for match in found if match][-1:]


def _events(service: Object, objects: Objects) -> list[Object]:
    """What MetalLB's controller and speakers said of the Service, the last one last."""
    uid = service["metadata"].get("uid")
    mine = [
        event
        for event in objects["Event"]
        if (event.get("involvedObject") or {}).get("uid") == uid
        and str((event.get("source") or {}).get("component")).startswith("metallb")
    ]
    return sorted(mine, key=last_seen)


def why_pending(entry: Object, service: Object, cluster: Object, objects: Objects) -> Object:
    """Why a Service has no address, the most basic reason first."""
    metallb = cluster["metallb"]
    asked, ours = service["spec"].get("loadBalancerClass") or "", metallb["class"]
    if not metallb["installed"]:
        return fault(
            "no load balancer gives out addresses in this cluster: Kubernetes has none of its own, and MetalLB is not "
            "installed",
            "install it with the role metallb, and give it addresses with the role metallb_pool",
        )
    if asked != ours:
        return fault(
            "its loadBalancerClass is %s, and MetalLB serves %s" % (asked or "not set", ours or "Services without one"),
            "that cannot be changed: create the Service anew with %s"
            % ("the loadBalancerClass " + ours if ours else "no loadBalancerClass"),
        )
    if metallb["controller"]:
        return fault(
            "MetalLB's controller, which gives out the addresses, does not run: %s" % metallb["controller"],
            "look at `kubectl describe pod` of it in MetalLB's namespace",
        )
    if not objects["IPAddressPool"]:
        return fault("MetalLB has no addresses to give out: there is no IPAddressPool", "add one: role metallb_pool")
    return _why_refused(service, objects)


def _why_refused(service: Object, objects: Objects) -> Object:
    """What MetalLB said about a Service, in its last warning."""
    pools = objects["IPAddressPool"]
    said = [event.get("message", "") for event in _events(service, objects) if event.get("type") == "Warning"]
    last = re.sub(r"^Failed to allocate IP for \S+ ", "", said[-1]) if said else ""
    if "no available IPs" in last:
        return fault(
            "no pool has an address for it: %s" % "; ".join(why_not(pool, service) for pool in pools),
            "add addresses or a pool with the role metallb_pool, or remove a Service that is not needed",
        )
    if re.search("not allowed in config|unknown pool|not compatible", last):
        names = ", ".join("%s (%s)" % (pool["metadata"]["name"], _ranges(pool)) for pool in pools)
        return fault(
            "MetalLB refuses what it asks for: %s" % last,
            "ask for an address, or a pool, that the Service may have: %s" % names,
        )
    if last:
        return fault("MetalLB refuses it: %s" % last, "change the Service accordingly")
    return fault("MetalLB has not said why", "look at the log of MetalLB's controller: kubectl logs")


def why_not(pool: Object, service: Object) -> str:
    """Why a pool gives a Service no address, when none of them does."""
    name, spec = pool["metadata"]["name"], pool["spec"]
    limits = spec.get("serviceAllocation") or {}
    namespaces = limits.get("namespaces") or []
    asked = _annotation(service, "address-pool")
    if asked and asked != name:
        return "%s is not the pool that it asks for, %s" % (name, asked)
    if not asked and spec.get("autoAssign") is False:
        return "%s gives addresses only to those who ask for them (autoAssign: false)" % name
    if namespaces and service["metadata"]["namespace"] not in namespaces:
        return "%s is for the namespaces %s" % (name, ", ".join(namespaces))
    if limits.get("namespaceSelectors") or limits.get("serviceSelectors"):
        return "%s (%s) is used up, or its selectors leave the Service out" % (name, _ranges(pool))
    return "%s (%s) is used up" % (name, _ranges(pool))


def _ranges(pool: Object) -> str:
    return ", ".join(pool["spec"].get("addresses") or [])


def why_unannounced(entry: Object, cluster: Object, objects: Objects) -> Object | None:
    """Why MetalLB answers for a Service's address nowhere; None when nothing speaks against it."""
    # An address that another load balancer gave, or one that a node announces.
    if not entry["pool"] or (entry["announcers"] and cluster["metallb"]["installed"]):
        return None
    if not cluster["metallb"]["installed"]:
        return fault(
            "MetalLB gave it the address, and is not installed any more",
            "install it with the role metallb, or delete the Service",
        )
    if not entry["endpoints"]:
        return fault(
            "it has no endpoint that is ready, and MetalLB announces only Services that have one",
            "look at its pods, and whether their labels are what the Service selects",
        )
    if not entry["protocols"]:
        return fault("no advertisement covers its pool %s" % entry["pool"], "add one: role metallb_pool")
    return _why_no_speaker(entry, cluster)


def _why_no_speaker(entry: Object, cluster: Object) -> Object | None:
    excluded = {node["name"] for node in cluster["nodes"] if node["excluded"]}
    able = {one["node"] for one in cluster["speakers"] if not one["trouble"]}
    if not able:
        troubles = sorted({"%s on %s" % (one["trouble"], one["node"]) for one in cluster["speakers"]})
        return fault(
            "no speaker of MetalLB runs: %s" % ("; ".join(troubles) or "there is no pod of it"),
            "look at `kubectl describe pod` of them in MetalLB's namespace",
        )
    if not any(one["everywhere"] for one in cluster["speakers"]):
        able -= excluded
    if not able:
        return fault(
            "all nodes with a speaker have the label %s" % EXCLUDED, "take it off a node that is to announce addresses"
        )
    if entry["local"] and not able & set(entry["endpoint_nodes"]):
        return fault(
            "its externalTrafficPolicy is Local, and none of its endpoints is on a node that announces addresses: %s"
            % ", ".join(sorted(able)),
            "run its pods there, or use externalTrafficPolicy: Cluster",
        )
    return None
