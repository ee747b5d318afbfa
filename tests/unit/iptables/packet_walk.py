# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The way of a new connection's first packet through rules as iptables-save writes them.

It knows the few matches and targets that the layouts use, and refuses all others. Where a rule leaves it to chance,
both ways are walked, so the answer is a distribution: how likely does the packet end where?
"""

from __future__ import annotations

import functools
import ipaddress
from typing import Callable, Dict, Iterator, NamedTuple

from ansible_collections.homelab.loadbalancer.plugins.module_utils._iptables.rules import Chains, WantedTable


class Packet(NamedTuple):
    """The first packet of a connection."""

    source: str
    target: str
    port: int
    protocol: str = "tcp"
    in_link: str = "eth0"
    out_link: str = "eth1"
    to_node: bool = False  # whether the target is an address of the node
    from_node: bool = False
    sticky: str = ""  # the list of clients that has the source
    mark: int = 0
    translated: bool = False


class End(NamedTuple):
    """The end of a packet: its endpoint (or its own target), its verdict, and the number of rules before it."""

    target: str
    verdict: str  # ACCEPT, DROP, REJECT
    masqueraded: bool
    rules: int


# A match gives the probability that it holds.
Match = Callable[[Packet], float]
Ends = Dict[End, float]


class Rule(NamedTuple):
    matches: tuple[Match, ...]
    target: str
    argument: str


def _network(text: str) -> Callable[[str], bool]:
    network = ipaddress.ip_network(text)
    mask, value = int(network.netmask), int(network.network_address)
    return lambda address: _number(address) & mask == value


@functools.lru_cache(maxsize=None)
def _number(address: str) -> int:
    return int(ipaddress.ip_address(address))


def _not(match: Match) -> Match:
    return lambda packet: 1 - match(packet)


def _ctstate(states: str) -> Match:
    wanted = set(states.split(","))
    return lambda packet: bool(wanted & ({"NEW", "DNAT"} if packet.translated else {"NEW"}))


def _mark(text: str) -> Match:
    value, mask = (int(part, 16) for part in text.split("/"))
    return lambda packet: packet.mark & mask == value


def _dport(text: str) -> Match:
    first, dummy, last = text.partition(":")
    low, high = int(first), int(last or first)
    return lambda packet: low <= packet.port <= high


def _source(text: str) -> Match:
    holds = _network(text)
    return lambda packet: holds(packet.source)


def _target(text: str) -> Match:
    holds = _network(text)
    return lambda packet: holds(packet.target)


def _local(option: str, text: str) -> Match:
    assert text == "LOCAL"
    return (lambda packet: packet.to_node) if option == "--dst-type" else (lambda packet: packet.from_node)


MATCHES: dict[str, Callable[[str], Match]] = {
    "-s": _source,
    "-d": _target,
    "-p": lambda text: lambda packet: packet.protocol == text,
    "-i": lambda text: lambda packet: packet.in_link == text,
    "-o": lambda text: lambda packet: packet.out_link == text,
    "--dport": _dport,
    "--mark": _mark,
    "--ctstate": _ctstate,
    "--src-type": functools.partial(_local, "--src-type"),
    "--dst-type": functools.partial(_local, "--dst-type"),
    "--probability": lambda text: lambda packet: float(text),
}
# Their argument does not depend on the packet.
IDLE = ("-m", "--comment", "--mode", "--seconds", "--mask")
FLAGS = ("--rcheck", "--set", "--reap", "--rsource", "--random-fully")


def parse_rule(text: str) -> Rule:
    """Read a rule. KeyError for an unknown option."""
    words = iter(text.split())
    matches: list[Match] = []
    negated = False
    checks = "--rcheck" in text
    for word in words:
        if word == "!":
            negated = True
        elif word == "-j":
            return Rule(tuple(matches), next(words), " ".join(words))
        elif word == "--name":
            name = next(words)
            if checks:
                matches.append(lambda packet, name=name: packet.sticky == name)  # type: ignore[misc]
        elif word in IDLE:
            next(words)
        elif word not in FLAGS:
            match = MATCHES[word](next(words))
            matches.append(_not(match) if negated else match)
            negated = False
    raise KeyError("no target: " + text)


def _holds(rule: Rule, packet: Packet) -> float:
    chance = 1.0
    for match in rule.matches:
        chance *= match(packet)
        if not chance:
            break
    return chance


class Walk:
    """Rules of the tables nat and filter, ready to be walked."""

    def __init__(self, tables: dict[str, WantedTable]) -> None:
        self.chains = {name: _with_jumps(table) for name, table in tables.items()}
        self.read = functools.lru_cache(maxsize=None)(parse_rule)

    def connect(self, packet: Packet) -> dict[tuple[str, str, bool], float]:
        """The probability of each end, after any number of rules."""
        found: dict[tuple[str, str, bool], float] = {}
        for end, chance in self.ends(packet).items():
            found[end[:3]] = found.get(end[:3], 0) + chance
        return found

    def ends(self, packet: Packet) -> Ends:
        """Walk nat PREROUTING (or OUTPUT), filter INPUT, FORWARD (or OUTPUT), and nat POSTROUTING."""
        ends: Ends = {}
        first = "OUTPUT" if packet.from_node else "PREROUTING"
        for after, target, chance, rules in self._chain("nat", first, packet, 1.0, 0):
            to, translated = (target.split(" ")[2], True) if target.startswith("DNAT ") else (packet.target, False)
            address, port = _split(to) if translated else (to, packet.port)
            # In these tests, translated packets leave the node.
            sent = after._replace(translated=translated, target=address, port=port)
            sent = sent._replace(to_node=packet.to_node and not translated)
            hook = "OUTPUT" if packet.from_node else "INPUT" if sent.to_node else "FORWARD"
            for dummy, verdict, share, more in self._chain("filter", hook, sent, chance, rules):
                said = verdict.split(" ")[0] or "ACCEPT"
                for dummy, last, part, total in self._chain("nat", "POSTROUTING", sent, share, more):
                    end = End(to, said, last.startswith("MASQUERADE"), total)
                    ends[end] = ends.get(end, 0) + part
        return ends

    def _chain(
        self, table: str, chain: str, packet: Packet, chance: float, rules: int
    ) -> Iterator[tuple[Packet, str, float, int]]:
        """The packet as it leaves a chain, the verdict (empty at its end), its chance and the rules so far."""
        for text in self.chains.get(table, {}).get(chain, []):
            rules += 1
            rule = self.read(text)
            holds = _holds(rule, packet)
            if not holds:
                continue
            if rule.target in self.chains[table]:
                inner = self._chain(table, rule.target, packet, chance * holds, rules)
                chance *= 1 - holds
                returned = False
                for after, verdict, share, count in inner:
                    if verdict:
                        yield after, verdict, share, count
                    else:
                        # It comes back: one branch only, for chance is left to rules that end the walk.
                        assert not returned
                        returned, packet, rules, chance = True, after, count, chance + share
            elif rule.target == "MARK":
                value, mask = (int(part, 16) for part in rule.argument.split(" ")[1].split("/"))
                packet = packet._replace(mark=packet.mark & ~mask ^ value)
            elif rule.target == "RETURN":
                break
            else:
                yield packet, ("%s %s" % (rule.target, rule.argument)).strip(), chance * holds, rules
                chance *= 1 - holds
            if not chance:
                return
        yield packet, "", chance, rules


def _with_jumps(table: WantedTable) -> Chains:
    return {**table.chains, **{chain: [jump.rule for jump in jumps] for chain, jumps in table.jumps.items()}}


def _split(socket: str) -> tuple[str, int]:
    address, port = socket.rsplit(":", 1)
    return address.strip("[]"), int(port)
