# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A client's probe for the owner of an address: the route, the frames, and accepted answers."""

from __future__ import annotations

import ipaddress
from typing import Any

import pytest

from ansible_collections.homelab.loadbalancer.plugins.module_utils._probe.owners import (
    networks_of,
    question_frame,
    read_way,
)
from ansible_collections.homelab.loadbalancer.plugins.module_utils._probe.ports import (
    Answer,
    Target,
    host_header,
    settled,
)
from ansible_collections.homelab.loadbalancer.plugins.module_utils._virtual_address.neighbor import (
    Claim,
    checksum,
    read_claim,
)
from ansible_collections.homelab.loadbalancer.plugins.module_utils._virtual_address.plan import Address, Link

MAC = "02:00:00:00:00:03"
LINKS = {
    "eth0": Link("eth0", mac=MAC),
    "down": Link("down", mac=MAC, flags=frozenset()),
    "tun0": Link("tun0", ether=False),
}


@pytest.mark.parametrize(
    ("route", "reason"),
    [
        ({"dev": "eth0", "prefsrc": "172.16.0.21"}, ""),
        ({"dev": "eth0", "gateway": "172.16.0.254"}, "it is behind the router 172.16.0.254"),
        ({"dev": "eth0", "via": {"family": "inet6", "host": "fe80::1"}}, "it is behind the router fe80::1"),
        ({"type": "local", "dev": "lo"}, "this host has the address itself"),
        ({"dev": "down"}, "down is down"),
        ({"dev": "tun0"}, "tun0 has no ARP"),
        ({}, "this route has no ARP"),
    ],
)
def test_ways(route: dict[str, Any], reason: str) -> None:
    way = read_way(ipaddress.ip_address("172.16.0.100"), route, LINKS)
    assert (way.reason, way.macs, way.interface) == (reason, None, route.get("dev", ""))


def test_arp_request_has_the_sender_address() -> None:
    frame = question_frame(MAC, ipaddress.ip_address("172.16.0.21"), ipaddress.ip_address("172.16.0.100"))
    assert frame.hex(" ", 2) == (
        "ffff ffff ffff 0200 0000 0003 0806 0001 0800 0604 0001 0200 0000 0003 ac10 0015 0000 0000 0000 ac10 0064"
    )
    # Whoever hears it learns of the asker's address, and takes it for no claim of the other.
    assert read_claim(frame) == Claim(ipaddress.ip_address("172.16.0.21"), MAC)


def test_neighbor_solicitation_has_the_sender_address() -> None:
    frame = question_frame(MAC, ipaddress.ip_address("fd00::21"), ipaddress.ip_address("fd00::abcd:100"))
    assert frame[:6].hex(":") == "33:33:ff:cd:01:00"
    packet = frame[14:]
    assert packet[8:24] == ipaddress.ip_address("fd00::21").packed
    assert packet[40:] == (
        b"\x87\0" + packet[42:44] + bytes(4) + ipaddress.ip_address("fd00::abcd:100").packed + b"\1\1\2\0\0\0\0\3"
    )
    assert checksum(packet[8:40] + b"\0\0\0\x20\0\0\0\x3a" + packet[40:]) == 0


@pytest.mark.parametrize(
    ("protocol", "answer", "done"),
    [
        ("tcp", Answer("open", ""), True),
        ("tcp", Answer("silent", ""), False),
        ("udp", Answer("silent", ""), True),
        ("udp", Answer("refused", ""), False),
        ("http", Answer("open", "", status=404), True),
        ("http", Answer("open", "", status=503), False),
        ("http", Answer("open", ""), False),
    ],
)
def test_final_answers_are_not_retried(protocol: str, answer: Answer, done: bool) -> None:
    assert settled(Target("172.16.0.100", 80, protocol), answer) is done


def test_page_requested_by_name_must_exist() -> None:
    target = Target("", 80, "http", host="web.k8s.local")
    done = [status for status in (200, 302, 404, 503) if settled(target, Answer("open", "", status=status))]
    assert done == [200, 302]
    assert not settled(target, Answer("unresolved", ""))


@pytest.mark.parametrize(
    ("address", "host", "port", "header"),
    [
        ("172.16.0.100", "", 80, "172.16.0.100:80"),
        ("fd00::100", "", 80, "[fd00::100]:80"),
        ("172.16.0.100", "web.k8s.local", 8080, "web.k8s.local"),
        ("", "web.k8s.local", 80, "web.k8s.local"),
        ("", "web.k8s.local", 8080, "web.k8s.local:8080"),
        ("", "fd00::100", 80, "[fd00::100]"),
    ],
)
def test_request_has_the_host_header(address: str, host: str, port: int, header: str) -> None:
    assert host_header(Target(address, port, "http", host=host)) == header


def test_networks_in_which_neighbours_can_be_asked() -> None:
    def link(name: str, *addresses: str, **more: Any) -> Link:
        found = [ipaddress.ip_interface(one) for one in addresses]
        return Link(name, tuple(Address(one.ip, one.network.prefixlen) for one in found), **more)

    links = [
        link("eth0", "172.16.0.11/24", "172.16.0.100/32", "fe80::1/64", "fd00:16::11/64"),
        link("tun0", "10.8.0.2/24", ether=False),
    ]
    assert networks_of(links) == ["172.16.0.0/24", "172.16.0.100/32", "fd00:16::/64"]
