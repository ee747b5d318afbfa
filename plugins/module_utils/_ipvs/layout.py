# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Services by IPVS: the virtual servers, and the ipsets and iptables rules around them.

IPVS only translates destinations. The iptables rules for the rest are the same for any number of services, because the
services are in ipsets: this is kube-proxy's ipvs mode (pkg/proxy/ipvs/proxier.go, ipset.go), with its names, its
comments and its order. Two layouts:

* full -- also lets endpoints reach themselves, enforces source ranges, and opens the services' ports on the node.
* minimal -- one set, and only the rules that translation needs, as written by hand.

Rules are written as iptables-save prints them, so that an unchanged node is recognised without asking iptables.
"""

from __future__ import annotations

from typing import Iterable, NamedTuple

from .._common.errors import InputError
from .._ipset import plan as ipset
from .._iptables.layout import Options
from .._iptables.rules import Jump, Wanted, WantedTable
from .._services.model import Service
from .model import FULL_NETMASKS, Front, RealServer, VirtualServer

LAYOUTS = ("full", "minimal")

# kube-proxy's names for the sets (ipset.go), after the prefix; those of IPv6 have `6-` before them.
SERVICES = "CLUSTER-IP"
LOOP_BACK = "LOOP-BACK"
RESTRICTED = "LOAD-BALANCER-FW"
SOURCES = "LOAD-BALANCER-SOURCE-CIDR"
MAX_PREFIX = 31 - len("6-" + SOURCES)  # ipset(8): a name has 31 characters at most
_DEFAULT_MAXELEM = 65536  # ipset(8)

_ESTABLISHED = "-m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT"
# Replies and translated connections pass, regardless of who translated them.
_BARRIER = "-i %s -o %s -m conntrack ! --ctstate RELATED,ESTABLISHED,DNAT -j DROP"


class Frontend(NamedTuple):
    """An address, protocol and port at which a service answers."""

    address: str
    protocol: str
    port: int
    service: Service

    @property
    def element(self) -> str:
        """The frontend as an element of a set of type hash:ip,port."""
        return "%s,%s:%d" % (self.address, self.protocol, self.port)

    @property
    def front(self) -> Front:
        return Front(self.service.family, self.protocol, self.address, self.port)


def front_of(element: str) -> Front:
    """The virtual server that belongs to an element of the services' set."""
    address, rest = element.split(",")
    protocol, port = rest.split(":")
    return Front("ipv6" if ":" in address else "ipv4", protocol, address, int(port))


def frontends(services: list[Service], family: str, node_addresses: Iterable[str]) -> list[Frontend]:
    """Where the services of a family answer: at their VIP, and with node ports at each of the node's addresses."""
    found = []
    for service in services:
        if service.family == family:
            found.append(Frontend(service.address, service.protocol, service.port, service))
            if service.node_port:
                found += [
                    Frontend(address, service.protocol, service.node_port, service)
                    for address in node_addresses
                    if (":" in address) == (family == "ipv6")
                ]
    return found


def set_name(name: str, family: str, prefix: str) -> str:
    return prefix + ("6-" if family == "ipv6" else "") + name


def sets(fronts: list[Frontend], family: str, options: Options, recorded: Iterable[str] = ()) -> list[ipset.Wanted]:
    """The sets of one family; none without services.

    recorded -- additional elements of the set of services
    """
    if not fronts:
        return []
    wanted = [_set(SERVICES, "hash:ip,port", [*(front.element for front in fronts), *recorded], family, options)]
    if options.layout == "full":
        loops = [
            "%s,%s:%d,%s" % (endpoint.address, front.protocol, endpoint.port, endpoint.address)
            for front in fronts
            for endpoint in front.service.endpoints
        ]
        wanted.append(_set(LOOP_BACK, "hash:ip,port,ip", loops, family, options))
        guarded = [front for front in fronts if restricted(front.service)]
        if guarded:
            sources = ["%s,%s" % (front.element, source) for front in guarded for source in front.service.source_ranges]
            wanted += [
                _set(RESTRICTED, "hash:ip,port", [front.element for front in guarded], family, options),
                _set(SOURCES, "hash:ip,port,net", [_plain_host(source) for source in sources], family, options),
            ]
    return wanted


def _plain_host(source: str) -> str:
    """ipset prints a network of one address as that address."""
    whole = "/128" if "." not in source.rsplit(",", 1)[1] else "/32"
    return source[: -len(whole)] if source.endswith(whole) else source


def _set(name: str, kind: str, entries: list[str], family: str, options: Options) -> ipset.Wanted:
    entries = list(dict.fromkeys(entries))
    create = "%s family %s" % (kind, {"ipv4": "inet", "ipv6": "inet6"}[family])
    if len(entries) > _DEFAULT_MAXELEM:
        create += " maxelem %d" % (1 << (len(entries) - 1).bit_length())
    whole = set_name(name, family, options.prefix)
    return ipset.Wanted("the set " + whole, whole, create, entries)


def virtual_servers(fronts: list[Frontend], scheduler: str, schedulers: dict[str, str]) -> list[VirtualServer]:
    """One virtual server for each frontend. Session affinity is called persistence in IPVS.

    scheduler -- for all services except those in `schedulers`
    """
    return [
        VirtualServer(
            front.front,
            schedulers.get(front.service.name, scheduler),
            timeout=front.service.affinity,
            netmask=FULL_NETMASKS[front.service.family],
            real_servers=tuple(
                sorted(RealServer(each.address, each.port, weight=each.weight) for each in front.service.endpoints)
            ),
        )
        for front in fronts
    ]


def rules(services: list[Service], family: str, options: Options) -> Wanted:
    """The iptables tables that the services of one family need."""
    present = [service for service in services if service.family == family]
    tables = {"filter": _filter(present, family, options)}
    if present:
        tables["nat"] = _nat(family, options)
    return tables


def _comment(text: str) -> str:
    return '-m comment --comment "%s"' % text


def _match(name: str, family: str, options: Options, directions: str = "dst,dst", invert: str = "") -> str:
    return "-m set %s--match-set %s %s" % (invert, set_name(name, family, options.prefix), directions)


def _nat(family: str, options: Options) -> WantedTable:
    mark_chain, postrouting = options.prefix + "MARK-MASQ", options.prefix + "POSTROUTING"
    dispatcher = options.prefix + "SERVICES"
    mark = "0x%x/0x%x" % (options.mark, options.mark)
    to_service = _match(SERVICES, family, options)
    masquerade = _comment("kubernetes service traffic requiring SNAT")
    chains = {
        mark_chain: ["-j MARK --set-xmark " + mark],
        postrouting: [masquerade + " -m mark --mark %s -j MASQUERADE" % mark],
        # A packet to one of these services must not reach the rules of others.
        dispatcher: [to_service + " -j ACCEPT"],
    }
    if options.masquerade:
        outside = "! -s %s " % options.pod_cidr if options.pod_cidr else ""
        note = _comment("Kubernetes service cluster ip + port for masquerade purpose")
        chains[dispatcher].insert(0, "%s%s %s -j %s" % (outside, note, to_service, mark_chain))
    if options.layout == "full":
        hairpin = _comment("Kubernetes endpoints dst ip:port, source ip for solving hairpin purpose")
        chains[postrouting] = [
            "%s %s -j MASQUERADE" % (hairpin, _match(LOOP_BACK, family, options, "dst,dst,src")),
            "-m mark ! --mark %s -j RETURN" % mark,
            # The mark is no longer needed; a packet that passes again, for instance in a tunnel, must not carry it.
            "-j MARK --set-xmark 0x%x/0x0" % options.mark,
            masquerade + " -j MASQUERADE --random-fully",
        ]
    portal = [Jump("%s -j %s" % (_comment("kubernetes service portals"), dispatcher))]
    jumps = {
        "PREROUTING": portal,
        "OUTPUT": portal,
        "POSTROUTING": [Jump("%s -j %s" % (_comment("kubernetes postrouting rules"), postrouting))],
    }
    return WantedTable(chains, jumps)


def _filter(services: list[Service], family: str, options: Options) -> WantedTable:
    forward, access = options.prefix + "FORWARD", options.prefix + "FIREWALL"
    chains = {forward: [_BARRIER % pair for pair in options.isolate]}
    if services:
        marked = " -m mark --mark 0x%x/0x%x -j ACCEPT" % (options.mark, options.mark)
        chains[forward] += [_comment("kubernetes forwarding rules") + marked, *_replies(options)]
    jumps = {"FORWARD": [Jump("%s -j %s" % (_comment("kubernetes forwarding rules"), forward))]}
    if services and options.layout == "full":
        # IPVS takes packets at the point of local delivery, that is after the rules of INPUT.
        to_service = _match(SERVICES, family, options)
        chains[access] = [to_service + " -j ACCEPT"]
        if any(restricted(service) for service in services):
            chains[access].insert(0, "%s %s -j DROP" % (
                _match(RESTRICTED, family, options),
                _match(SOURCES, family, options, "dst,dst,src", "! "),
            ))  # fmt: skip
        jumps["INPUT"] = [Jump("%s -j %s" % (_comment("kubernetes ipvs access filter"), access))]
    return WantedTable(chains, jumps)


def _replies(options: Options) -> list[str]:
    if options.layout == "minimal" and options.pod_cidr:
        note = "kubernetes forwarding conntrack pod %s rule"
        return [
            "-s %s %s %s" % (options.pod_cidr, _comment(note % "source"), _ESTABLISHED),
            "-d %s %s %s" % (options.pod_cidr, _comment(note % "destination"), _ESTABLISHED),
        ]
    return ["%s %s" % (_comment("kubernetes forwarding conntrack rule"), _ESTABLISHED)]


def restricted(service: Service) -> bool:
    """Whether a service restricts its clients."""
    return bool(service.source_ranges) and not any(network.endswith("/0") for network in service.source_ranges)


def refuse(services: list[Service], options: Options) -> None:
    """Raise InputError for a service that the minimal layout cannot carry."""
    for service in services:
        if options.layout == "minimal" and (service.node_port or restricted(service)):
            raise InputError(
                "service %s has a node port or source ranges, which the minimal layout cannot carry: "
                "set the option layout to full" % service.name
            )
