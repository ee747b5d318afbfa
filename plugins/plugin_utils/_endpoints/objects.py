# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The Service and the EndpointSlices of a declared entry.

The slices follow the rules of Kubernetes's own controller (k8s.io/endpointslice). A slice has one address family and at
most 100 endpoints. An endpoint is a pod that has an address and has not ended. It is ready if the pod is ready and is
not terminating.
"""

from __future__ import annotations

import ipaddress
from typing import Any, Dict, Mapping, Sequence, Tuple

from ...module_utils._services.model import spoken
from .._common.objects import MANAGED_BY, MANAGER, SERVICE_NAME, is_ready
from .input import Declared

SLICE_MANAGED_BY = "endpointslice.kubernetes.io/managed-by"
# MANAGED_BY alone is not enough, because Services of other roles have it too.
LABELS = {MANAGED_BY: MANAGER, "homelab.loadbalancer/role": "endpoints"}
MAX_ENDPOINTS = 100
FAMILIES = ("ipv4", "ipv6")

Object = Mapping[str, Any]
# An endpoint with its family, ipv4 | ipv6.
Endpoint = Tuple[str, Dict[str, Any]]


def endpoints_of(entry: Declared, pods: Sequence[Object]) -> list[Endpoint]:
    """The endpoints, in the order of the declared addresses or of the pods' names."""
    if not entry.selector:
        return [
            (family, {"addresses": [address], "conditions": {"ready": True}}) for address, family in entry.addresses
        ]
    found = []
    for pod in sorted(pods, key=key_of):
        labels = pod["metadata"].get("labels") or {}
        chosen = all(labels.get(key) == value for key, value in entry.selector.items())
        status = pod.get("status") or {}
        if key_of(pod)[0] == entry.namespace and chosen and status.get("phase") not in ("Succeeded", "Failed"):
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


def slices_of(entry: Declared, endpoints: Sequence[Endpoint]) -> list[dict[str, Any]]:
    """The EndpointSlices of an entry. A family without endpoints has none."""
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


def service_of(entry: Declared) -> dict[str, Any]:
    """The Service of an entry with `manage_service`."""
    ports = [
        {
            **({"name": port.name} if port.name else {}),
            "port": port.port,
            "protocol": port.protocol.upper(),
            "targetPort": port.target,
        }
        for port in entry.ports
    ]
    # Declared addresses determine the families of the Service. With a selector, the cluster's default applies.
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


def key_of(obj: Object) -> tuple[str, str]:
    """Namespace and name of an object."""
    return str(obj["metadata"]["namespace"]), str(obj["metadata"]["name"])
