# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The effects of declared pools on a cluster: on its nodes, its other pools and its Services.

Everything here is pure: it works on objects that have been read before.

MetalLB gives each address to one pool, and refuses a pool that overlaps another one. So a pool can take addresses over
only after the other pool has released them, and until then a Service with such an address has no pool.
"""

from __future__ import annotations

import ipaddress
from typing import Any, Iterator, Mapping, NamedTuple, Sequence

from ...module_utils._common.errors import InputError
from ...module_utils._common.values import parse_boolean
from .._common.objects import has_labels, name_of, reference
from .input import LABELS, SECRET_PREFIX, Pool, objects, parse_pools
from .networks import guessed_notes, node_networks, outside_notes, unusable_faults
from .ranges import Range, parse_range

_WHY_STAY = (
    "it would get another one, and records of the old one, such as DNS, would be wrong. Keep the address in that pool "
    "of {0}pools, or set {0}allow_moves: true"
)
_WHY_NEEDED = "it would lose it. Remove that Service first, or set {0}allow_moves: true"

# The objects of the cluster, by kind.
Cluster = Mapping[str, Sequence[Mapping[str, Any]]]


class Effects(NamedTuple):
    """The effects of a declaration on the cluster, in this order."""

    remove_first: list[dict[str, Any]]  # our pools with addresses that a declared pool takes over
    apply: list[dict[str, Any]]
    apply_late: list[dict[str, Any]]  # pools that take addresses over
    remove: list[dict[str, Any]]  # our objects that are no longer declared
    faults: list[str]  # the reasons to refuse the declaration
    moves: list[str]  # Services that lose their address
    notes: list[str]  # likely mistakes that are still allowed


def effects(
    declared: Mapping[str, Any],
    cluster: Cluster,
    namespace: str,
    gateways: Sequence[str] = (),
    allow_moves: bool = False,
    *,
    facts: Sequence[Mapping[str, Any]] = (),
    prefix: str = "",
) -> Effects:
    """Compare a declaration with the cluster.

    declared -- the argument of `input.objects`
    cluster -- the objects of MetalLB and the Secrets in its namespace, all Nodes and all Services, by kind
    namespace -- MetalLB's namespace
    gateways -- addresses that no pool may contain
    allow_moves -- whether Services may lose their address
    facts -- the facts of nodes, which tell the nodes' networks
    prefix -- of the variables' names in messages
    Raises InputError for an error in the declaration itself.
    """
    wanted = objects(declared, namespace, prefix)
    pools = parse_pools(declared["pools"], prefix)
    names = {(obj["kind"], obj["metadata"]["name"]) for obj in wanted}
    stale = [obj for obj in _ours(cluster) if (obj["kind"], obj["metadata"]["name"]) not in names]
    live = {entry["metadata"]["name"]: _ranges(entry) for entry in cluster.get("IPAddressPool", ())}
    blocking = _blocking(pools, live)
    # Pools that are neither declared nor ours stay unchanged.
    staying = set(live) - {pool.name for pool in pools} - {_name(obj) for obj in stale}
    faults = [*_overlaps(pools, live, staying, prefix), *_taken(pools, cluster, gateways, prefix)]
    faults += _unknown(declared, cluster, staying, prefix)
    unusable, notes = _in_networks(pools, declared, cluster, facts)
    faults += unusable
    moves = list(_moves(pools, live, staying, cluster))
    if not allow_moves:
        why = (_WHY_STAY if pools else _WHY_NEEDED).format(prefix)
        faults += ["%s: %s" % (move, why) for move in moves]
    late = [obj for obj in wanted if obj["kind"] == "IPAddressPool" and blocking[_name(obj)]]
    in_the_way = set().union(*blocking.values())
    first = [obj for obj in stale if obj["kind"] == "IPAddressPool" and _name(obj) in in_the_way]
    apply = [obj for obj in wanted if obj not in late]
    return Effects(first, apply, late, [obj for obj in stale if obj not in first], faults, moves, notes)


def _blocking(pools: Sequence[Pool], live: Mapping[str, Sequence[Range]]) -> dict[str, set[str]]:
    """For each declared pool the other pools in the cluster that contain some of its addresses."""
    return {
        pool.name: {
            name
            for name, ranges in live.items()
            if name != pool.name and any(mine.overlaps(taken) for dummy, mine in pool.ranges for taken in ranges)
        }
        for pool in pools
    }


def _overlaps(
    pools: Sequence[Pool], live: Mapping[str, Sequence[Range]], staying: set[str], prefix: str
) -> Iterator[str]:
    """Ranges that overlap a pool that is not ours."""
    for pool in pools:
        for place, mine in pool.ranges:
            for name in sorted(staying):
                if any(mine.overlaps(taken) for taken in live[name]):
                    yield (
                        "%s overlaps the pool %s in the cluster, which is not ours: remove that one, declare it in "
                        "%spools as well, or choose other addresses" % (place, name, prefix)
                    )


def _taken(pools: Sequence[Pool], cluster: Cluster, gateways: Sequence[str], prefix: str) -> Iterator[str]:
    """Ranges that contain a host's own address: the host would become unreachable."""
    hosts = [(address, "node " + name) for address, name in _node_addresses(cluster)]
    for index, gateway in enumerate(gateways):
        try:
            hosts.append((str(ipaddress.ip_address(gateway)), "a gateway"))
        except ValueError:
            raise InputError("%sgateways[%d] %s is not an IP address" % (prefix, index, gateway)) from None
    for pool in pools:
        for place, mine in pool.ranges:
            for address, owner in hosts:
                if mine.holds(address):
                    yield "%s holds %s, the address of %s, which would become unreachable: leave it out" % (
                        place, address, owner,
                    )  # fmt: skip


def _node_addresses(cluster: Cluster, *types: str) -> list[tuple[str, str]]:
    """The addresses of nodes, each with the node's name."""
    return [
        (str(address["address"]), _name(node))
        for node in cluster.get("Node", ())
        for address in (node.get("status") or {}).get("addresses") or []
        if address.get("type") in (types or ("InternalIP", "ExternalIP"))
    ]


def _in_networks(
    pools: Sequence[Pool], declared: Mapping[str, Any], cluster: Cluster, facts: Sequence[Mapping[str, Any]]
) -> tuple[list[str], list[str]]:
    """Faults and notes about ranges, according to the nodes' networks."""
    networks = node_networks(facts)
    nodes = [address for address, dummy in _node_addresses(cluster, "InternalIP")]
    avoiding = [parse_boolean(entry.get("avoid_buggy_ips"), "avoid_buggy_ips") for entry in declared["pools"]]
    by_layer_2 = [
        pool
        for pool in pools
        if _covered(pool, "L2Advertisement", declared["l2_advertisements"], cluster)
        and not _covered(pool, "BGPAdvertisement", declared["bgp_advertisements"], cluster)
    ]
    notes = [] if networks else list(guessed_notes(pools, avoiding, nodes))
    notes += outside_notes(by_layer_2, networks, nodes)
    return list(unusable_faults(pools, avoiding, networks)), notes


def _covered(pool: Pool, kind: str, declared: Sequence[Mapping[str, Any]], cluster: Cluster) -> bool:
    """Whether an advertisement, declared or not ours, covers a pool. A selector counts: it may select any pool."""
    others = [entry.get("spec") or {} for entry in cluster.get(kind, ()) if not has_labels(entry, LABELS)]
    named = [entry.get("pools") for entry in declared]
    named += [None if spec.get("ipAddressPoolSelectors") else spec.get("ipAddressPools") for spec in others]
    return any(pool.name in (names or [pool.name]) for names in named)


def _unknown(declared: Mapping[str, Any], cluster: Cluster, staying: set[str], prefix: str) -> Iterator[str]:
    """Pools and peers that an advertisement names but that do not exist."""
    pools = staying | {pool["name"] for pool in declared["pools"]}
    peers = {_name(peer) for peer in cluster.get("BGPPeer", ()) if not has_labels(peer, LABELS)}
    peers |= {peer["name"] for peer in declared["bgp_peers"]}
    for key, field, known, variable in (
        ("l2_advertisements", "pools", pools, "pools"),
        ("bgp_advertisements", "pools", pools, "pools"),
        ("bgp_advertisements", "peers", peers, "bgp_peers"),
    ):
        for index, entry in enumerate(declared[key]):
            for position, name in enumerate(entry.get(field) or []):
                if name not in known:
                    yield "%s%s[%d].%s[%d] %s is not there: declare it in %s%s, which has %s" % (
                        prefix, key, index, field, position, name, prefix, variable,
                        ", ".join(entry["name"] for entry in declared[variable]) or "none",
                    )  # fmt: skip


def _moves(
    pools: Sequence[Pool], live: Mapping[str, Sequence[Range]], staying: set[str], cluster: Cluster
) -> Iterator[str]:
    """Services with an address that leaves its pool, even if to another pool: in between it is in none."""
    after = {pool.name: [mine for dummy, mine in pool.ranges] for pool in pools}
    after.update({name: list(live[name]) for name in staying})
    for service in cluster.get("Service", ()):
        owner = name_of({**service, "kind": "Service"})
        for entry in ((service.get("status") or {}).get("loadBalancer") or {}).get("ingress") or []:
            address = entry.get("ip")
            for name, ranges in live.items():
                if address and _holds(ranges, address) and not _holds(after.get(name, []), address):
                    yield "%s has %s, which leaves the pool %s" % (owner, address, name)


def _holds(ranges: Sequence[Range], address: str) -> bool:
    return any(entry.holds(address) for entry in ranges)


def _ours(cluster: Cluster) -> list[dict[str, Any]]:
    """References to the role's objects, as needed to remove them."""
    kinds = ("BGPAdvertisement", "L2Advertisement", "BGPPeer", "IPAddressPool", "Community", "Secret")
    return [
        reference(entry["apiVersion"], kind, entry)
        for kind in kinds
        for entry in cluster.get(kind, ())
        if has_labels(entry, LABELS) and (kind != "Secret" or _name(entry).startswith(SECRET_PREFIX))
    ]


def _name(entry: Mapping[str, Any]) -> str:
    return str(entry["metadata"]["name"])


def _ranges(pool: Mapping[str, Any]) -> list[Range]:
    """The ranges of a pool in the cluster, which may use a syntax that the role refuses."""
    found = []
    for text in (pool.get("spec") or {}).get("addresses") or []:
        if "-" not in text and "/" in text:
            text = str(ipaddress.ip_network(text, strict=False))
        found.append(parse_range(text, "the pool %s in the cluster" % _name(pool)))
    return found
