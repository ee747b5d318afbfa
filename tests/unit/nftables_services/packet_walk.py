# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The way of a new connection's first packet through the blocks of a table.

It knows the few statements that the layout uses, and refuses all others. Where a rule draws a number, all ways are
walked, so the answer is a distribution: the probability of each end.
"""

from __future__ import annotations

import functools
import ipaddress
import re
from typing import Callable, Iterable, Iterator, NamedTuple, Tuple

from ansible_collections.homelab.loadbalancer.plugins.module_utils._nftables_services.layout import Blocks


class Packet(NamedTuple):
    """The first packet of a connection.

    seen -- the target and port that the client sent it to, once it is translated
    learned -- the elements that the packet has added to maps: map, key, value
    """

    source: str
    target: str
    port: int
    protocol: str = "tcp"
    in_link: str = "eth0"
    out_link: str = "eth1"
    to_node: bool = False  # whether the target is an address of the node
    from_node: bool = False
    mark: int = 0
    seen: tuple[str, int] | None = None
    learned: tuple[tuple[str, str, str], ...] = ()

    @property
    def family(self) -> str:
        return "ipv6" if ":" in self.source else "ipv4"


class End(NamedTuple):
    """The end of a packet: its endpoint (or its own target), and its verdict."""

    address: str
    port: int
    verdict: str  # accept, drop, reject
    masqueraded: bool


# A branch of a walk: the packet, its verdict, and the probability. An empty verdict lets the walk go on, and `break`
# goes on with the next rule.
Branch = Tuple[Packet, str, float]
Statement = Callable[[Packet], "list[Branch]"]
BREAK = "break"

_FIELD = r"(?:ip6? [sd]addr|meta l4proto|th dport|ct original ip6? daddr|ct original proto-dst)"
_KEY = r"(%s(?: \. %s)*)" % (_FIELD, _FIELD)


class Walk:
    """A table, ready to be walked."""

    def __init__(self, blocks: Blocks) -> None:
        self.chains = {name: block for (kind, name), block in blocks.items() if kind == "chain"}
        self.sets = {name: block for (kind, name), block in blocks.items() if kind != "chain"}
        self._read = functools.lru_cache(maxsize=None)(self._parse)
        self._spans = functools.lru_cache(maxsize=None)(self._intervals)

    def connect(self, packet: Packet) -> dict[End, float]:
        """The probability of each end."""
        return shares(self.ends(packet))

    def ends(self, packet: Packet) -> Iterator[tuple[End, Packet, float]]:
        """Each way of the packet."""
        for at, said, chance in self._hook("output" if packet.from_node else "prerouting", "nat", packet):
            if said == "drop":
                yield End(packet.target, packet.port, said, False), at, chance
                continue
            # In these tests, translated packets leave the node.
            sent = at._replace(to_node=at.to_node and not at.seen)
            hook = "output" if packet.from_node else "input" if sent.to_node else "forward"
            for passed, verdict, share in self._hook(hook, "filter", sent):
                if verdict in ("drop", "reject") or hook == "input":
                    yield End(packet.target, packet.port, verdict or "accept", False), passed, chance * share
                else:
                    for last, masquerade, part in self._postrouting(passed):
                        end = End(last.target, last.port, "accept", masquerade)
                        yield end, last, chance * share * part

    def _postrouting(self, packet: Packet) -> Iterator[tuple[Packet, bool, float]]:
        for at, dummy, chance in self._hook("postrouting", "filter", packet):
            for last, verdict, share in self._hook("postrouting", "nat", at):
                yield last, verdict == "masquerade", chance * share

    def repeat(self, packet: Packet, address: str, port: int) -> None:
        """Let the first packet of a connection pass again that was translated before the last change."""
        sent = packet._replace(target=address, port=port, seen=(packet.target, packet.port))
        ((last, dummy, chance),) = self._postrouting(sent)
        assert chance == 1
        self.keep(last)

    def learn(self, packet: Packet) -> None:
        """Connect, and keep the elements that the packet adds to maps. Its way must not be left to chance."""
        ((dummy, after, chance),) = list(self.ends(packet))
        assert chance == 1
        self.keep(after)

    def keep(self, packet: Packet) -> None:
        """Keep the elements that a packet has added to maps."""
        for name, key, value in packet.learned:
            self.sets[name].elements[key] = value

    # Hooks and chains

    def _hook(self, hook: str, kind: str, packet: Packet) -> list[Branch]:
        """The ways through the base chains of one type at one hook. There is at most one."""
        named = "type %s hook %s " % (kind, hook)
        (name, *more) = [name for name, block in self.chains.items() if "".join(block.lines).startswith(named)] or [""]
        assert not more
        return list(self._chain(name, packet, 1.0)) if name else [(packet, "", 1.0)]

    def _chain(self, name: str, packet: Packet, chance: float) -> Iterator[Branch]:
        """The packet as it leaves a chain. An empty verdict stands for its end."""
        here = [(packet, chance)]
        for text in self.chains[name].rules:
            after = []
            for at, share in here:
                for now, verdict, part in self._rule(text, at, share):
                    if verdict in ("", BREAK):
                        after.append((now, part))
                    else:
                        yield now, "" if verdict == "return" else verdict, part
            here = after
        yield from ((at, "", share) for at, share in here)

    def _rule(self, text: str, packet: Packet, chance: float) -> Iterator[Branch]:
        ways: list[Branch] = [(packet, "", chance)]
        for statement in self._read(text):
            ways = [
                way
                for at, verdict, share in ways
                for way in ([(at, verdict, share)] if verdict else self._step(statement, at, share))
            ]
        for at, verdict, share in ways:
            word, dummy, name = verdict.partition(" ")
            if word in ("goto", "jump"):
                for now, inner, part in self._chain(name, at, share):
                    yield now, inner or ("return" if word == "goto" else ""), part
            else:
                yield at, verdict, share

    @staticmethod
    def _step(statement: Statement, packet: Packet, chance: float) -> list[Branch]:
        return [(at, verdict, chance * share) for at, verdict, share in statement(packet)]

    # Statements

    def _parse(self, text: str) -> list[Statement]:
        """The statements of a rule. KeyError for an unknown one."""
        found: list[Statement] = []
        while text:
            for pattern, make in _STATEMENTS:
                match = re.match(pattern + r"(?: |\Z)", text)
                if match:
                    found.append(make(self, *match.groups()))
                    text = text[match.end() :]
                    break
            else:
                raise KeyError(text)
        return found

    def _key(self, key: str, packet: Packet) -> str:
        """The value of a key; empty for a packet of the other family."""
        fields = [_field(packet, field) for field in key.split(" . ")]
        return " . ".join(fields) if all(fields) else ""

    def _holds(self, name: str, key: str) -> bool:
        block = self.sets[name]
        if "flags interval" not in block.lines:
            return key in block.elements
        *exact, last = key.split(" . ")
        spans = self._spans(name).get(" . ".join(exact), [])
        return any(first <= int(ipaddress.ip_address(last)) <= final for first, final in spans)

    def _intervals(self, name: str) -> dict[str, list[tuple[int, int]]]:
        """The first and the last address of each interval, by the rest of its key."""
        found: dict[str, list[tuple[int, int]]] = {}
        for element in self.sets[name].elements:
            exact, dummy, interval = element.rpartition(" . ")
            first, dummy, last = interval.partition("-")
            network = ipaddress.ip_network(first)
            final = ipaddress.ip_address(last) if last else network[-1]
            found.setdefault(exact, []).append((int(network[0]), int(final)))
        return found

    def member(self, key: str, differs: str | None, name: str) -> Statement:
        def check(packet: Packet) -> bool:
            value = self._key(key, packet)
            return bool(value) and self._holds(name, value) != bool(differs)

        return _match(check)

    def verdict_map(self, key: str, name: str) -> Statement:
        def look_up(packet: Packet) -> list[Branch]:
            return [(packet, self.sets[name].elements.get(self._key(key, packet), BREAK), 1.0)]

        return look_up

    def translate(self, ip: str, key: str, addresses: str, key2: str, ports: str) -> Statement:
        assert key == key2

        def dnat(packet: Packet) -> list[Branch]:
            value = self._key(key, packet)
            address = self.sets[addresses].elements.get(value)
            port = self.sets[ports].elements.get(value)
            if not address or not port:
                return [(packet, BREAK, 1.0)]
            assert packet.family == {"ip": "ipv4", "ip6": "ipv6"}[ip]
            return [(packet._replace(target=address, port=int(port), seen=(packet.target, packet.port)), "dnat", 1.0)]

        return dnat

    def update(self, name: str, key: str, value: str) -> Statement:
        def learn(packet: Packet) -> list[Branch]:
            element = name, self._key(key, packet), self._key(value, packet)
            return [(packet._replace(learned=(*packet.learned, element)), "", 1.0)]

        return learn


def shares(ends: Iterable[tuple[End, Packet, float]]) -> dict[End, float]:
    found: dict[End, float] = {}
    for end, dummy, chance in ends:
        found[end] = found.get(end, 0) + chance
    return found


def _field(packet: Packet, name: str) -> str:
    word = {"ipv4": "ip", "ipv6": "ip6"}[packet.family]
    target, port = packet.seen or (packet.target, packet.port)
    return {
        word + " saddr": packet.source,
        word + " daddr": packet.target,
        "meta l4proto": packet.protocol,
        "th dport": str(packet.port),
        "ct original %s daddr" % word: target,
        "ct original proto-dst": str(port),
    }.get(name, "")


def _match(check: Callable[[Packet], bool]) -> Statement:
    return lambda packet: [(packet, "" if check(packet) else BREAK, 1.0)]


def _draw(walk: Walk, modulus: str, parts: str) -> Statement:
    """Draw a number below the modulus."""
    ways = []
    for part in parts.split(", "):
        span, verdict = part.split(" : ")
        first, dummy, last = span.partition("-")
        ways.append((verdict, (int(last or first) - int(first) + 1) / int(modulus)))
    return lambda packet: [(packet, verdict, chance) for verdict, chance in ways]


def _outside(walk: Walk, field: str, network: str) -> Statement:
    inside = ipaddress.ip_network(network)

    def check(packet: Packet) -> bool:
        value = _field(packet, field)
        return bool(value) and ipaddress.ip_address(value) not in inside

    return _match(check)


def _local(walk: Walk, side: str, differs: str | None) -> Statement:
    return _match(lambda packet: (packet.from_node if side == "saddr" else packet.to_node) != bool(differs))


def _set_mark(walk: Walk, operator: str, value: str) -> Statement:
    bits = int(value, 16)

    def change(packet: Packet) -> list[Branch]:
        mark = packet.mark | bits if operator == "|" else packet.mark & bits
        return [(packet._replace(mark=mark), "", 1.0)]

    return change


# The packet is always the first one, so its connection is new.
_STATEMENTS: list[tuple[str, Callable[..., Statement]]] = [
    (r"counter", lambda walk: lambda packet: [(packet, "", 1.0)]),
    (_KEY + r" (!= )?@(\S+)", Walk.member),
    (_KEY + r" vmap @(\S+)", Walk.verdict_map),
    (r"numgen random mod (\d+) vmap \{ (.*) \}", _draw),
    (r"dnat (ip6?) to %s map @(\S+) : %s map @(\S+)" % (_KEY, _KEY), Walk.translate),
    (r"update @(\S+) \{ %s : %s \}" % (_KEY, _KEY), Walk.update),
    (r"(ip6? [sd]addr) != (\S+)", _outside),
    (r"fib ([sd]addr) type (!= )?local", _local),
    (r"meta nfproto (\w+)", lambda walk, family: _match(lambda packet: packet.family == family)),
    (r"meta l4proto (\w+)", lambda walk, protocol: _match(lambda packet: packet.protocol == protocol)),
    (r"meta mark set meta mark ([|&]) (\w+)", _set_mark),
    (r"meta mark & (\w+) == (\w+)", lambda walk, mask, value: _match(
        lambda packet: packet.mark & int(mask, 16) == int(value, 16)
    )),
    (r"ct state new", lambda walk: _match(lambda packet: True)),
    (r"ct state established,related", lambda walk: _match(lambda packet: False)),
    (r"ct status dnat", lambda walk: _match(lambda packet: bool(packet.seen))),
    (r"iifname \"(\S+)\"", lambda walk, link: _match(lambda packet: packet.in_link == link)),
    (r"oifname \"(\S+)\"", lambda walk, link: _match(lambda packet: packet.out_link == link)),
    (r"masquerade fully-random", lambda walk: lambda packet: [(packet, "masquerade", 1.0)]),
    (r"((?:goto|jump) \S+|accept|drop|reject|return)", lambda walk, verdict: lambda packet: [(packet, verdict, 1.0)]),
]  # fmt: skip
