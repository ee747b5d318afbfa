# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The Services that lose their address when MetalLB is removed, and those that keep one. Pure."""

from __future__ import annotations

from typing import Any, Mapping, Sequence

from .._common.objects import has_labels, name_of
from .._k8s_explain.rollout import addresses_of

Object = Mapping[str, Any]
# MetalLB's annotation on a Service with an address of a pool; its prefix differs before 0.15.
_MARK = "/ip-allocated-from-pool"


def losses(
    services: Sequence[Object], gateways: Sequence[Object] = (), leaving: Sequence[Mapping[str, str]] = ()
) -> list[str]:
    """The Services that have an address from MetalLB, as `Service prod/web (172.16.0.120)`.

    gateways -- Gateways that may own some of the Services
    leaving -- labels of objects that are removed as well: Services with all labels of an entry, or owned by a Gateway
        with them, are left out
    """

    def leaves(obj: Object) -> bool:
        return any(has_labels(obj, labels) for labels in leaving)

    gone = {_key(gateway) for gateway in gateways if leaves(gateway)}
    found = []
    for service in services:
        metadata, addresses = service["metadata"], addresses_of(service)
        owners = [
            (metadata["namespace"], one["name"])
            for one in metadata.get("ownerReferences") or []
            if one["kind"] == "Gateway"
        ]
        if addresses and _is_marked(service) and not leaves(service) and not gone.intersection(owners):
            found.append("%s (%s)" % (name_of({**service, "kind": "Service"}), ", ".join(addresses)))
    return found


def keeping(services: Sequence[Object], released: bool) -> list[str]:
    """The Services of type LoadBalancer that still show an address after the removal, as `prod/web`.

    released -- whether MetalLB releases the Services' addresses, which its running controller does
    """
    return [
        "/".join(_key(service))
        for service in services
        if (service.get("spec") or {}).get("type") == "LoadBalancer"
        and addresses_of(service)
        and not (released and _is_marked(service))
    ]


def _is_marked(service: Object) -> bool:
    return any(key.endswith(_MARK) for key in service["metadata"].get("annotations") or {})


def _key(obj: Object) -> tuple[str, str]:
    return obj["metadata"]["namespace"], obj["metadata"]["name"]
