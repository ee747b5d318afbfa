# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Parsing and judging VRRP advertisements."""

from __future__ import annotations

import socket
import struct
from typing import Any

import pytest

from ansible_collections.homelab.loadbalancer.plugins.filter.vrrp_faults import vrrp_faults
from ansible_collections.homelab.loadbalancer.plugins.module_utils._keepalived.vrrp import Advert, read_advert


def ipv4(body: bytes, protocol: int = 112, options: bytes = b"") -> bytes:
    head = struct.pack("!BBHHHBBH", 0x45 + len(options) // 4, 0xC0, 0, 1, 0, 255, protocol, 0)
    return head + socket.inet_aton("192.168.10.2") + socket.inet_aton("224.0.0.18") + options + body


def ipv6(body: bytes, protocol: int = 112) -> bytes:
    head = struct.pack("!IHBB", 0x60000000, len(body), protocol, 255)
    return head + socket.inet_pton(socket.AF_INET6, "fe80::2") + socket.inet_pton(socket.AF_INET6, "ff02::12") + body


VIP = socket.inet_aton("192.168.10.100")
VIP6 = socket.inet_pton(socket.AF_INET6, "fd00:10::100")


@pytest.mark.parametrize(
    ("packet", "advert"),
    [
        (
            ipv4(bytes([0x31, 51, 150, 1, 0, 50, 0, 0]) + VIP),
            Advert("ipv4", "192.168.10.2", 3, 51, 150, 0.5, ("192.168.10.100",)),
        ),
        (
            ipv4(bytes([0x21, 7, 100, 1, 0, 2, 0, 0]) + VIP + bytes(8)),  # with the place for a password
            Advert("ipv4", "192.168.10.2", 2, 7, 100, 2, ("192.168.10.100",)),
        ),
        (
            ipv4(bytes([0x31, 51, 0, 0, 0x0F, 0xFF, 0, 0]), options=bytes(4)),
            Advert("ipv4", "192.168.10.2", 3, 51, 0, 40.95, ()),
        ),
        (
            ipv6(bytes([0x31, 51, 150, 1, 0, 100, 0, 0]) + VIP6),
            Advert("ipv6", "fe80::2", 3, 51, 150, 1, ("fd00:10::100",)),
        ),
        # Cut short: the addresses that are whole.
        (
            ipv4(bytes([0x31, 1, 1, 9, 0, 100, 0, 0]) + VIP + VIP[:3]),
            Advert("ipv4", "192.168.10.2", 3, 1, 1, 1, ("192.168.10.100",)),
        ),
        (ipv4(bytes([0x31, 51, 150, 0, 0])), None),
        (ipv4(bytes([0x32, 51, 150, 0, 0, 50, 0, 0])), None),  # no advertisement
        (ipv4(bytes([0x31, 51, 150, 0, 0, 50, 0, 0]), protocol=17), None),
        (ipv6(bytes([0x31, 51, 150, 0, 0, 50, 0, 0]), protocol=58), None),
        (b"", None),
        (b"\x45", None),
        (b"\x60", None),
        (b"\x00\x01\x08\x00", None),
    ],
)
def test_read_advert(packet: bytes, advert: Advert | None) -> None:
    assert read_advert(packet) == advert


def heard(source: str, router_id: int = 51, priority: int = 150, vip: str = "192.168.10.100") -> dict[str, Any]:
    family = "ipv6" if ":" in source else "ipv4"
    return Advert(family, source, 3, router_id, priority, 1, (vip,))._asdict()


def director(number: int, *adverts: dict[str, Any], **values: Any) -> dict[str, Any]:
    """The report of director N, which holds no VIP."""
    return {
        "host": "director%d" % number,
        "interface": "eth0",
        "router_id": 51,
        "priority": 200 - number,
        "vips": ["192.168.10.100"],
        "addresses": ["192.168.10.%d/24" % number, "fe80::%d/64" % number],
        "adverts": list(adverts),
        **values,
    }


def holder(number: int, *adverts: dict[str, Any], vip: str = "192.168.10.100/32") -> dict[str, Any]:
    report = director(number, *adverts)
    return {**report, "addresses": [*report["addresses"], vip]}


ONE, TWO = heard("192.168.10.1"), heard("192.168.10.2", priority=100)
BOTH = ["192.168.10.100", "fd00:10::100"]


@pytest.mark.parametrize(
    ("reports", "fault"),
    [
        ([director(1), director(2)], ""),
        ([director(1, ONE, TWO), director(2)], ""),  # our own directors
        ([director(1), director(2, priority=199)], "vip_failover_priority 199 is also that of director2"),
        ([director(1), director(2, priority=199, router_id=52)], ""),
        ([director(1), director(2, vips=["192.168.10.101"])], "vip_failover_router_id 51 is also that of director2"),
        # The same number in another network is no conflict.
        ([director(1), director(2, vips=["10.1.1.1"], addresses=["10.1.1.2/24", "fe80::2/64"])], ""),
        ([director(1, heard("192.168.10.77", vip="192.168.10.99"))], "192.168.10.77 advertises vip_failover_router_id"),
        ([director(1, heard("192.168.10.77", router_id=52, vip="192.168.10.99"))], ""),
        ([director(1, heard("192.168.10.77", priority=0, vip="192.168.10.99"))], ""),  # it stops
        ([director(1, heard("192.168.10.77"))], ""),  # for our VIPs: a director that is not in this play
    ],
)
def test_faults_before_it_runs(reports: list[dict[str, Any]], fault: str) -> None:
    found = vrrp_faults(reports, "director1")
    assert fault in "".join(found)
    assert len(found) == bool(fault)


@pytest.mark.parametrize(
    ("reports", "fault"),
    [
        ([holder(1, ONE), director(2, ONE)], ""),
        ([director(1, TWO), holder(2, TWO)], ""),
        ([director(1, TWO)], ""),  # a play for one of them
        ([holder(1, ONE, heard("192.168.10.2", priority=0)), director(2, ONE)], ""),  # the other has stopped
        ([director(1), director(2)], "no director advertises vip_failover_router_id 51 for IPv4 on eth0"),
        (
            [holder(1, ONE), holder(2, TWO)],
            "split brain: 192.168.10.1 (director1) and 192.168.10.2 (director2) advertise",
        ),
        ([holder(1, ONE, heard("192.168.10.9"))], "192.168.10.9 (not a director of this play)"),
        ([director(1, ONE), director(2, ONE)], "192.168.10.100 is not on eth0, although this director is the master"),
        ([holder(1, TWO), holder(2, TWO)], "192.168.10.100 is on eth0 of this director, although 192.168.10.2"),
        (
            [{**holder(1, ONE), "vips": BOTH}, director(2, ONE, vips=BOTH)],
            "no director advertises vip_failover_router_id 51 for IPv6",
        ),
        (
            [
                {**holder(1, heard("fe80::1"), vip="fd00:10::100/128"), "vips": BOTH[1:]},
                director(2, heard("fe80::1"), vips=BOTH[1:]),
            ],
            "",
        ),
    ],
)
def test_faults_while_it_runs(reports: list[dict[str, Any]], fault: str) -> None:
    found = vrrp_faults(reports, "director1", running=True)
    assert fault in "".join(found)
    assert len(found) == bool(fault)
