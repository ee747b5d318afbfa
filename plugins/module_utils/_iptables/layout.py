# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Services as iptables rules: the chains, their rules, and the built-in chains that jump to them.

Three layouts carry the same traffic:

* kube-proxy -- the chains of kube-proxy's iptables mode (pkg/proxy/iptables/proxier.go): one dispatch rule per
  service, one chain per service, one chain per endpoint. What a reader learns here is true on a Kubernetes node. A
  packet tries the dispatch rules one by one, and the nft backend loads many chains slowly.
* compact -- the same rules without a chain per service, in chains chosen by the service's address. For many services.
* minimal -- one DNAT and one MASQUERADE rule per service, as written by hand. One endpoint per service.

Rules are written as iptables-save prints them, so that an unchanged node is recognised without asking iptables.
"""

from __future__ import annotations

import base64
import hashlib
from typing import NamedTuple

from .._common.errors import InputError
from .._services.model import Endpoint, Service
from .dispatch import Entry, dispatch
from .rules import Chains, Jump, WantedTable

LAYOUTS = ("auto", "kube-proxy", "compact", "minimal")
# A packet tries kube-proxy's dispatch rules one by one: with more services than this, `auto` is compact.
MANY_SERVICES = 100
# In the compact layout a service with more endpoints than this has its own chains, to keep packets of others fast.
MANY_ENDPOINTS = 8
MAX_PREFIX = 28 - len("SVC-") - 16

REJECT_WITH = {"ipv4": "icmp-port-unreachable", "ipv6": "icmp6-port-unreachable"}
# To a node port, on the node's addresses that others can reach: translation does not work on a loopback address.
TO_NODE = {
    "ipv4": "! -d 127.0.0.0/8 %s -m addrtype --dst-type LOCAL",
    "ipv6": "! -d ::1/128 %s -m addrtype --dst-type LOCAL",
}
# From any address of the node itself.
FROM_NODE = "-m addrtype --src-type LOCAL"


class Options(NamedTuple):
    """The options that apply to all services of a node."""

    prefix: str = "LB-"
    layout: str = "auto"
    masquerade: bool = True
    mark: int = 0x1000  # one bit of the packet mark, which requests masquerading
    pod_cidr: str = ""  # of this family; connections from here keep their source address
    isolate: tuple[tuple[str, str], ...] = ()  # (from interface, to interface)

    @property
    def forward_mark(self) -> int:
        """The bit that marks a service's packet, which may be forwarded.

        If all are masqueraded it is the same bit. Otherwise it is the next lower bit. Without it a policy of DROP would
        block the services; accepting all translated packets instead would open ports that others publish and guard.
        """
        if self.masquerade and not self.pod_cidr:
            return self.mark
        return self.mark >> 1 if self.mark > 1 else 2


def layout(services: list[Service], family: str, options: Options) -> dict[str, WantedTable]:
    """The tables that carry the services of one family."""
    services = [service for service in services if service.family == family]
    tables = {"filter": _filter(services, family, options)}
    if services:
        minimal = options.layout == "minimal"
        tables["nat"] = _minimal(services, options) if minimal else _Nat(services, family, options).table()
    return tables


def service_chain(service: Service, prefix: str) -> str:
    """The chain's name as in kube-proxy: a hash, since service names may be longer than chain names."""
    return prefix + "SVC-" + _hash(service.name + service.protocol)


def endpoint_chain(service: Service, endpoint: Endpoint, prefix: str) -> str:
    """The chain of an endpoint, and also the name of its list of clients under session affinity."""
    return prefix + "SEP-" + _hash(service.name + service.protocol + _socket(endpoint))


def _hash(text: str) -> str:
    return base64.b32encode(hashlib.sha256(text.encode()).digest()).decode()[:16]


def _socket(endpoint: Endpoint) -> str:
    return ("[%s]:%d" if ":" in endpoint.address else "%s:%d") % endpoint[:2]


def _host(address: str) -> str:
    return address + ("/128" if ":" in address else "/32")


def _to_vip(service: Service, comment: bool = False) -> str:
    """Match a packet to the service's address. A source goes before this match, as iptables-save writes it."""
    note = " -m comment --comment " + service.name if comment else ""
    return "-d %s -p %s%s -m %s --dport %d" % (
        _host(service.address), service.protocol, note, service.protocol, service.port,
    )  # fmt: skip


def _to_node_port(service: Service, comment: bool = False) -> str:
    note = " -m comment --comment " + service.name if comment else ""
    return "-p %s%s -m %s --dport %d" % (service.protocol, note, service.protocol, service.node_port)


def _to_node(family: str, match: str = "") -> str:
    return " ".join((TO_NODE[family] % match).split())


def _allowed(service: Service, match: str) -> list[str]:
    """The match, repeated for each source that may connect; the node itself always may."""
    if not service.source_ranges or any(network.endswith("/0") for network in service.source_ranges):
        return [match]
    return ["-s %s %s" % (network, match) for network in service.source_ranges] + ["%s %s" % (match, FROM_NODE)]


def _shares(endpoints: tuple[Endpoint, ...]) -> list[str]:
    """Matches that give each endpoint its share of the connections. They are tried in order; the last takes the rest.

    iptables stores a probability as a 31-bit number, and prints it with eleven decimals.
    """
    left = sum(endpoint.weight for endpoint in endpoints)
    matches = []
    for endpoint in endpoints:
        share = round(endpoint.weight / left * 0x80000000) / 0x80000000
        matches.append("" if endpoint.weight == left else "-m statistic --mode random --probability %.11f" % share)
        left -= endpoint.weight
    return matches


def _words(*parts: str) -> str:
    return " ".join(part for part in parts if part)


class _Nat:
    """The nat table of the kube-proxy and compact layouts."""

    def __init__(self, services: list[Service], family: str, options: Options) -> None:
        self.options = options
        self.family = family
        # A service without endpoints is refused in the filter table, and has no rules here.
        self.services = [service for service in services if service.endpoints]
        self.compact = is_compact(services, options)
        self.dispatcher = options.prefix + "SERVICES"
        self.node_ports = options.prefix + "NODEPORTS"
        self.mark_chain = options.prefix + "MARK-MASQ"
        self.marked = "0x%x/0x%x" % (options.mark, options.mark)
        # A second mark, needed when the masquerade mark does not tell which packets are ours.
        self.own_mark = options.forward_mark if options.forward_mark != options.mark else 0
        self.chains: Chains = {}

    def table(self) -> WantedTable:
        postrouting = self.options.prefix + "POSTROUTING"
        self.chains[self.mark_chain] = ["-j MARK --set-xmark " + self.marked]
        clear = ["-j MARK --set-xmark 0x0/0x%x" % self.own_mark] if self.own_mark else []
        self.chains[postrouting] = [
            *clear,
            "-m mark ! --mark %s -j RETURN" % self.marked,
            # The mark is no longer needed; a packet that passes again, for instance in a tunnel, must not carry it.
            "-j MARK --set-xmark 0x%x/0x0" % self.options.mark,
            "-j MASQUERADE --random-fully",
        ]
        self._dispatch(self.dispatcher, [Entry(s.address, s.protocol, s.port, self._rules(s)) for s in self.services])
        with_node_port = [service for service in self.services if service.node_port]
        if with_node_port:
            entries = [Entry("", s.protocol, s.node_port, self._node_port_rules(s)) for s in with_node_port]
            self._dispatch(self.node_ports, entries)
        self.chains[self.dispatcher] = self._mark_around(self.chains[self.dispatcher], bool(with_node_port))
        to_services, to_postrouting = [Jump("-j " + self.dispatcher)], [Jump("-j " + postrouting)]
        jumps = {"PREROUTING": to_services, "OUTPUT": to_services, "POSTROUTING": to_postrouting}
        return WantedTable(self.chains, jumps)

    def _dispatch(self, chain: str, entries: list[Entry]) -> None:
        if self.compact:
            dispatch(self.chains, chain, entries, self.options.prefix)
        else:
            self.chains[chain] = [rule for entry in entries for rule in entry.rules]

    def _mark_around(self, rules: list[str], node_ports: bool) -> list[str]:
        """Compact has no chain per service to mark in: mark every packet, then unmark those without a service."""
        tail = [_words(_to_node(self.family), "-j", self.node_ports)] if node_ports else []
        if not (self.compact and rules):
            return rules + tail
        unmark = "-j MARK --set-xmark 0x0/0x%x" % (self.options.mark | self.own_mark)
        return [*self._mark_rules(), *rules, *tail, unmark]

    def _mark_rules(self) -> list[str]:
        """Mark a packet to a service: to be forwarded, and to be masqueraded where wanted."""
        own, cidr = self.own_mark, self.options.pod_cidr
        rules = ["-j MARK --set-xmark 0x%x/0x%x" % (own, own)] if own else []
        if self.options.masquerade:
            rules.append(_words("! -s " + cidr if cidr else "", "-j " + self.mark_chain))
        return rules

    def _rules(self, service: Service) -> list[str]:
        return self._matched(service, _to_vip(service, comment=not self.compact))

    def _node_port_rules(self, service: Service) -> list[str]:
        return self._matched(service, _to_node_port(service, comment=not self.compact))

    def _matched(self, service: Service, match: str) -> list[str]:
        simple = not (service.affinity or service.source_ranges or len(service.endpoints) > MANY_ENDPOINTS)
        if self.compact and simple:
            return self._inline(service, match)
        chain = self._own_chains(service)
        return ["%s -j %s" % (allowed, chain) for allowed in _allowed(service, match)]

    def _inline(self, service: Service, match: str) -> list[str]:
        rules = []
        if not self.options.masquerade or self.options.pod_cidr:
            # An endpoint that connects to itself through the VIP needs another source, or it answers itself directly.
            sources = ["-s %s %s" % (_host(endpoint.address), match) for endpoint in service.endpoints]
            rules += ["%s -j %s" % (source, self.mark_chain) for source in dict.fromkeys(sources)]
        for endpoint, share in zip(service.endpoints, _shares(service.endpoints)):
            rules.append(_words(match, share, "-j DNAT --to-destination", _socket(endpoint)))
        return rules

    def _own_chains(self, service: Service) -> str:
        chain = service_chain(service, self.options.prefix)
        if chain in self.chains:  # reached both by the VIP and by the node port
            return chain
        rules = self._mark_rules()
        names = [endpoint_chain(service, endpoint, self.options.prefix) for endpoint in service.endpoints]
        if service.affinity:
            seen = "-m recent --rcheck --seconds %d --reap --name %s --mask %s --rsource -j %s"
            rules += [seen % (service.affinity, name, self._whole_address(), name) for name in names]
        rules += [_words(share, "-j " + name) for name, share in zip(names, _shares(service.endpoints))]
        self.chains[chain] = rules
        for endpoint, name in zip(service.endpoints, names):
            stick = "-m recent --set --name %s --mask %s --rsource" % (name, self._whole_address())
            protocol = "-p " + service.protocol
            self.chains[name] = [
                "-s %s -j %s" % (_host(endpoint.address), self.mark_chain),
                _words(protocol, stick if service.affinity else "", "-j DNAT --to-destination", _socket(endpoint)),
            ]
        return chain

    def _whole_address(self) -> str:
        return "255.255.255.255" if self.family == "ipv4" else "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"


def is_compact(services: list[Service], options: Options) -> bool:
    """Whether the compact layout carries these services."""
    return options.layout == "compact" or (options.layout == "auto" and len(services) > MANY_SERVICES)


def _minimal(services: list[Service], options: Options) -> WantedTable:
    services = [service for service in services if service.endpoints]
    prerouting, postrouting = options.prefix + "PREROUTING", options.prefix + "POSTROUTING"
    chains: Chains = {prerouting: [], postrouting: []}
    for service in services:
        if len(service.endpoints) > 1 or service.affinity or service.node_port or service.source_ranges:
            raise InputError(
                "service %s needs more than the minimal layout supports, which is one endpoint and no other features: "
                "set the option layout to kube-proxy" % service.name
            )
        endpoint = service.endpoints[0]
        masquerade = "-d %s -p %s -m %s --dport %d -j MASQUERADE"
        values = (_host(endpoint.address), service.protocol, service.protocol, endpoint.port)
        chains[prerouting].append("%s -j DNAT --to-destination %s" % (_to_vip(service), _socket(endpoint)))
        if options.masquerade:
            chains[postrouting].append(masquerade % values)
    # Two services with the same endpoint need its masquerade rule once.
    chains[postrouting] = list(dict.fromkeys(chains[postrouting]))
    jumps = {"PREROUTING": [Jump("-j " + prerouting)], "POSTROUTING": [Jump("-j " + postrouting)]}
    return WantedTable(chains, jumps)


def _filter(services: list[Service], family: str, options: Options) -> WantedTable:
    forward, firewall = options.prefix + "FORWARD", options.prefix + "FIREWALL"
    chains: Chains = {}
    jumps: dict[str, list[Jump]] = {}
    # Replies and translated connections pass: packets to a VIP use the same two interfaces as direct ones.
    barrier = "-i %s -o %s -m conntrack ! --ctstate RELATED,ESTABLISHED,DNAT -j DROP"
    chains[forward] = [barrier % pair for pair in options.isolate]
    if services and options.layout != "minimal":
        chains[forward] += [
            "-m mark --mark 0x%x/0x%x -j ACCEPT" % (options.forward_mark, options.forward_mark),
            "-m conntrack --ctstate DNAT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT",
        ]
    if chains[forward]:
        jumps["FORWARD"] = [Jump("-j " + forward)]
    else:
        del chains[forward]
    entries = [entry for service in services for entry in _refusals(service, family)]
    if entries:
        if is_compact(services, options):
            dispatch(chains, firewall, entries, options.prefix)
        else:
            chains[firewall] = [rule for entry in entries for rule in entry.rules]
        to_firewall = Jump("-m conntrack --ctstate NEW -j " + firewall)
        jumps = {"INPUT": [to_firewall], "FORWARD": [to_firewall, *jumps.get("FORWARD", [])], "OUTPUT": [to_firewall]}
    return WantedTable(chains, jumps)


def _refusals(service: Service, family: str) -> list[Entry]:
    """Refuse packets that still have the service's address: it has no endpoint, or their source is not allowed."""
    if not service.endpoints:
        verdict = "-j REJECT --reject-with " + REJECT_WITH[family]
    elif _allowed(service, "") != [""]:
        verdict = "-j DROP"
    else:
        return []
    entries = [Entry(service.address, service.protocol, service.port, ["%s %s" % (_to_vip(service, True), verdict)])]
    if service.node_port:
        rule = "%s %s" % (_to_node(family, _to_node_port(service, True)), verdict)
        entries.append(Entry("", service.protocol, service.node_port, [rule]))
    return entries
