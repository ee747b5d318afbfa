# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the endpoints that the role `endpoints` declares mean in a cluster: the objects, and why they may not be.

Everything here is pure: it judges objects that were looked up before. The slices follow the rules of Kubernetes' own
controller (k8s.io/endpointslice): a slice is of one family, holds at most 100 endpoints, and an endpoint is a pod with
an address that has not ended; it is ready when the pod is and does not terminate.
"""

from __future__ import annotations

import ipaddress
from typing import Any, Iterator, Mapping, NamedTuple, Sequence

from ansible_collections.homelab.loadbalancer.plugins.module_utils._endpoints import Declared, Port, parse_endpoints
from ansible_collections.homelab.loadbalancer.plugins.module_utils._k8s_objects import (
    MANAGED_BY,
    MANAGER,
    SERVICE_NAME,
    has_labels,
    is_ready,
    reference,
)
from ansible_collections.homelab.loadbalancer.plugins.module_utils._services import spoken

SLICE_MANAGED_BY = "endpointslice.kubernetes.io/managed-by"
# Other roles make Services that are managed by us, too.
LABELS = {MANAGED_BY: MANAGER, "homelab.loadbalancer/role": "endpoints"}
MAX_ENDPOINTS = 100
FAMILIES = ("ipv4", "ipv6")

# By kind the objects of the cluster.
Cluster = Mapping[str, Sequence[Mapping[str, Any]]]


class Plan(NamedTuple):
    """What is to be done, in this order."""

    apply: list[dict[str, Any]]
    remove: list[dict[str, Any]]  # what is ours and is declared no more
    faults: list[str]  # why nothing of this may be done
    missing: list[str]  # as `faults`, but for what may come before: a check run is not the time to complain
    refusing: list[str]  # Services that refuse connections, because no endpoint is ready


def plan(raw: Any, cluster: Cluster) -> Plan:
    """Compare a declaration with the cluster.

    raw -- the role's `endpoints_services`
    cluster -- all Services and EndpointSlices, and the Pods where an entry has a selector, by their kinds
    Raises InputError for what is wrong in the declaration by itself.
    """
    entries = parse_endpoints(raw)
    services = {_key(service): service for service in cluster.get("Service", ())}
    apply: list[dict[str, Any]] = []
    faults: list[str] = []
    missing: list[str] = []
    refusing: list[str] = []
    for entry in entries:
        service = services.get(entry.key)
        if service is None and not entry.manage_service:
            missing.append(
                "%s: there is no Service %s/%s: create it without a selector, or set manage_service: true"
                % (entry.where, *entry.key)
            )
        faults += _faults(entry, service or {}, cluster)
        endpoints = _endpoints(entry, cluster)
        if entry.manage_service:
            apply.append(_service(entry))
        apply += _slices(entry, endpoints)
        if not any(endpoint["conditions"]["ready"] for dummy, endpoint in endpoints):
            refusing.append("Service %s/%s has no ready endpoint: it refuses connections" % entry.key)
    return Plan(apply, _stale(entries, apply, cluster), faults, missing, refusing)


def _faults(entry: Declared, service: Mapping[str, Any], cluster: Cluster) -> Iterator[str]:
    """What in the cluster stands against an entry. `service` is empty where there is none."""
    called = "%s: Service %s/%s" % (entry.where, *entry.key)
    spec = service.get("spec") or {}
    if spec.get("selector"):
        yield "%s has a selector, by which Kubernetes keeps its endpoints: take one of the two away" % called
    if spec.get("type") == "ExternalName":
        yield "%s is of the type ExternalName, which has no endpoints: make it one of the type ClusterIP" % called
    if entry.manage_service and service and not has_labels(service, LABELS):
        yield "%s was made by somebody else: leave manage_service out, or remove it" % called
    if service and not entry.manage_service:
        yield from _unknown_ports(entry, [_port(port) for port in spec.get("ports") or []])
    for other in cluster.get("EndpointSlice", ()):
        if _service_of(other) == entry.key and not has_labels(other, LABELS):
            yield "%s has endpoints of somebody else in EndpointSlice %s, beside which ours would be: remove %s" % (
                called,
                other["metadata"]["name"],
                "the Endpoints of that name" if _is_mirrored(other) else "it",
            )
    yield from _virtual(entry, cluster)


def _unknown_ports(entry: Declared, known: Sequence[Port]) -> Iterator[str]:
    """Ports that the Service does not have: nobody would send anything there."""
    for index, port in enumerate(entry.ports):
        if port[:2] + port[3:] not in [other[:2] + other[3:] for other in known]:
            yield "%s.ports[%d] %s is no port of Service %s/%s, which has %s: write it as there" % (
                entry.where, index, port, *entry.key, ", ".join(map(str, known)) or "none",
            )  # fmt: skip


def _virtual(entry: Declared, cluster: Cluster) -> Iterator[str]:
    """Addresses that are themselves translated, which kube-proxy does but once."""
    owners = {
        address: "%s/%s" % _key(service)
        for service in cluster.get("Service", ())
        for address in (service.get("spec") or {}).get("clusterIPs") or []
    }
    for index, (address, dummy) in enumerate(entry.addresses):
        if address in owners:
            yield "%s.addresses[%d] %s is the cluster IP of Service %s: name what stands behind it" % (
                entry.where, index, address, owners[address],
            )  # fmt: skip


def _endpoints(entry: Declared, cluster: Cluster) -> list[tuple[str, dict[str, Any]]]:
    """The endpoints with their families, in the order of the declaration, or of the pods' names."""
    if not entry.selector:
        return [
            (family, {"addresses": [address], "conditions": {"ready": True}}) for address, family in entry.addresses
        ]
    found = []
    for pod in sorted(cluster.get("Pod", ()), key=_key):
        labels = pod["metadata"].get("labels") or {}
        chosen = all(labels.get(key) == value for key, value in entry.selector.items())
        status = pod.get("status") or {}
        if _key(pod)[0] == entry.namespace and chosen and status.get("phase") not in ("Succeeded", "Failed"):
            addresses = [address["ip"] for address in status.get("podIPs") or []]
            found += [("ipv%d" % ipaddress.ip_address(ip).version, _endpoint(pod, ip)) for ip in addresses]
    return found


def _endpoint(pod: Mapping[str, Any], address: str) -> dict[str, Any]:
    metadata, serving = pod["metadata"], is_ready(pod)
    terminating = bool(metadata.get("deletionTimestamp"))
    reference = {key: metadata[key] for key in ("name", "namespace", "uid")}
    return {
        "addresses": [address],
        "conditions": {"ready": serving and not terminating, "serving": serving, "terminating": terminating},
        "nodeName": pod["spec"]["nodeName"],
        "targetRef": {"kind": "Pod", **reference},
    }


def _slices(entry: Declared, endpoints: Sequence[tuple[str, dict[str, Any]]]) -> list[dict[str, Any]]:
    ports = [{"name": port.name, "port": port.target, "protocol": port.protocol.upper()} for port in entry.ports]
    slices = []
    for family in FAMILIES:
        found = [endpoint for its, endpoint in endpoints if its == family]
        for start in range(0, len(found), MAX_ENDPOINTS):
            name = "%s-%s-%d" % (entry.name, family, start // MAX_ENDPOINTS + 1)
            made = _object(
                entry,
                "discovery.k8s.io/v1",
                "EndpointSlice",
                name,
                {SERVICE_NAME: entry.name, SLICE_MANAGED_BY: MANAGER},
            )
            content = {"addressType": spoken(family), "ports": ports, "endpoints": found[start : start + MAX_ENDPOINTS]}
            slices.append({**made, **content})
    return slices


def _service(entry: Declared) -> dict[str, Any]:
    ports = [
        {
            **({"name": port.name} if port.name else {}),
            "port": port.port,
            "protocol": port.protocol.upper(),
            "targetPort": port.target,
        }
        for port in entry.ports
    ]
    # Declared addresses say which families the Service needs. What families pods have, the cluster decides.
    families = [family for family in FAMILIES if family in [its for dummy, its in entry.addresses]]
    needs: dict[str, Any] = {}
    if families == ["ipv6"]:
        needs = {"ipFamilies": ["IPv6"]}
    elif len(families) > 1:
        needs = {"ipFamilyPolicy": "RequireDualStack"}
    return {**_object(entry, "v1", "Service", entry.name, {}), "spec": {"ports": ports, **needs}}


def _object(entry: Declared, version: str, kind: str, name: str, labels: Mapping[str, str]) -> dict[str, Any]:
    metadata = {"name": name, "namespace": entry.namespace, "labels": {**LABELS, **labels}}
    return {"apiVersion": version, "kind": kind, "metadata": metadata}


def _stale(entries: Sequence[Declared], wanted: Sequence[dict[str, Any]], cluster: Cluster) -> list[dict[str, Any]]:
    """What the role made and does not want any more, down to what it takes to remove it. Services come first, for
    objects are removed in the opposite order; one that is still declared stays, whoever manages it from now on."""
    keep = {(obj["kind"], *_key(obj)) for obj in wanted} | {("Service", *entry.key) for entry in entries}
    return [
        reference("v1" if kind == "Service" else "discovery.k8s.io/v1", kind, obj)
        for kind in ("Service", "EndpointSlice")
        for obj in cluster.get(kind, ())
        if has_labels(obj, LABELS) and (kind, *_key(obj)) not in keep
    ]


def _port(port: Mapping[str, Any]) -> Port:
    """A port of a Service in the cluster. What stands behind it is for us to say."""
    return Port(str(port.get("name") or ""), port["port"], 0, str(port.get("protocol") or "TCP").lower())


def _key(obj: Mapping[str, Any]) -> tuple[str, str]:
    return str(obj["metadata"]["namespace"]), str(obj["metadata"]["name"])


def _service_of(endpoint_slice: Mapping[str, Any]) -> tuple[str, str]:
    labels = endpoint_slice["metadata"].get("labels") or {}
    return _key(endpoint_slice)[0], str(labels.get(SERVICE_NAME))


def _is_mirrored(endpoint_slice: Mapping[str, Any]) -> bool:
    """Whether Kubernetes made the slice of an Endpoints object that somebody wrote, and would make it again."""
    labels = endpoint_slice["metadata"].get("labels") or {}
    return bool(labels.get(SLICE_MANAGED_BY) == "endpointslicemirroring-controller.k8s.io")
