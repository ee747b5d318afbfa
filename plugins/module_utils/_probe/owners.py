# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Find the hosts on the link that answer for an address, with the query that a client sends before its first packet.

Unlike the probe before adding an address, the query contains the sender's addresses. MetalLB does not answer a
neighbour solicitation without the sender's link-layer address (its internal/layer2/ndp.go).
"""

from __future__ import annotations

import ipaddress
import json
import struct
from typing import Any, Iterable, Mapping, NamedTuple, Sequence

from .._common import system
from .._common.command import run
from .._common.errors import InputError
from .._virtual_address.neighbor import (
    NEIGHBOR_SOLICITATION,
    IPAddress,
    arp,
    icmpv6,
    listen,
    mac_bytes,
    open_sockets,
    solicited_node,
)
from .._virtual_address.node import read_state
from .._virtual_address.plan import Link

ROUNDS = 2  # queries for each address, because a frame may be lost


class Owners(NamedTuple):
    """The hosts that answer for an address.

    macs -- the MAC addresses of all hosts that answer; None if the address could not be probed
    reason -- why it could not be probed
    """

    address: str
    interface: str = ""
    source: str = ""
    gateway: str = ""  # empty: the address is on the link
    macs: tuple[str, ...] | None = None
    reason: str = ""


def look(addresses: Sequence[str], seconds: float, where: str) -> dict[str, Any]:
    """A module's result: the hosts that answer for the addresses, and this host's links and their networks.

    seconds -- how long to listen for answers on each link
    where -- the name of the list of addresses in messages

    On another system than Linux no address is probed, and no link is reported.

    Raises InputError for an invalid address, and CommandError if the links cannot be read.
    """
    wanted = []
    for at, raw in enumerate(addresses):
        try:
            wanted.append(ipaddress.ip_address(raw))
        except ValueError:
            raise InputError("%s[%d] %s is not an IP address" % (where, at, raw)) from None
    if system.name() != "Linux":
        reason = "asking by ARP and NDP needs Linux, and this host runs %s" % system.name()
        return {"owners": [report(Owners(str(ip), reason=reason)) for ip in wanted], "links": {}, "networks": []}
    links = read_state("").links
    return {
        "owners": [report(found) for found in find_owners(wanted, links, seconds)],
        "links": {name: link.mac for name, link in links.items() if link.ether},
        "networks": networks_of(links.values()),
    }


def find_owners(addresses: Sequence[IPAddress], links: Mapping[str, Link], seconds: float) -> list[Owners]:
    """Probe each address on the link that leads to it, and listen on each link for the given number of seconds."""
    ways = {ip: find_way(ip, links) for ip in addresses}
    for name in sorted({way.interface for way in ways.values() if not way.reason}):
        asked = {ip: way.source for ip, way in ways.items() if way.interface == name and not way.reason}
        try:
            heard = _ask(links[name], asked, seconds)
        except PermissionError:
            reason = "asking by ARP needs root (become: true)"
            ways.update({ip: ways[ip]._replace(reason=reason) for ip in asked})
        else:
            ways.update({ip: ways[ip]._replace(macs=tuple(sorted(heard[ip]))) for ip in asked})
    return [ways[ip] for ip in addresses]


def find_way(ip: IPAddress, links: Mapping[str, Link]) -> Owners:
    """How this host reaches an address. If the address cannot be probed, the reason is set."""
    done = run(["ip", "-json", "route", "get", str(ip)], check=False)
    if done.rc != 0:
        return Owners(str(ip), reason="no route to it (%s)" % done.err.strip())
    return read_way(ip, json.loads(done.out, strict=False)[0], links)


def read_way(ip: IPAddress, route: Mapping[str, Any], links: Mapping[str, Link]) -> Owners:
    """The same, from the output of `ip -json route get`."""
    name, source = route.get("dev", ""), route.get("prefsrc", "")
    gateway = route.get("gateway") or route.get("via", {}).get("host", "")
    link = links.get(name)
    if route.get("type") == "local":
        reason = "this host has the address itself"
    elif gateway:
        reason = "it is behind the router %s" % gateway
    elif link is None or not link.has_neighbours:
        reason = "%s has no ARP" % (name or "this route")
    else:
        reason = "%s %s" % (name, link.silent) if link.silent else ""
    return Owners(str(ip), name, source, gateway, None, reason)


def question_frame(mac: str, source: IPAddress, ip: IPAddress) -> bytes:
    """A query for the owner of an address: an ARP request, or a neighbour solicitation (RFC 4861, 4.3)."""
    if isinstance(ip, ipaddress.IPv4Address):
        return arp(1, mac, ipaddress.IPv4Address(str(source)), bytes(6), ip)
    body = struct.pack("!BBHI", NEIGHBOR_SOLICITATION, 0, 0, 0) + ip.packed + b"\x01\x01" + mac_bytes(mac)
    return icmpv6(mac, ipaddress.IPv6Address(str(source)), solicited_node(ip), body)


def _ask(link: Link, sources: Mapping[IPAddress, str], seconds: float) -> dict[IPAddress, set[str]]:
    """Probe addresses on one link, each from its source address. Listen for the whole time: a second host may answer.

    sources -- the source address for each address
    """
    heard: dict[IPAddress, set[str]] = {ip: set() for ip in sources}
    with open_sockets(link.name, list(sources)) as sockets:
        for _turn in range(ROUNDS):
            for ip, source in sources.items():
                sockets[ip.version].send(question_frame(link.mac, ipaddress.ip_address(source), ip))
            for claim in listen(list(sockets.values()), seconds / ROUNDS):
                if claim.ip in heard:
                    heard[claim.ip].add(claim.mac)
    return heard


def networks_of(links: Iterable[Link]) -> list[str]:
    """The networks of the links, in which addresses can be probed."""
    found = {
        ipaddress.ip_network("%s/%d" % (one.ip, one.prefix), strict=False)
        for link in links
        if link.has_neighbours
        for one in link.addresses
        if not one.ip.is_link_local
    }
    return sorted(map(str, found))


def report(owners: Owners) -> dict[str, Any]:
    """The result for one address, as a module returns it."""
    return {**owners._asdict(), "macs": None if owners.macs is None else list(owners.macs)}
