# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Services as one nftables table: few static rules, and maps that hold the services. Pure.

The look-ups for a new connection are the same, however many services there are:

1. The map `services-ip` leads from the address, protocol and port of a service to a chain that picks an endpoint.
2. This chain draws a random number. All services with the same weights share it: `of-2`, `weights-1-2`.
3. The chain `endpoint-0` translates to the first endpoint of the service, which the maps `addresses-ip-0` and
   `ports-ip-0` hold.

Node ports have their own chains and maps, with `node-` before the name. Those of IPv6 have `ip6` for `ip`.
"""

from __future__ import annotations

import functools
import hashlib
import ipaddress
import math
from typing import Dict, Iterable, Iterator, Mapping, NamedTuple, Sequence, Tuple

from .._services.model import PROTOCOLS, Endpoint, Service
from .._services.planes import NFTABLES_MARK
from .places import FAMILIES, Place

# The clients that a service with session affinity remembers.
CLIENTS = 65536
_LONGEST = 32  # a longer name of a chain is replaced by a hash


class Options(NamedTuple):
    """The options that apply to all services of a node.

    mark -- the bit of the packet mark that requests masquerading
    pod_cidr -- the network of each family whose connections are not masqueraded; empty for none
    isolate -- pairs of interfaces: from, to
    """

    masquerade: bool = True
    mark: int = 0x1000
    pod_cidr: Mapping[str, str] = {}
    isolate: tuple[tuple[str, str], ...] = ()


class Block(NamedTuple):
    """A chain, a set or a map, as text of nft.

    elements -- each key of a set or a map with its value; the values of a set are empty
    """

    lines: tuple[str, ...]
    rules: tuple[str, ...]
    elements: dict[str, str]


Blocks = Dict[Tuple[str, str], Block]


def layout(services: Sequence[Service], options: Options, spelled: Mapping[str, str]) -> Blocks:
    """The blocks of the table by kind and name. No blocks stand for no table.

    spelled -- the protocols as the node's nft writes them
    """
    if not services and not options.isolate:
        return {}
    return _Layout(services, options, spelled).blocks()


def client_maps(service: Service) -> tuple[str, str]:
    """The maps that hold the address and the port of each client's former endpoint."""
    return "client-addresses-" + service.name, "client-ports-" + service.name


class _Layout:
    """The table, as it grows."""

    def __init__(self, services: Sequence[Service], options: Options, spelled: Mapping[str, str]) -> None:
        self._services = services
        self._options = options
        self._sets: Blocks = {}
        self._chains: dict[str, Block] = {}
        places = [Place(family, node, spelled) for family in FAMILIES for node in (False, True)]
        self._places = [place for place in places if any(map(place.serves, services))]

    def blocks(self) -> Blocks:
        self._sets["set", NFTABLES_MARK] = Block(("type mark",), (), {})
        if self._services:
            # Also without endpoints: without a chain of the type nat, the kernel stops translating open connections.
            self._chain("services", [rule for place in self._places for rule in self._translate(place)])
            for hook in ("prerouting", "output"):
                self._chain("nat-" + hook, ["jump services"], "type nat hook %s priority -100" % hook)
            self._masquerade()
            self._remember()
        self._filter()
        return {**self._sets, **{("chain", name): chain for name, chain in self._chains.items()}}

    def _chain(self, name: str, rules: Iterable[str], hook: str = "") -> None:
        lines = (hook + "; policy accept;",) if hook else ()
        self._chains[name] = Block(lines, tuple(rules), {})

    def _elements(self, kind: str, name: str, type_: str, elements: Mapping[str, str], *lines: str) -> None:
        """A set or map with these elements, or one more part of its elements."""
        block = self._sets.setdefault((kind, name), Block(("type " + type_, *lines), (), {}))
        block.elements.update(elements)

    def _set(self, name: str, place: Place, services: Iterable[Service]) -> None:
        self._elements("set", name, place.type, dict.fromkeys(map(place.front, services), ""))

    def _served(self, place: Place) -> list[Service]:
        return [service for service in self._services if service.endpoints and place.serves(service)]

    def _translate(self, place: Place) -> list[str]:
        """The rules of the chain `services` for one place."""
        services = self._served(place)
        if not services:
            return []
        rules = [*self._restrict(place, services), *self._stick(place, services)]
        name = "%sservices-%s" % (place.prefix, place.ip)
        verdicts = {place.front(each): "goto " + self._picker(place, each.endpoints) for each in services}
        self._elements("map", name, place.type + " : verdict", verdicts)
        for number in range(max(len(service.endpoints) for service in services)):
            self._endpoint(place, number, [service for service in services if number < len(service.endpoints)])
        return [*rules, "%s vmap @%s" % (place.match, name)]

    def _restrict(self, place: Place, services: Sequence[Service]) -> Iterator[str]:
        """Drop packets from outside the source ranges, unless the node itself sends them."""
        ranges = {place.front(service): _ranges(service.source_ranges) for service in services}
        allowed = {"%s . %s" % (front, network): "" for front, networks in ranges.items() for network in networks}
        if allowed:
            names = ["%s%s-%s" % (place.prefix, name, place.ip) for name in ("restricted", "allowed")]
            self._elements("set", names[0], place.type, {front: "" for front, networks in ranges.items() if networks})
            self._elements("set", names[1], "%s . %s" % (place.type, place.address), allowed, "flags interval")
            yield "%s @%s fib saddr type != local %s . %s saddr != @%s drop" % (
                place.match, names[0], place.key, place.ip, names[1],
            )  # fmt: skip

    def _stick(self, place: Place, services: Sequence[Service]) -> Iterator[str]:
        """Lead clients with session affinity to their former endpoint."""
        sticky = [service for service in services if service.affinity]
        if not sticky:
            return
        for service in sticky:
            self._clients(place, service)
        for kind, verdict in (("former", "jump"), ("remember", "goto")):
            verdicts = {place.front(service): "%s %s-%s" % (verdict, kind, service.name) for service in sticky}
            self._elements("map", "%s%s-%s" % (place.prefix, kind, place.ip), place.type + " : verdict", verdicts)
        yield "%s vmap @%sformer-%s" % (place.match, place.prefix, place.ip)

    def _clients(self, place: Place, service: Service) -> None:
        """The maps of a service's clients, and the chains that use and fill them."""
        addresses, ports = client_maps(service)
        limits = "size %d" % CLIENTS, "flags dynamic,timeout", "timeout %ds" % service.affinity
        self._elements("map", addresses, "%s : %s" % (place.address, place.address), {}, *limits)
        self._elements("map", ports, "%s : inet_service" % place.address, {}, *limits)
        translate = _translate(place.ip, place.ip + " saddr", [service], addresses, ports)
        self._chain("former-" + service.name, [*self._mark(), *translate])
        # Connections that were opened before a change may still send to a removed endpoint, and other translations may
        # have the same node port.
        current = "endpoints-" + service.name
        ends = {"%s . %d" % (end.address, end.port): "" for end in service.endpoints}
        self._elements("set", current, place.address + " . inet_service", ends)
        updates = {addresses: place.ip + " daddr", ports: "th dport"}
        rules = ["update @%s { %s saddr : %s }" % (name, place.ip, value) for name, value in updates.items()]
        self._chain("remember-" + service.name, ["%s daddr . th dport != @%s return" % (place.ip, current), *rules])

    def _picker(self, place: Place, endpoints: Sequence[Endpoint]) -> str:
        """The chain that picks an endpoint by the weights."""
        if len(endpoints) == 1:
            return place.prefix + "endpoint-0"
        divisor = functools.reduce(math.gcd, (endpoint.weight for endpoint in endpoints))
        weights = tuple(endpoint.weight // divisor for endpoint in endpoints)
        name = place.prefix + _picker_name(weights)
        if name not in self._chains:
            self._chain(name, [_pick(weights, place.prefix)])
        return name

    def _endpoint(self, place: Place, number: int, services: Sequence[Service]) -> None:
        """The chain that translates to the first (0) or a further endpoint, and the maps that hold it."""
        ends = {place.front(service): service.endpoints[number] for service in services}
        addresses, ports = ("%s%s-%s-%d" % (place.prefix, name, place.ip, number) for name in ("addresses", "ports"))
        # A map to addresses and ports at once is beyond nft 0.9.8.
        to = place.type + " : "
        self._elements("map", addresses, to + place.address, {front: end.address for front, end in ends.items()})
        self._elements("map", ports, to + "inet_service", {front: "%d" % end.port for front, end in ends.items()})
        chain = "%sendpoint-%d" % (place.prefix, number)
        rules = self._chains[chain].rules if chain in self._chains else self._mark()
        only = "meta nfproto %s " % place.family if place.node else ""
        translate = _translate(place.ip, place.key, services, addresses, ports)
        self._chain(chain, [*rules, *(only + rule for rule in translate)])

    def _mark(self) -> list[str]:
        """Request masquerading, except for connections from the network of pods."""
        if not self._options.masquerade:
            return []
        mark = "meta mark set meta mark | 0x%x" % self._options.mark
        if not any(self._options.pod_cidr.values()):
            return [mark]
        rules = []
        for place in self._places:
            cidr = self._options.pod_cidr.get(place.family)
            own = "%s saddr != %s" % (place.ip, cidr) if cidr else "meta nfproto " + place.family
            rules.append("%s %s" % (own, mark))
        return list(dict.fromkeys(rules))

    def _masquerade(self) -> None:
        rules = []
        if self._options.masquerade:
            mark, others = self._options.mark, 0xFFFFFFFF ^ self._options.mark
            # The packet may pass again, for instance in a tunnel, and must not carry the mark then.
            marked, clear = "meta mark & 0x%x == 0x%x" % (mark, mark), "meta mark set meta mark & 0x%x" % others
            rules.append("%s %s masquerade fully-random" % (marked, clear))
        for place in self._places:
            if place.node or (self._options.masquerade and not self._options.pod_cidr.get(place.family)):
                continue
            # An endpoint that connects to itself through a service would answer itself directly.
            addresses = {endpoint.address for service in self._served(place) for endpoint in service.endpoints}
            name = "hairpin-" + place.ip
            own = {f"{address} . {address}": "" for address in sorted(addresses)}
            self._elements("set", name, f"{place.address} . {place.address}", own)
            rules.append(f"ct status dnat {place.ip} saddr . {place.ip} daddr @{name} masquerade fully-random")
        if rules:
            self._chain("nat-postrouting", rules, "type nat hook postrouting priority 100")

    def _remember(self) -> None:
        """Remember the endpoint of each client with session affinity. Only a translated packet shows it."""
        # Only after a match of the protocol, nft knows the type of its ports.
        rule = "meta nfproto %s meta l4proto %s ct state new ct status dnat %s vmap @%sremember-%s"
        rules = [
            rule % (place.family, protocol, place.original, place.prefix, place.ip)
            for place in self._places
            for protocol in PROTOCOLS
            if any(service.affinity and service.protocol == protocol for service in self._served(place))
        ]
        if rules:
            self._chain("remember", rules, "type filter hook postrouting priority 90")

    def _filter(self) -> None:
        refusals = [rule for place in self._places for rule in self._refuse(place)]
        if refusals:
            self._chain("refuse", refusals)
        jump = ["ct state new jump refuse"] if refusals else []
        isolate = ['iifname "%s" oifname "%s" counter drop' % pair for pair in self._options.isolate]
        if isolate:
            # Replies and translated connections pass: packets to a service use the same two interfaces as direct ones.
            isolate = ["ct state established,related accept", "ct status dnat accept", *isolate]
        for hook, rules in (("input", jump), ("forward", [*jump, *isolate]), ("output", jump)):
            if rules:
                self._chain("filter-" + hook, rules, "type filter hook %s priority 0" % hook)

    def _refuse(self, place: Place) -> Iterator[str]:
        """Refuse connections to services without endpoints."""
        empty = [service for service in self._services if not service.endpoints and place.serves(service)]
        if empty:
            name = "%sno-endpoints-%s" % (place.prefix, place.ip)
            self._set(name, place, empty)
            yield "%s @%s reject" % (place.match, name)


def _translate(ip: str, key: str, services: Sequence[Service], addresses: str, ports: str) -> list[str]:
    """Translate to the address and port that two maps hold for the key.

    One rule for each protocol, because nft allows a port only after a match of the protocol.
    """
    rule = "meta l4proto %s counter dnat %s to %s map @%s : %s map @%s"
    protocols = {service.protocol for service in services}
    return [rule % (each, ip, key, addresses, key, ports) for each in PROTOCOLS if each in protocols]


def _picker_name(weights: tuple[int, ...]) -> str:
    if set(weights) == {1}:
        return "of-%d" % len(weights)
    name = "weights-" + "-".join(map(str, weights))
    return name if len(name) <= _LONGEST else "weights-" + hashlib.sha256(name.encode()).hexdigest()[:16]


def _pick(weights: Sequence[int], prefix: str) -> str:
    """Draw a number, and go to the endpoint that owns it."""
    parts, start = [], 0
    for number, weight in enumerate(weights):
        end = start + weight - 1
        span = "%d" % start if start == end else "%d-%d" % (start, end)
        parts.append("%s : goto %sendpoint-%d" % (span, prefix, number))
        start += weight
    return "numgen random mod %d vmap { %s }" % (start, ", ".join(parts))


def _ranges(raw: Sequence[str]) -> list[str]:
    """Source ranges as the fewest networks, because nft refuses networks that overlap; none for everyone."""
    if not raw:
        return []
    found = list(ipaddress.collapse_addresses(map(ipaddress.ip_network, raw)))  # type: ignore[type-var]
    if found[0].prefixlen == 0:
        return []
    return [text for network in found for text in _network(network)]


def _network(network: ipaddress.IPv4Network | ipaddress.IPv6Network) -> list[str]:
    """A network as nft lists it."""
    if network.prefixlen == network.max_prefixlen:
        return [str(network.network_address)]
    if network.version == 6 and network.prefixlen < 64:
        # nft 0.9.8 would list it as a /64.
        return ["%s-%s" % (network[0], network[-2]), str(network[-1])]
    return [str(network)]
