# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Declarations of address pools, and the objects that a cluster with them has."""

from __future__ import annotations

from typing import Any, Mapping, Sequence

from ansible_collections.homelab.loadbalancer.plugins.plugin_utils._metallb_pool.input import LABELS

NAMESPACE = "metallb-system"
PREFIX = "metallb_pool_"  # as the role passes it
PEER = {"name": "r", "my_asn": 64512, "peer_asn": 64513, "address": "172.16.0.254"}


def pool(name: str = "a", *addresses: str, **more: Any) -> dict[str, Any]:
    return {"name": name, "addresses": list(addresses or ("172.16.0.100-172.16.0.149",)), **more}


def declared(*pools: dict[str, Any], **more: Any) -> dict[str, Any]:
    lists: dict[str, Any] = {"l2_advertisements": [], "bgp_advertisements": [], "bgp_peers": [], "communities": []}
    return {**lists, "pools": list(pools), **more}


def live(name: str, *addresses: str, ours: bool = True, kind: str = "IPAddressPool") -> dict[str, Any]:
    labels = LABELS if ours else {}
    metadata = {"name": name, "namespace": NAMESPACE, "labels": labels}
    return {"apiVersion": "metallb.io/v1beta1", "kind": kind, "metadata": metadata, "spec": {"addresses": addresses}}


def node(name: str, address: str) -> dict[str, Any]:
    addresses = [{"type": "InternalIP", "address": address}, {"type": "Hostname", "address": name}]
    return {"metadata": {"name": name}, "status": {"addresses": addresses}}


def service(name: str, *addresses: str) -> dict[str, Any]:
    ingress = [{"ip": address} for address in addresses]
    return {"metadata": {"name": name, "namespace": "default"}, "status": {"loadBalancer": {"ingress": ingress}}}


def names(entries: Sequence[Mapping[str, Any]]) -> list[str]:
    return ["%s %s" % (entry["kind"], entry["metadata"]["name"]) for entry in entries]
