# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What declared pools mean in a cluster: for its nodes, its other pools and its Services.

Everything here is pure: it judges objects that were looked up before.

MetalLB gives each address to one pool, and refuses a pool that overlaps another one. So what takes addresses over from
another pool has to wait until that one has let go, and a Service that has one of them is without a pool for that long.
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

# By kind the objects of the cluster.
Cluster = Mapping[str, Sequence[Mapping[str, Any]]]


class Effects(NamedTuple):
    """What a declaration does to the cluster, in this order."""

    remove_first: list[dict[str, Any]]  # pools of ours that hold addresses which a declared one is to have
    apply: list[dict[str, Any]]
    apply_late: list[dict[str, Any]]  # pools that get addresses from those above
    remove: list[dict[str, Any]]  # what is ours and is declared no more
    faults: list[str]  # why nothing of this may be done
    moves: list[str]  # Services that lose their address
    notes: list[str]  # what may be meant, and most often is not


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

    declared -- as `input.objects` takes it
    cluster -- the objects of MetalLB and the Secrets in its namespace, all Nodes and all Services, by their kinds
    namespace -- that of MetalLB
    gateways -- addresses that no pool may hold
    allow_moves -- whether Services may lose their address
    facts -- those of nodes, by which their networks are known
    prefix -- what the names of the user's variables begin with, for messages
    Raises InputError for what is wrong in the declaration by itself.
    """
    wanted = objects(declared, namespace, prefix)
    pools = parse_pools(declared["pools"], prefix)
    names = {(obj["kind"], obj["metadata"]["name"]) for obj in wanted}
    stale = [obj for obj in _ours(cluster) if (obj["kind"], obj["metadata"]["name"]) not in names]
    live = {entry["metadata"]["name"]: _ranges(entry) for entry in cluster.get("IPAddressPool", ())}
    blocking = _blocking(pools, live)
    # What is neither declared nor ours stays as it is.
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
    """By declared pool the other pools in the cluster that hold addresses of it."""
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
    """Ranges that belong to a pool of somebody else."""
    for pool in pools:
        for place, mine in pool.ranges:
            for name in sorted(staying):
                if any(mine.overlaps(taken) for taken in live[name]):
                    yield (
                        "%s overlaps the pool %s in the cluster, which is not ours: remove that one, declare it in "
                        "%spools as well, or choose other addresses" % (place, name, prefix)
                    )


def _taken(pools: Sequence[Pool], cluster: Cluster, gateways: Sequence[str], prefix: str) -> Iterator[str]:
    """Ranges that hold the address of a host, which would be cut off."""
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
    """Faults and notes of ranges, by the networks of the nodes."""
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
    """Whether an advertisement, declared or of somebody else, is for a pool. A selector may be for any."""
    others = [entry.get("spec") or {} for entry in cluster.get(kind, ()) if not has_labels(entry, LABELS)]
    named = [entry.get("pools") for entry in declared]
    named += [None if spec.get("ipAddressPoolSelectors") else spec.get("ipAddressPools") for spec in others]
    return any(pool.name in (names or [pool.name]) for names in named)


def _unknown(declared: Mapping[str, Any], cluster: Cluster, staying: set[str], prefix: str) -> Iterator[str]:
    """Pools and peers that an advertisement names and that are not there."""
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
    """Services whose address leaves its pool. One that goes to another pool leaves too: it is in none in between."""
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
    """The objects that the role made, down to what it takes to remove them."""
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
    """The ranges of a pool in the cluster, which may be written in ways that we would not accept."""
    found = []
    for text in (pool.get("spec") or {}).get("addresses") or []:
        if "-" not in text and "/" in text:
            text = str(ipaddress.ip_network(text, strict=False))
        found.append(parse_range(text, "the pool %s in the cluster" % _name(pool)))
    return found
