# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The plan for declared endpoints: the objects to apply and remove, and the refusals."""

from __future__ import annotations

from typing import Any, Iterator, Mapping, Sequence

from .._common.objects import SERVICE_NAME, by_kind, has_labels, reference
from .._k8s.model import Answer, Apply, Plan, Query, Remove, Step
from .input import Declared, Port, parse_endpoints
from .objects import LABELS, SLICE_MANAGED_BY, endpoints_of, key_of, service_of, slices_of

# The objects of the cluster, by kind.
Cluster = Mapping[str, Sequence[Mapping[str, Any]]]
# A cluster has many pods, and the plan needs only a few of their fields.
PODS = {
    "kind": "Pod",
    "hidden_fields": ["metadata.managedFields", "spec.containers", "spec.volumes", "status.containerStatuses"],
}


def queries(options: Mapping[str, Any]) -> list[Query]:
    """The queries for all Services and EndpointSlices, and for all Pods if an entry has a selector.

    Raises InputError for an invalid declaration.
    """
    read: list[Query] = [{"kind": "Service"}, {"kind": "EndpointSlice", "api_version": "discovery.k8s.io/v1"}]
    return read + ([PODS] if any(entry.selector for entry in _declared(options)) else [])


def plan(options: Mapping[str, Any], found: Sequence[Answer]) -> Plan:
    """Compare a declaration with the cluster."""
    entries, cluster = _declared(options), by_kind(found)
    services = {key_of(service): service for service in cluster.get("Service", ())}
    wanted: list[dict[str, Any]] = []
    refusals: list[str] = []
    unmet: list[str] = []
    notes: list[str] = []
    for entry in entries:
        service = services.get(entry.key)
        if service is None and not entry.manage_service:
            unmet.append(
                "%s: there is no Service %s/%s: create it without a selector, or set manage_service: true"
                % (entry.where, *entry.key)
            )
        refusals += _faults(entry, service or {}, cluster)
        endpoints = endpoints_of(entry, cluster.get("Pod", ()))
        if entry.manage_service:
            wanted.append(service_of(entry))
        wanted += slices_of(entry, endpoints)
        if not any(endpoint["conditions"]["ready"] for dummy, endpoint in endpoints):
            notes.append("Service %s/%s has no ready endpoint: it refuses connections" % entry.key)
    steps: list[Step] = [Apply(wanted), Remove(_undeclared(entries, wanted, cluster))]
    return Plan(refusals=refusals, unmet=unmet, notes=notes, steps=steps)


def _declared(options: Mapping[str, Any]) -> list[Declared]:
    if options["state"] == "absent":
        return []
    return parse_endpoints(options["services"], options["prefix"] + "services")


def _faults(entry: Declared, service: Mapping[str, Any], cluster: Cluster) -> Iterator[str]:
    """Why the cluster's objects do not allow an entry. `service` is empty if it does not exist."""
    called = "%s: Service %s/%s" % (entry.where, *entry.key)
    spec = service.get("spec") or {}
    if spec.get("selector"):
        yield "%s has a selector, so Kubernetes manages its endpoints: remove the selector, or this entry" % called
    if spec.get("type") == "ExternalName":
        yield "%s is of the type ExternalName, which has no endpoints: make it one of the type ClusterIP" % called
    if entry.manage_service and service and not has_labels(service, LABELS):
        yield "%s exists, and this role did not make it: leave manage_service out, or remove the Service" % called
    if service and not entry.manage_service:
        yield from _unknown_ports(entry, [_port(port) for port in spec.get("ports") or []])
    for other in cluster.get("EndpointSlice", ()):
        if _service_of(other) == entry.key and not has_labels(other, LABELS):
            yield "%s already has endpoints in EndpointSlice %s, which this role did not make: remove %s" % (
                called,
                other["metadata"]["name"],
                "the Endpoints of that name" if _is_mirrored(other) else "it",
            )
    yield from _virtual(entry, cluster)


def _unknown_ports(entry: Declared, known: Sequence[Port]) -> Iterator[str]:
    """Ports that the Service does not have. No connection would reach them."""
    for index, port in enumerate(entry.ports):
        if port[:2] + port[3:] not in [other[:2] + other[3:] for other in known]:
            yield "%s.ports[%d] %s is no port of Service %s/%s, which has %s: write it as there" % (
                entry.where, index, port, *entry.key, ", ".join(map(str, known)) or "none",
            )  # fmt: skip


def _virtual(entry: Declared, cluster: Cluster) -> Iterator[str]:
    """Addresses that are cluster IPs. kube-proxy translates a packet only once, so they cannot be endpoints."""
    owners = {
        address: "%s/%s" % key_of(service)
        for service in cluster.get("Service", ())
        for address in (service.get("spec") or {}).get("clusterIPs") or []
    }
    for index, (address, dummy) in enumerate(entry.addresses):
        if address in owners:
            yield "%s.addresses[%d] %s is the cluster IP of Service %s: name what stands behind it" % (
                entry.where, index, address, owners[address],
            )  # fmt: skip


def _undeclared(
    entries: Sequence[Declared], wanted: Sequence[dict[str, Any]], cluster: Cluster
) -> list[dict[str, Any]]:
    """References to our undeclared objects.

    Services come first, because objects are removed in reverse order. A Service of a declared entry stays, even if the
    entry no longer has `manage_service`.
    """
    keep = {(obj["kind"], *key_of(obj)) for obj in wanted} | {("Service", *entry.key) for entry in entries}
    return [
        reference("v1" if kind == "Service" else "discovery.k8s.io/v1", kind, obj)
        for kind in ("Service", "EndpointSlice")
        for obj in cluster.get(kind, ())
        if has_labels(obj, LABELS) and (kind, *key_of(obj)) not in keep
    ]


def _port(port: Mapping[str, Any]) -> Port:
    """A port of a Service in the cluster. Its target is 0, because the declaration sets the target."""
    return Port(str(port.get("name") or ""), port["port"], 0, str(port.get("protocol") or "TCP").lower())


def _service_of(endpoint_slice: Mapping[str, Any]) -> tuple[str, str]:
    labels = endpoint_slice["metadata"].get("labels") or {}
    return key_of(endpoint_slice)[0], str(labels.get(SERVICE_NAME))


def _is_mirrored(endpoint_slice: Mapping[str, Any]) -> bool:
    """Whether Kubernetes mirrors the slice from an Endpoints object, and would make it again."""
    labels = endpoint_slice["metadata"].get("labels") or {}
    return bool(labels.get(SLICE_MANAGED_BY) == "endpointslicemirroring-controller.k8s.io")
