# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Probe and announce addresses on a link: ARP (RFC 826, RFC 5227) and neighbour discovery (RFC 4861, 4862).

This module builds and parses the frames itself: neither the kernel nor Python does, and a node may lack `arping`.
"""

from __future__ import annotations

import contextlib
import ctypes
import ipaddress
import select
import socket
import struct
import time
from typing import Collection, Iterator, NamedTuple, Sequence, Union

IPAddress = Union[ipaddress.IPv4Address, ipaddress.IPv6Address]

ETH_P_ARP = 0x0806
ETH_P_IPV6 = 0x86DD
ICMPV6 = 58
NEIGHBOR_SOLICITATION = 135
NEIGHBOR_ADVERTISEMENT = 136

_TO_US = (0, 1, 2)  # PACKET_HOST, PACKET_BROADCAST, PACKET_MULTICAST, which Python has only on Linux
_BROADCAST = b"\xff" * 6
_NO_MAC = bytes(6)
_ALL_NODES = ipaddress.IPv6Address("ff02::1")

# Not in Python's socket module: linux/if_packet.h, asm-generic/socket.h.
_SOL_PACKET = 263
_PACKET_ADD_MEMBERSHIP = 1
_PACKET_MR_MULTICAST = 0
_SO_ATTACH_FILTER = 26

# Classic BPF: pass ICMPv6 neighbour solicitations and advertisements, drop all other frames.
# Without the filter, the traffic of a busy router would push the answers out of the receive buffer.
_NDP_FILTER = (
    (0x30, 0, 0, 20),
    (0x15, 0, 4, ICMPV6),
    (0x30, 0, 0, 54),
    (0x15, 1, 0, NEIGHBOR_SOLICITATION),
    (0x15, 0, 1, NEIGHBOR_ADVERTISEMENT),
    (0x06, 0, 0, 0xFFFF),
    (0x06, 0, 0, 0),
)


class Claim(NamedTuple):
    """A host's claim that it has, or is about to take, an address."""

    ip: IPAddress
    mac: str


def probe(
    link: str,
    mac: str,
    own: Collection[str],
    addresses: Sequence[IPAddress],
    *,
    rounds: int = 3,
    interval: float = 0.2,
) -> dict[IPAddress, str]:
    """Probe all addresses on the link at once. Returns the MAC address of the host that claims each one.

    mac -- the link's own MAC address
    own -- all MAC addresses of this node; its own answers are no conflict
    rounds, interval -- number of probes, and seconds to listen after each. RFC 5227 wants three probes with waits of
        seconds, for slow hosts. On a LAN, an answer takes milliseconds.
    Raises OSError, including PermissionError: raw packets need CAP_NET_RAW.
    """
    asked = set(addresses)
    claimed: dict[IPAddress, str] = {}
    with open_sockets(link, addresses) as sockets:
        for _turn in range(rounds):
            for ip in addresses:
                if ip not in claimed:
                    sockets[ip.version].send(probe_frame(mac, ip))
            for claim in listen(list(sockets.values()), interval):
                if claim.ip in asked and claim.mac not in own:
                    claimed[claim.ip] = claim.mac
                if len(claimed) == len(asked):
                    return claimed
    return claimed


def announce(
    link: str,
    mac: str,
    addresses: Sequence[IPAddress],
    *,
    router: bool = False,
    rounds: int = 3,
    interval: float = 0.1,
) -> None:
    """Announce the addresses on the link, so that other hosts update their caches after a move.

    router -- whether this node forwards IPv6. If an advertisement says that it is not a router, other hosts stop using
        it as one (RFC 4861).
    """
    if not addresses:
        return
    with open_sockets(link, addresses) as sockets:
        for turn in range(rounds):
            if turn:
                time.sleep(interval)
            for ip in addresses:
                for frame in announcement_frames(mac, ip, router):
                    sockets[ip.version].send(frame)


def probe_frame(mac: str, ip: IPAddress) -> bytes:
    """A probe without a sender address, so that it claims nothing and changes no cache."""
    if isinstance(ip, ipaddress.IPv4Address):
        return arp(1, mac, ipaddress.IPv4Address(0), _NO_MAC, ip)
    body = struct.pack("!BBHI", NEIGHBOR_SOLICITATION, 0, 0, 0) + ip.packed
    return icmpv6(mac, ipaddress.IPv6Address(0), solicited_node(ip), body)


def announcement_frames(mac: str, ip: IPAddress, router: bool = False) -> list[bytes]:
    """Gratuitous ARP in both forms (hosts differ in which one they accept), or an unsolicited advertisement."""
    if isinstance(ip, ipaddress.IPv4Address):
        return [arp(1, mac, ip, _NO_MAC, ip), arp(2, mac, ip, mac_bytes(mac), ip)]
    flags = 0x20000000 | (0x80000000 if router else 0)  # override; not solicited
    body = struct.pack("!BBHI", NEIGHBOR_ADVERTISEMENT, 0, 0, flags) + ip.packed + b"\x02\x01" + mac_bytes(mac)
    return [icmpv6(mac, ip, _ALL_NODES, body)]


def read_claim(frame: bytes) -> Claim | None:
    """The claim in a frame: a host says that it has an address, or probes it as we do. None for any other frame."""
    kind = int.from_bytes(frame[12:14], "big")
    if kind == ETH_P_ARP and len(frame) >= 42 and frame[14:20] == b"\x00\x01\x08\x00\x06\x04":
        sender = ipaddress.IPv4Address(frame[28:32])
        probed = ipaddress.IPv4Address(frame[38:42])
        return Claim(probed if sender == ipaddress.IPv4Address(0) else sender, _mac_text(frame[22:28]))
    # A hop limit of 255 shows that no router has forwarded it (RFC 4861, 7.1).
    if kind != ETH_P_IPV6 or len(frame) < 78 or frame[20] != ICMPV6 or frame[21] != 255:
        return None
    source = ipaddress.IPv6Address(frame[22:38])
    target = ipaddress.IPv6Address(frame[62:78])
    if frame[54] == NEIGHBOR_SOLICITATION:
        return Claim(target if source.is_unspecified else source, _mac_text(frame[6:12]))
    if frame[54] == NEIGHBOR_ADVERTISEMENT:
        return Claim(target, _mac_text(frame[80:86] if frame[78:80] == b"\x02\x01" else frame[6:12]))
    return None


def solicited_node(ip: ipaddress.IPv6Address) -> ipaddress.IPv6Address:
    """The multicast group that an address's owner listens to (RFC 4291, 2.7.1)."""
    return ipaddress.IPv6Address(bytes.fromhex("ff0200000000000000000001ff") + ip.packed[13:])


def arp(
    operation: int, mac: str, sender: ipaddress.IPv4Address, target_mac: bytes, target: ipaddress.IPv4Address
) -> bytes:
    own = mac_bytes(mac)
    head = struct.pack("!HHBBH", 1, 0x0800, 6, 4, operation)
    return _ethernet(_BROADCAST, own, ETH_P_ARP, head + own + sender.packed + target_mac + target.packed)


def icmpv6(mac: str, source: ipaddress.IPv6Address, group: ipaddress.IPv6Address, body: bytes) -> bytes:
    pseudo = source.packed + group.packed + struct.pack("!II", len(body), ICMPV6)
    body = body[:2] + struct.pack("!H", checksum(pseudo + body)) + body[4:]
    header = struct.pack("!IHBB", 0x60000000, len(body), ICMPV6, 255) + source.packed + group.packed
    return _ethernet(_group_mac(group), mac_bytes(mac), ETH_P_IPV6, header + body)


def _ethernet(to: bytes, sender: bytes, kind: int, payload: bytes) -> bytes:
    return to + sender + struct.pack("!H", kind) + payload


def checksum(data: bytes) -> int:
    """The Internet checksum (RFC 1071) of an even number of bytes."""
    total: int = sum(struct.unpack("!%dH" % (len(data) // 2), data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def _group_mac(group: ipaddress.IPv6Address) -> bytes:
    return b"\x33\x33" + group.packed[12:]


def mac_bytes(mac: str) -> bytes:
    return bytes.fromhex(mac.replace(":", ""))


def _mac_text(mac: bytes) -> str:
    return ":".join("%02x" % byte for byte in mac)


@contextlib.contextmanager
def open_sockets(link: str, addresses: Sequence[IPAddress]) -> Iterator[dict[int, socket.socket]]:
    """A raw socket for each IP version among the addresses, by version."""
    with contextlib.ExitStack() as stack:
        sockets: dict[int, socket.socket] = {}
        for version in sorted({ip.version for ip in addresses}):
            # With protocol 0, the socket receives nothing before bind, so no frame bypasses the filter.
            raw = stack.enter_context(socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0))
            if version == 6:
                attach_filter(raw, _NDP_FILTER)
            raw.bind((link, ETH_P_IPV6 if version == 6 else ETH_P_ARP))
            sockets[version] = raw
        for ip in addresses:
            if isinstance(ip, ipaddress.IPv6Address):
                _join(sockets[6], link, _group_mac(solicited_node(ip)))
        yield sockets


def attach_filter(raw: socket.socket, program: Sequence[tuple[int, int, int, int]]) -> None:
    """Limit a socket to the frames that a classic BPF program accepts (code, jt, jf, k; linux/filter.h)."""
    code = b"".join(struct.pack("HBBI", *instruction) for instruction in program)
    buffer = ctypes.create_string_buffer(code, len(code))
    pointer = struct.pack("HP", len(program), ctypes.addressof(buffer))
    raw.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, pointer)


def _join(raw: socket.socket, link: str, group: bytes) -> None:
    """Receive frames to the group until the socket is closed, because another host may probe the same address."""
    request = struct.pack("iHH8s", socket.if_nametoindex(link), _PACKET_MR_MULTICAST, len(group), group)
    raw.setsockopt(_SOL_PACKET, _PACKET_ADD_MEMBERSHIP, request)


def listen(sockets: Sequence[socket.socket], seconds: float) -> Iterator[Claim]:
    """The claims that arrive within the given number of seconds."""
    end = time.monotonic() + seconds
    while True:
        left = end - time.monotonic()
        if left <= 0:
            return
        for raw in select.select(sockets, [], [], left)[0]:
            frame, sender = raw.recvfrom(2048)
            # Skip this node's own frames, and frames to other hosts, which may come from another VLAN.
            claim = read_claim(frame) if sender[2] in _TO_US else None
            if claim is not None:
                yield claim
