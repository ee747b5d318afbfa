# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Find and delete the UDP entries of connection tracking that no longer match the services.

NAT rules apply only to the first packet of a connection, and a UDP client that never pauses keeps one connection
forever. So after changing its rules, kube-proxy deletes the entries with a service as the original destination if their
replies do not come from an endpoint of that service (pkg/proxy/conntrack/cleanup.go). Unlike kube-proxy, this module
also deletes the entries of services that have no endpoints any more or were removed.
"""

from __future__ import annotations

import errno
import os
import re
import socket
import struct
from typing import Callable, Container, Dict, FrozenSet, Iterable, NamedTuple, Tuple

from .._common.command import CommandError
from .._common.netlink import DUMP, Message, Netlink, attribute, attributes
from .model import Service
from .sockets import local_addresses

# An address and a port. For a node port, the address is empty, and stands for all addresses of the node.
Socket = Tuple[str, int]
# The addresses and ports of UDP services, each with its endpoints.
Fronts = Dict[Socket, FrozenSet[Socket]]

# linux/netfilter/nfnetlink.h, linux/netfilter/nfnetlink_conntrack.h, and nf_internals.h for the bits of a filter
_NETLINK_NETFILTER = 12
_GET, _DELETE = 0x101, 0x102  # NFNL_SUBSYS_CTNETLINK, IPCTNL_MSG_CT_*
_TUPLE_ORIG, _TUPLE_REPLY, _ID, _ZONE, _FILTER = 1, 2, 12, 18, 25  # CTA_*
_TUPLE_IP, _TUPLE_PROTO = 1, 2  # CTA_TUPLE_*
_ADDRESSES = {socket.AF_INET: (1, 2), socket.AF_INET6: (3, 4)}  # CTA_IP_V4_SRC, CTA_IP_V4_DST and those of IPv6
_PROTO_NUM, _SRC_PORT, _DST_PORT = 1, 2, 3  # CTA_PROTO_*
_FILTER_ORIG_FLAGS, _BY_PROTO_NUM = 1, 1 << 3
_NESTED = 0x8000  # NLA_F_NESTED
_HEAD = struct.Struct("=BBH")  # nfgenmsg
_FAMILIES = {"ipv4": socket.AF_INET, "ipv6": socket.AF_INET6}
_BATCH = 256


class Entry(NamedTuple):
    """An entry of connection tracking for UDP.

    target -- the destination of the client's packets
    answerer -- the source of the replies; equals the target if nothing was translated
    raw -- the attributes of the entry as they were read
    """

    target: Socket
    answerer: Socket
    raw: bytes = b""


class Forgotten(NamedTuple):
    """The number of deleted entries, and a warning if deleting was not possible."""

    deleted: int
    warning: str = ""


def fronts_of(services: Iterable[Service], family: str) -> Fronts:
    """The fronts of the UDP services of one family."""
    found: Fronts = {}
    for service in services:
        if service.family == family and service.protocol == "udp":
            endpoints = frozenset((endpoint.address, endpoint.port) for endpoint in service.endpoints)
            found[service.address, service.port] = endpoints
            if service.node_port:
                found["", service.node_port] = endpoints
    return found


def stale(entries: Iterable[Entry], have: Container[Socket], want: Fronts, local: Container[str]) -> list[Entry]:
    """The entries to delete. All of them lead to a front of ours.

    have -- the fronts before the change
    want -- the fronts after the change
    local -- the node's addresses, which serve node ports
    """
    found = []
    for entry in entries:
        address, port = entry.target
        places = [entry.target, ("", port)] if address in local else [entry.target]
        present = [place for place in places if place in want]
        if present:
            if entry.answerer not in want[present[0]]:
                found.append(entry)
        elif entry.answerer != entry.target and any(place in have for place in places):
            found.append(entry)
    return found


def forget_stale(family: str, have: set[Socket], want: Fronts, check_mode: bool) -> Forgotten:
    """Delete stale entries after the rules are in place. In check mode, only count them."""
    if not (have or want):
        return Forgotten(0)
    try:
        at_node = {port for address, port in [*have, *want] if not address}
        local = local_addresses(family) if at_node else set()
        places = {place for place in [*have, *want] if place[0]}
        places |= {(address, port) for address in local for port in at_node}
        netlink = Netlink(_NETLINK_NETFILTER)
        try:
            old = stale(_read(netlink, family, places), have, want, local)
            if not check_mode:
                _delete(netlink, family, old)
        finally:
            netlink.close()
    except (CommandError, OSError) as error:
        return Forgotten(
            0,
            "the rules are in, but this kernel does not let entries of connection tracking be deleted (%s): UDP "
            "clients that never pause go on as before. Load its module nf_conntrack_netlink" % error,
        )
    return Forgotten(len(old))


def _head(family: str) -> bytes:
    return _HEAD.pack(_FAMILIES[family], 0, 0)


def question(family: str) -> Message:
    """A request for the UDP entries of a family. Kernels before 5.8 have no filter and return the whole family."""
    udp = attribute(_TUPLE_PROTO | _NESTED, attribute(_PROTO_NUM, bytes([socket.IPPROTO_UDP])))
    by_protocol = attribute(_FILTER_ORIG_FLAGS, struct.pack("=I", _BY_PROTO_NUM))
    payload = attribute(_TUPLE_ORIG | _NESTED, udp) + attribute(_FILTER | _NESTED, by_protocol)
    return Message(_GET, _head(family), payload)


def _read(netlink: Netlink, family: str, places: set[Socket]) -> list[Entry]:
    """The UDP entries that lead to the places. To be fast, it does not decode the other entries of the node."""
    number = _FAMILIES[family]
    addresses = {socket.inet_pton(number, address) for address, dummy in places}
    ports = {port.to_bytes(2, "big") for dummy, port in places}
    to_address = _pattern(_ADDRESSES[number][1], len(next(iter(addresses), b"")))
    to_port = _pattern(_DST_PORT, 2)
    found = []
    for data, start, end in netlink.ask(question(family), DUMP):
        if ports.isdisjoint(to_port(data, start, end)) or addresses.isdisjoint(to_address(data, start, end)):
            continue
        entry = decode(data[start:end])
        if entry and entry.target in places:
            found.append(entry)
    return found


def _pattern(kind: int, length: int) -> Callable[[bytes, int, int], list[bytes]]:
    """A function that finds the values of one kind of attribute at any depth."""
    header = re.escape(struct.pack("=HH", 4 + length, kind))
    return re.compile(header + b"(" + b"." * length + b")", re.DOTALL).findall


def decode(raw: bytes) -> Entry | None:
    """An entry from its attributes. None if it is not a UDP entry."""
    found = attributes(raw, 0, len(raw))
    if _TUPLE_ORIG not in found or _TUPLE_REPLY not in found:
        return None
    target, answerer = _end(raw, found[_TUPLE_ORIG], 1), _end(raw, found[_TUPLE_REPLY], 0)
    return Entry(target, answerer, raw) if target and answerer else None


def _end(raw: bytes, at: tuple[int, int], side: int) -> Socket | None:
    """The source (0) or the destination (1) of a tuple. None if it is not a UDP tuple."""
    parts = attributes(raw, *at)
    addresses, proto = attributes(raw, *parts[_TUPLE_IP]), attributes(raw, *parts[_TUPLE_PROTO])
    if raw[proto[_PROTO_NUM][0]] != socket.IPPROTO_UDP:
        return None
    family = socket.AF_INET if _ADDRESSES[socket.AF_INET][side] in addresses else socket.AF_INET6
    first, last = addresses[_ADDRESSES[family][side]]
    port = proto[(_SRC_PORT, _DST_PORT)[side]][0]
    return socket.inet_ntop(family, raw[first:last]), int.from_bytes(raw[port : port + 2], "big")


def deletion(family: str, entry: Entry) -> Message:
    """A request to delete exactly this entry: the kernel also compares its ID. Without a tuple, it would delete all."""
    found = attributes(entry.raw, 0, len(entry.raw))
    payload = attribute(_TUPLE_ORIG | _NESTED, entry.raw[slice(*found[_TUPLE_ORIG])])
    for kind in (_ZONE, _ID):
        if kind in found:
            payload += attribute(kind, entry.raw[slice(*found[kind])])
    return Message(_DELETE, _head(family), payload)


def _delete(netlink: Netlink, family: str, entries: list[Entry]) -> None:
    """Delete the entries. Entries that have disappeared in the meantime are not an error."""
    for start in range(0, len(entries), _BATCH):
        for dummy, code in netlink.tell([deletion(family, entry) for entry in entries[start : start + _BATCH]]):
            if code != errno.ENOENT:
                raise OSError(code, os.strerror(code))
