# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A cluster for the inspection report: the columns of `kubectl get -o wide`, and the announcers of addresses.

Pure: it turns API objects into one structure.
"""

from __future__ import annotations

from typing import Any, Dict, List, Mapping

from .._k8s_explain.backends import ready_endpoints, slices_of
from .._k8s_explain.events import in_order
from .._k8s_explain.metallb import full_name
from .._k8s_explain.services import announcers, node_view

Object = Dict[str, Any]
Objects = Mapping[str, List[Object]]

KINDS = ("Node", "Pod", "Service", "EndpointSlice", "Event", "IPAddressPool", "ServiceL2Status")
TOLD = ("namespace", "object", "type", "reason", "message")
_ROLE = "node-role.kubernetes.io/"


def inspect_cluster(objects: Objects) -> Object:
    """Nodes, pods, Services with their endpoints, MetalLB's pools and leaders, and events with the newest last.

    objects -- by kind, as the API returns them; a kind that the cluster does not know may be missing
    """
    found = {kind: objects.get(kind) or [] for kind in KINDS}
    services = sorted(found["Service"], key=full_name)
    known = "IPAddressPool" in objects
    return {
        "nodes": [_node(node) for node in sorted(found["Node"], key=full_name)],
        "pods": [_pod(pod) for pod in sorted(found["Pod"], key=full_name)],
        "services": [_service(service, found["EndpointSlice"]) for service in services],
        "metallb": {
            "pools": [
                {"name": pool["metadata"]["name"], "addresses": pool["spec"].get("addresses") or []}
                for pool in sorted(found["IPAddressPool"], key=full_name)
            ],
            "leaders": [
                {"service": full_name(service), "address": address, "node": node}
                for service in services
                for node in announcers(service, found)
                for address in _given(service)
            ],
        },
        "events": [
            {"time": said["last_seen"], **{key: said[key] for key in TOLD}} for said in in_order(found["Event"])
        ],
        "notes": [] if known else ["The cluster does not know MetalLB's kinds: it is not installed."],
    }


def _node(node: Object) -> Object:
    seen = node_view(node)
    labels = node["metadata"].get("labels") or {}
    return {
        **{key: seen[key] for key in ("name", "ready", "addresses")},
        "version": ((node.get("status") or {}).get("nodeInfo") or {}).get("kubeletVersion", ""),
        "roles": sorted(label[len(_ROLE) :] for label in labels if label.startswith(_ROLE)),
    }


def _pod(pod: Object) -> Object:
    status = pod.get("status") or {}
    declared, containers = pod["spec"].get("containers") or [], status.get("containerStatuses") or []
    return {
        "namespace": pod["metadata"]["namespace"],
        "name": pod["metadata"]["name"],
        "phase": status.get("phase", ""),
        "ready": "%d/%d" % (sum(bool(one.get("ready")) for one in containers), len(declared)),
        "restarts": sum(one.get("restartCount") or 0 for one in containers),
        "node": pod["spec"].get("nodeName") or "",
        "ip": status.get("podIP") or "",
    }


def _service(service: Object, slices: list[Object]) -> Object:
    spec = service["spec"]
    addresses = [address for address in spec.get("clusterIPs") or [spec.get("clusterIP")] if address]
    return {
        "namespace": service["metadata"]["namespace"],
        "name": service["metadata"]["name"],
        "type": spec.get("type", "ClusterIP"),
        "cluster_ips": addresses,
        "external_ips": [*_given(service), *(spec.get("externalIPs") or [])],
        "ports": ["%s/%s" % (port["port"], port.get("protocol", "TCP")) for port in spec.get("ports") or []],
        "endpoints": _endpoints(service, slices),
    }


def _given(service: Object) -> list[str]:
    """The addresses or names that a load balancer has assigned."""
    balancer = (service.get("status") or {}).get("loadBalancer") or {}
    return [str(one.get("ip") or one.get("hostname")) for one in balancer.get("ingress") or []]


def _endpoints(service: Object, slices: list[Object]) -> list[str]:
    """The ready endpoints, each with its port."""
    return sorted(
        {
            "[%s]:%s" % (address, port.get("port")) if ":" in address else "%s:%s" % (address, port.get("port"))
            for one in slices_of(service, slices)
            for endpoint in ready_endpoints(one)
            for address in endpoint.get("addresses") or []
            for port in one.get("ports") or []
        }
    )
