# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Objects of a cluster with MetalLB, as its API server shows them."""

from __future__ import annotations

from typing import Any, Sequence

from ansible_collections.homelab.loadbalancer.plugins.plugin_utils._external_access.plan import view

NODES = {"control1": "172.16.0.11", "worker1": "172.16.0.12", "worker2": "172.16.0.13"}
MACS = {"control1": "02:00:00:00:00:0b", "worker1": "02:00:00:00:00:0c", "worker2": "02:00:00:00:00:0d"}
STRANGER = "02:00:00:00:00:63"
VIP = "172.16.0.100"
EXCLUDED = "node.kubernetes.io/exclude-from-external-load-balancers"
READY = [{"type": "Ready", "status": "True"}]


def thing(name: str, namespace: str = "metallb-system", **rest: Any) -> dict[str, Any]:
    metadata = {"name": name, "namespace": namespace, "uid": name, **rest.pop("metadata", {})}
    return {"metadata": metadata, **rest}


def pod(component: str, node: str, *args: str, **status: Any) -> dict[str, Any]:
    return thing(
        "%s-%s" % (component, node),
        metadata={"labels": {"app": "metallb", "component": component}},
        spec={"nodeName": node, "containers": [{"args": list(args)}]},
        status={"phase": "Running", "podIP": NODES[node], "conditions": READY, **status},
    )


def service(name: str = "web", *addresses: str, **spec: Any) -> dict[str, Any]:
    """A Service of the type LoadBalancer; with addresses, those that MetalLB gave it from the pool `public`."""
    annotations = {"metallb.io/ip-allocated-from-pool": "public"} if addresses else {}
    annotations.update(spec.pop("annotations", {}))
    return thing(
        name,
        "default",
        metadata={"annotations": annotations},
        spec={"type": "LoadBalancer", "ports": [{"port": 80}], **spec},
        status={"loadBalancer": {"ingress": [{"ip": address} for address in addresses]}},
    )


def pool(name: str = "public", **spec: Any) -> dict[str, Any]:
    return thing(name, spec={"addresses": ["172.16.0.100-172.16.0.101"], **spec})


def event(message: str, kind: str = "Warning", at: str = "2026-01-01T00:00:00Z", **rest: Any) -> dict[str, Any]:
    return {
        "involvedObject": {"uid": "web"},
        "source": {"component": "metallb-controller"},
        "message": message,
        "type": kind,
        "lastTimestamp": at,
        **rest,
    }


def refusal(message: str, **rest: Any) -> dict[str, Any]:
    return event('Failed to allocate IP for "default/web": %s' % message, **rest)


def endpoints(node: str = "worker1", ready: Any = True, port: int = 8080, name: str = "") -> dict[str, Any]:
    """The EndpointSlice of the Service default/web, with this port of its pod."""
    labels = {"kubernetes.io/service-name": "web"}
    found = [{"nodeName": node, "conditions": {"ready": ready}}]
    ports = [{"name": name, "port": port, "protocol": "TCP"}]
    return thing("web-1", "default", metadata={"labels": labels}, endpoints=found, ports=ports)


def workload(kind: str, replicas: int | None = None, labels: dict[str, str] | None = None) -> dict[str, Any]:
    """The workload of the pods of the Service default/web, which selects `app: web`."""
    template = {"metadata": {"labels": labels or {"app": "web", "pod-template-hash": "1"}}}
    number = {} if replicas is None else {"replicas": replicas}
    return thing("web", "default", kind=kind, spec={"template": template, **number})


def lost_node(name: str) -> dict[str, Any]:
    """A node whose kubelet does not report."""
    condition = {
        "type": "Ready",
        "status": "Unknown",
        "reason": "NodeStatusUnknown",
        "message": "Kubelet stopped posting node status.",
    }
    address = {"type": "InternalIP", "address": NODES[name]}
    return thing(name, "", status={"addresses": [address], "conditions": [condition]})


def route(*hostnames: str, service: str = "web", port: int = 80, **match: Any) -> dict[str, Any]:
    """An HTTPRoute of the namespace default to a Service."""
    rule: dict[str, Any] = {"backendRefs": [{"name": service, "port": port}]}
    if match:
        rule["matches"] = [{"path": match}]
    return thing("web", "default", spec={"hostnames": list(hostnames), "rules": [rule]})


def cluster(**kinds: Any) -> dict[str, list[dict[str, Any]]]:
    """A cluster with MetalLB, where worker1 announces the Service default/web."""
    nodes = [
        thing(name, "", status={"addresses": [{"type": "InternalIP", "address": address}], "conditions": READY})
        for name, address in NODES.items()
    ]
    status = {"node": "worker1", "serviceNamespace": "default", "serviceName": "web"}
    return {
        "Service": [service("web", VIP), thing("kubernetes", "default", spec={"type": "ClusterIP"})],
        "Node": nodes,
        "Pod": [pod("controller", "worker1"), *(pod("speaker", node) for node in NODES)],
        "EndpointSlice": [endpoints()],
        "Event": [],
        "IPAddressPool": [pool()],
        "L2Advertisement": [thing("public", spec={"ipAddressPools": ["public"]})],
        "BGPAdvertisement": [],
        "ServiceL2Status": [thing("l2-1", status=status)],
        **kinds,
    }


def only(view: dict[str, Any]) -> dict[str, Any]:
    (found,) = view["services"]
    entry: dict[str, Any] = found
    return entry


def nodes_excluded() -> list[dict[str, Any]]:
    return [{**node, "metadata": {**node["metadata"], "labels": {EXCLUDED: ""}}} for node in cluster()["Node"]]


NO_METALLB: dict[str, Any] = {
    **dict.fromkeys(("Pod", "IPAddressPool", "L2Advertisement", "ServiceL2Status"), ()),
}


def usual(**options: Any) -> dict[str, Any]:
    """The options of the module external_access, by default as the role gives them."""
    given = {"http_ports": [80, 8080], "http_path": "/", "http_host": "", "urls": (), "zone": "", "ca": ""}
    return {**given, "memberlist_port": 7946, "prefix": "external_access_", **options}


def external_access_view(objects: dict[str, Any], services: Sequence[str] = (), **options: Any) -> dict[str, Any]:
    """The result of the module external_access for objects, which are given by kind. `refused` has its refusals."""
    found, refused = view(usual(services=services, **options), objects)
    return {**found, "refused": refused}
