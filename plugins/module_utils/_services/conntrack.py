# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""UDP entries of connection tracking that services have overtaken: which they are, and deleting them.

The kernel asks the rules about the first packet of a connection only, and a UDP client that never pauses has one
connection for ever. So kube-proxy, after its rules are in, deletes the entries whose original destination is a
service's and whose reply does not come from one of its endpoints (pkg/proxy/conntrack/cleanup.go). Unlike kube-proxy's
this also forgets the clients of services that have no endpoints any more, or are gone.
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

# An address and a port. A node port has no address: it stands for all that the node has.
Socket = Tuple[str, int]
# Where services are answered by UDP, and the endpoints behind.
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
    """A UDP connection as the kernel tracks it.

    target -- where the client sends to
    answerer -- where replies come from: the target where nothing was translated
    raw -- its attributes as they were read
    """

    target: Socket
    answerer: Socket
    raw: bytes = b""


class Forgotten(NamedTuple):
    """How many entries were deleted, and why it was not possible; an empty string where it was."""

    deleted: int
    warning: str = ""


def fronts_of(services: Iterable[Service], family: str) -> Fronts:
    """Where the services of one family are answered by UDP."""
    found: Fronts = {}
    for service in services:
        if service.family == family and service.protocol == "udp":
            endpoints = frozenset((endpoint.address, endpoint.port) for endpoint in service.endpoints)
            found[service.address, service.port] = endpoints
            if service.node_port:
                found["", service.node_port] = endpoints
    return found


def stale(entries: Iterable[Entry], have: Container[Socket], want: Fronts, local: Container[str]) -> list[Entry]:
    """The entries to be deleted, none of which is anybody else's: they all lead to a front of ours.

    have -- the fronts there were
    want -- the fronts there are
    local -- the node's addresses, at which node ports are answered
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
    """Delete stale entries after the rules are in; in check mode count them."""
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
    """Ask for the UDP entries of a family. Kernels before 5.8 know no filter and answer with all of the family."""
    udp = attribute(_TUPLE_PROTO | _NESTED, attribute(_PROTO_NUM, bytes([socket.IPPROTO_UDP])))
    by_protocol = attribute(_FILTER_ORIG_FLAGS, struct.pack("=I", _BY_PROTO_NUM))
    payload = attribute(_TUPLE_ORIG | _NESTED, udp) + attribute(_FILTER | _NESTED, by_protocol)
    return Message(_GET, _head(family), payload)


def _read(netlink: Netlink, family: str, places: set[Socket]) -> list[Entry]:
    """The UDP entries that lead to some places. Of the thousands of others that a node may have none is taken apart."""
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
    """Finds the values of a kind of attribute, however deep they are nested."""
    header = re.escape(struct.pack("=HH", 4 + length, kind))
    return re.compile(header + b"(" + b"." * length + b")", re.DOTALL).findall


def decode(raw: bytes) -> Entry | None:
    """An entry from its attributes; None where it is not of UDP."""
    found = attributes(raw, 0, len(raw))
    if _TUPLE_ORIG not in found or _TUPLE_REPLY not in found:
        return None
    target, answerer = _end(raw, found[_TUPLE_ORIG], 1), _end(raw, found[_TUPLE_REPLY], 0)
    return Entry(target, answerer, raw) if target and answerer else None


def _end(raw: bytes, at: tuple[int, int], side: int) -> Socket | None:
    """The source (0) or the destination (1) of a tuple of UDP."""
    parts = attributes(raw, *at)
    addresses, proto = attributes(raw, *parts[_TUPLE_IP]), attributes(raw, *parts[_TUPLE_PROTO])
    if raw[proto[_PROTO_NUM][0]] != socket.IPPROTO_UDP:
        return None
    family = socket.AF_INET if _ADDRESSES[socket.AF_INET][side] in addresses else socket.AF_INET6
    first, last = addresses[_ADDRESSES[family][side]]
    port = proto[(_SRC_PORT, _DST_PORT)[side]][0]
    return socket.inet_ntop(family, raw[first:last]), int.from_bytes(raw[port : port + 2], "big")


def deletion(family: str, entry: Entry) -> Message:
    """Delete this very entry: the kernel compares the number, too. Without a tuple it would delete them all."""
    found = attributes(entry.raw, 0, len(entry.raw))
    payload = attribute(_TUPLE_ORIG | _NESTED, entry.raw[slice(*found[_TUPLE_ORIG])])
    for kind in (_ZONE, _ID):
        if kind in found:
            payload += attribute(kind, entry.raw[slice(*found[kind])])
    return Message(_DELETE, _head(family), payload)


def _delete(netlink: Netlink, family: str, entries: list[Entry]) -> None:
    """Those that have gone by themselves meanwhile are no concern."""
    for start in range(0, len(entries), _BATCH):
        for dummy, code in netlink.tell([deletion(family, entry) for entry in entries[start : start + _BATCH]]):
            if code != errno.ENOENT:
                raise OSError(code, os.strerror(code))
