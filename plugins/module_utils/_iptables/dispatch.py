# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A tree of chains that leads a packet to its service's rules without trying the rules of all services.

iptables tries the rules of a chain one by one. So the rules of many services are spread over chains, by the service's
address, then protocol, then port: a chain that would be too full contains jumps to smaller chains instead. The tree
follows the bits of the address, so that one more service changes one chain and not all of them.
"""

from __future__ import annotations

import base64
import hashlib
import socket
from typing import Callable, List, NamedTuple, Tuple

from .rules import Chains

# A packet meets at most LEAF_RULES rules in the last chain and 2 ** STEP jumps in each chain on the way there.
LEAF_RULES = 64
STEP = 3


class Entry(NamedTuple):
    """The rules for packets to one address (empty: any), protocol and port."""

    address: str
    protocol: str
    port: int
    rules: list[str]


_Placed = List[Tuple[int, Entry]]  # each entry with its address as a number


def dispatch(chains: Chains, chain: str, entries: list[Entry], prefix: str) -> None:
    """Fill `chain` with the entries' rules, and chains below it when one is not enough.

    chains -- receives the chains, named by prefix, `NET-` and a hash of their place in the tree
    entries -- each rule matches the whole address, protocol and port itself
    """
    anywhere = [entry for entry in entries if not entry.address]
    placed = [(_number(entry.address), entry) for entry in entries if entry.address]
    rules = _spread(chains, chain, placed, prefix) if placed else []
    if anywhere:
        rules = rules + _spread(chains, chain + "+", [(0, entry) for entry in anywhere], prefix)
    chains[chain] = rules


def _spread(chains: Chains, place: str, entries: _Placed, prefix: str) -> list[str]:
    """The rules of the chain at `place`: the entries' rules, or jumps to the chains that this call has added."""
    groups = _split(entries) if sum(len(entry.rules) for dummy, entry in entries) > LEAF_RULES else []
    if len(groups) < 2:
        return [rule for dummy, entry in entries for rule in entry.rules]
    rules = []
    for match, group in groups:
        # A network's chain has the same name on every path: a service far away may change the path, but not the chain.
        below = "%s %s" % (place.split(maxsplit=1)[0] if match.startswith("-d") else place, match)
        digest = base64.b32encode(hashlib.sha256(below.encode()).digest()).decode()[:16]
        name = prefix + "NET-" + digest
        chains[name] = _spread(chains, below, group, prefix)
        rules.append("%s -j %s" % (match, name))
    return rules


def _split(entries: _Placed) -> list[tuple[str, _Placed]]:
    """Group entries by the first bits in which they differ; each group comes with the match that leads to it.

    The lengths of the networks are multiples of STEP. The largest groups come first: packets with a long way down the
    tree need not also pass the jumps to small neighbours.
    """
    addresses = [address for address, dummy in entries]
    low, high = min(addresses), max(addresses)
    if low != high:
        width = 128 if ":" in entries[0][1].address else 32
        common = width - (low ^ high).bit_length()
        length = min((common // STEP + 1) * STEP, width)
        shift = width - length
        return _group(entries, lambda address, entry: _network(address, shift, width))
    protocols = {entry.protocol for dummy, entry in entries}
    if len(protocols) > 1:
        return _group(entries, lambda address, entry: "-p " + entry.protocol)
    ports = [entry.port for dummy, entry in entries]
    shift = max((min(ports) ^ max(ports)).bit_length() - 1, 0) // STEP * STEP
    return _group(entries, lambda address, entry: _ports(entry, shift))


def _group(entries: _Placed, match: Callable[[int, Entry], str]) -> list[tuple[str, _Placed]]:
    groups: dict[str, _Placed] = {}
    for address, entry in entries:
        groups.setdefault(match(address, entry), []).append((address, entry))
    return sorted(groups.items(), key=lambda item: -len(item[1]))


def _network(address: int, shift: int, width: int) -> str:
    packed = (address >> shift << shift).to_bytes(width // 8, "big")
    spelled = socket.inet_ntop(socket.AF_INET if width == 32 else socket.AF_INET6, packed)
    return "-d %s/%d" % (spelled, width - shift)


def _ports(entry: Entry, shift: int) -> str:
    first = entry.port >> shift << shift
    last = first + (1 << shift) - 1
    ports = "%d:%d" % (first, last) if shift else "%d" % first
    return "-p %s -m %s --dport %s" % (entry.protocol, entry.protocol, ports)


def _number(address: str) -> int:
    return int.from_bytes(socket.inet_pton(socket.AF_INET6 if ":" in address else socket.AF_INET, address), "big")
