# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which Services lose their address when MetalLB goes. Pure."""

from __future__ import annotations

from typing import Any, Mapping, Sequence

from ansible_collections.homelab.loadbalancer.plugins.module_utils._k8s_objects import by_kind, has_labels, name_of
from ansible_collections.homelab.loadbalancer.plugins.plugin_utils._k8s.rollout import addresses_of

# With which MetalLB marks a Service that has an address of a pool; the part before it is another one before 0.15.
_MARK = "/ip-allocated-from-pool"


def losses(looked_up: Sequence[Mapping[str, Any]], leaving: Sequence[Mapping[str, str]] = ()) -> list[str]:
    """The Services that have an address of MetalLB, as `Service prod/web (172.16.0.120)`.

    looked_up -- all Services, and the Gateways of which some may be
    leaving -- labels of what goes as well: Services with all labels of an entry, or of a Gateway that has them, are
        left out
    """
    cluster = by_kind(looked_up)

    def leaves(obj: Mapping[str, Any]) -> bool:
        return any(has_labels(obj, labels) for labels in leaving)

    gone = {_key(gateway) for gateway in cluster.get("Gateway", ()) if leaves(gateway)}
    found = []
    for service in cluster.get("Service", ()):
        metadata, addresses = service["metadata"], addresses_of(service)
        marked = any(key.endswith(_MARK) for key in metadata.get("annotations") or {})
        owners = [
            (metadata["namespace"], one["name"])
            for one in metadata.get("ownerReferences") or []
            if one["kind"] == "Gateway"
        ]
        if addresses and marked and not leaves(service) and not gone.intersection(owners):
            found.append("%s (%s)" % (name_of({**service, "kind": "Service"}), ", ".join(addresses)))
    return found


def _key(obj: Mapping[str, Any]) -> tuple[str, str]:
    return obj["metadata"]["namespace"], obj["metadata"]["name"]
