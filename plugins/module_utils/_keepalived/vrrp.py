# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Listen for the advertisements of virtual routers on a link: VRRP (RFC 5798, RFC 3768), IP protocol 112.

A packet socket also receives packets that this node's packet filter drops, and packets that this node sends itself.
"""

from __future__ import annotations

import contextlib
import select
import socket
import struct
import time
from typing import Any, Iterator, NamedTuple, Sequence

from .._virtual_address.neighbor import attach_filter

VRRP = 112

_ETH_P_ALL = 3  # the only protocol that also delivers outgoing packets
# VRRP's multicast groups, as `struct ip_mreqn` and `struct ipv6_mreq` begin; the link's index follows.
_GROUPS = (
    (socket.AF_INET, socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, bytes([224, 0, 0, 18]) + bytes(4)),
    (socket.AF_INET6, socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP, bytes([0xFF, 2]) + bytes(13) + bytes([0x12])),
)
# Classic BPF: pass IPv4 and IPv6 packets of protocol 112, drop the rest.
_FILTER = (
    (0x28, 0, 0, 0xFFFFF000),  # the kind of packet
    (0x15, 0, 2, 0x0800),
    (0x30, 0, 0, 9),
    (0x15, 3, 4, VRRP),
    (0x15, 0, 3, 0x86DD),
    (0x30, 0, 0, 6),
    (0x15, 0, 1, VRRP),
    (0x06, 0, 0, 0xFFFF),
    (0x06, 0, 0, 0),
)


class Advert(NamedTuple):
    """An advertisement of a virtual router's master. A priority of 0 says that the master stops."""

    family: str  # ipv4 | ipv6
    source: str
    version: int
    router_id: int
    priority: int
    interval: float  # seconds
    addresses: tuple[str, ...]


def read_advert(packet: bytes) -> Advert | None:
    """The advertisement in an IP packet; None for any other packet."""
    version = packet[0] >> 4 if packet else 0
    if version == 4:
        family, number, size = "ipv4", socket.AF_INET, 4
        start, source, protocol = (packet[0] & 15) * 4, packet[12:16], packet[9:10]
    elif version == 6:
        family, number, size = "ipv6", socket.AF_INET6, 16
        start, source, protocol = 40, packet[8:24], packet[6:7]
    else:
        return None
    body = packet[start:]
    if protocol != bytes([VRRP]) or len(body) < 8 or body[0] & 15 != 1:
        return None
    kind, router_id, priority, count = body[0] >> 4, body[1], body[2], body[3]
    # Version 2 counts seconds in one byte, version 3 hundredths of a second in twelve bits.
    interval = body[5] if kind == 2 else (int.from_bytes(body[4:6], "big") & 0xFFF) / 100
    listed = [body[at : at + size] for at in range(8, 8 + count * size, size)]
    addresses = tuple(socket.inet_ntop(number, raw) for raw in listed if len(raw) == size)
    return Advert(family, socket.inet_ntop(number, source), kind, router_id, priority, interval, addresses)


def listen(
    link: str,
    seconds: float,
    router_id: int | None = None,
    families: Sequence[str] | None = None,
    limit: float = 0,
) -> list[Advert]:
    """Listen on the link for some seconds; return the last advertisement of each source and router id.

    router_id -- return only advertisements with this id
    families -- listen again until each of these has exactly one master, for at most `limit` seconds in all
    Raises OSError, PermissionError among them: packet sockets need CAP_NET_RAW.
    """
    end = time.monotonic() + limit
    with _socket(link) as raw:
        while True:
            heard = _hear(raw, seconds)
            adverts = [advert for advert in heard if router_id in (None, advert.router_id)]
            masters = sorted(advert.family for advert in adverts if advert.priority)
            if not families or masters == sorted(families) or time.monotonic() + seconds > end:
                return adverts


def _hear(raw: socket.socket, seconds: float) -> list[Advert]:
    found: dict[tuple[str, int], Advert] = {}
    end = time.monotonic() + seconds
    while True:
        left = end - time.monotonic()
        if left <= 0 or not select.select([raw], [], [], left)[0]:
            return sorted(found.values())
        advert = read_advert(raw.recv(2048))
        if advert is not None:
            found[advert.source, advert.router_id] = advert


def report(advert: Advert) -> dict[str, Any]:
    """An advertisement as a module returns it."""
    return {**advert._asdict(), "addresses": list(advert.addresses)}


@contextlib.contextmanager
def _socket(link: str) -> Iterator[socket.socket]:
    """A packet socket on the link; while it is open, the node is a member of both VRRP multicast groups."""
    with contextlib.ExitStack() as stack:
        index = socket.if_nametoindex(link)
        # Join through UDP sockets, so that switches that watch memberships forward the packets.
        for family, level, option, group in _GROUPS:
            with contextlib.suppress(OSError):  # the link may lack one of the families
                request = group + struct.pack("i", index)
                stack.enter_context(socket.socket(family, socket.SOCK_DGRAM)).setsockopt(level, option, request)
        # Protocol 0 receives nothing until bind, so no packet arrives before the filter is attached.
        raw = stack.enter_context(socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, 0))
        attach_filter(raw, _FILTER)
        raw.bind((link, _ETH_P_ALL))
        yield raw
