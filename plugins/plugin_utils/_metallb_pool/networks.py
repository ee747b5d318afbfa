# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Check address pools against the networks of the nodes' links. Pure.

The nodes' facts tell the networks. Node objects have addresses without prefix lengths, so without facts only a guess is
possible: it gives a note, never a refusal.
"""

from __future__ import annotations

import ipaddress
import re
from typing import Any, Iterable, Iterator, Mapping, Sequence

from .._common.networks import Network, Unusable, unusable
from .input import Pool
from .ranges import Range

# Links on which MetalLB does not announce (its ConfigMap metallb-excludel2), spelt as in facts.
_EXCLUDED = re.compile(r"docker|cbr|dummy|virbr|lxcbr|veth|lo\Z|cali|tunl|flannel|kube_ipvs|cni|nodelocaldns|lxc")
# Prefix lengths for guesses: the most common one, and the shortest usual one.
_USUAL = {4: 24, 6: 64}
_SHORTEST = {4: 16, 6: 48}
_WITHOUT_FACTS = "gather the network facts of the group kubernetes to check this"


def node_networks(facts: Iterable[Mapping[str, Any]]) -> list[Network]:
    """The networks of links on which nodes may announce addresses, according to their facts."""
    found: dict[Network, None] = {}
    for host in facts:
        for name in host.get("interfaces") or []:
            link = host.get(str(name).replace("-", "_"))
            if isinstance(link, Mapping) and not _EXCLUDED.match(str(name).replace("-", "_")):
                found.update(dict.fromkeys(_networks(link)))
    return list(found)


def _networks(link: Mapping[str, Any]) -> Iterator[Network]:
    for entry in [link.get("ipv4") or {}, *(link.get("ipv4_secondaries") or []), *(link.get("ipv6") or [])]:
        length = entry.get("prefix") or entry.get("netmask")
        if entry.get("address") and length and entry.get("scope") != "link":
            yield ipaddress.ip_network("%s/%s" % (entry["address"], length), strict=False)


def unusable_faults(pools: Sequence[Pool], avoiding: Sequence[bool], networks: Sequence[Network]) -> Iterator[str]:
    """Ranges that contain a network or broadcast address of a node's network.

    avoiding -- for each pool, whether it leaves out addresses that end with .0 and .255
    """
    bad = [one for network in networks for one in unusable(network)]
    for at, pool in enumerate(pools):
        for place, mine in pool.ranges:
            held = [one for one in bad if mine.holds(str(one.address)) and not (avoiding[at] and _is_buggy(one))]
            if held:
                yield "%s holds %s, at which no host can be reached: %s" % (
                    place, " and ".join("%s, %s" % one for one in held), _remedy(place, mine, held),
                )  # fmt: skip


def guessed_notes(pools: Sequence[Pool], avoiding: Sequence[bool], nodes: Sequence[str]) -> Iterator[str]:
    """Notes like unusable_faults for unknown networks, guessed from nodes' addresses and the usual prefix length."""
    guessed = {ipaddress.ip_network("%s/%d" % (ip, _USUAL[_version(ip)]), strict=False): ip for ip in reversed(nodes)}
    for at, pool in enumerate(pools):
        for place, mine in pool.ranges:
            for network, ip in guessed.items():
                for one in unusable(network):
                    if mine.holds(str(one.address)) and not (avoiding[at] and _is_buggy(one)):
                        yield "%s holds %s, %s if that is the network of the node's address %s: %s, or %s" % (
                            place, one.address, one.what, ip, _remedy(place, mine, [one]), _WITHOUT_FACTS,
                        )  # fmt: skip


def outside_notes(pools: Sequence[Pool], networks: Sequence[Network], nodes: Sequence[str]) -> Iterator[str]:
    """Ranges that get no ARP or NDP requests, because they are in no node's network.

    pools -- pools that are announced only by layer 2
    nodes -- the nodes' addresses, for guesses if no network is known
    """
    near = networks or [
        ipaddress.ip_network("%s/%d" % (ip, _SHORTEST[_version(ip)]), strict=False) for ip in nodes
    ]  # fmt: skip
    known = "the networks of the nodes (%s)" % ", ".join(map(str, networks))
    if not networks:
        known = "a network of the nodes, as far as their addresses tell (%s)" % ", ".join(nodes)
    for pool in pools:
        for place, mine in pool.ranges:
            if near and not any(mine.overlaps(_range(network)) for network in near):
                yield (
                    "%s is outside of %s. By layer 2 it is reached only from routers with a static route for it to a "
                    "node's link; where there is none, choose addresses of the nodes' network, or announce the pool by "
                    "BGP" % (place, known)
                )


def _is_buggy(one: Unusable) -> bool:
    """Whether MetalLB's avoidBuggyIPs leaves the address out (its internal/allocator, ipConfusesBuggyFirmwares)."""
    return one.address.version == 4 and int(one.address) % 256 in (0, 255)


def _remedy(place: str, mine: Range, held: Sequence[Unusable]) -> str:
    rest = list(_without(mine, sorted({int(one.address) for one in held})))
    if not rest:
        return "leave it out"
    to_address = ipaddress.IPv4Address if mine.version == 4 else ipaddress.IPv6Address
    written = "write %s" % ", ".join("%s-%s" % (to_address(first), to_address(last)) for first, last in rest)
    if all(map(_is_buggy, held)):
        return "set %s.avoid_buggy_ips: true, or %s" % (place.partition(".")[0], written)
    return written


def _without(mine: Range, numbers: Sequence[int]) -> Iterator[tuple[int, int]]:
    """The rest of a range without these sorted addresses."""
    first = mine.first
    for number in [*numbers, mine.last + 1]:
        if first < number:
            yield first, number - 1
        first = number + 1


def _range(network: Network) -> Range:
    return Range(network.version, int(network.network_address), int(network.broadcast_address))


def _version(address: str) -> int:
    return ipaddress.ip_address(address).version
