# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Conflicts of a service with its node: the node's own addresses, ports of programs, and the SSH port."""

from __future__ import annotations

import socket
import sys
from typing import Any

import pytest

from ansible_collections.homelab.loadbalancer.plugins.module_utils._services.model import Service, parse_services
from ansible_collections.homelab.loadbalancer.plugins.module_utils._services.sockets import (
    Answers,
    Socket,
    own_addresses,
    parse_sockets,
    taken,
)

NODE, VIP = "192.168.10.1", "192.168.10.100"
OWN = {NODE: "eth0", "fd00:10::1": "eth0"}


def service(**others: Any) -> list[Service]:
    given = {"name": "web", "address": VIP, "port": 80, **others}
    pod = "fd00:20::20" if ":" in given["address"] else "192.168.20.20"
    return parse_services([{**given, "endpoints": [{"address": pod}]}])


@pytest.mark.parametrize(
    ("declared", "bound", "message"),
    [
        ({}, [], ""),
        ({"address": NODE, "port": 22}, [], (
            "lb_services[0].address 192.168.10.1 is the node's own on eth0, so the service would take what the node "
            "answers at port 22: take another address, or list this one in lb_allow_own_addresses"
        )),
        ({"address": "fd00:10:0::1"}, [], "lb_services[0].address fd00:10::1 is the node's own"),
        # A server of the node at all addresses is no server for the VIP, and one at the VIP itself is.
        ({"port": 22}, [Socket("tcp", "0.0.0.0", 22), Socket("tcp", "::", 22), Socket("tcp", NODE, 22)], ""),
        ({"port": 22}, [Socket("tcp", VIP, 22)], (
            "lb_services[0].port 22 of 192.168.10.100 is where a program of the node listens (tcp 192.168.10.100 port "
            "22): take another one, stop that program, or list 22/tcp in lb_allow_listening_ports"
        )),
        ({"port": 53, "protocol": "udp"}, [Socket("tcp", VIP, 53)], ""),
        ({"port": 53, "protocol": "udp"}, [Socket("udp", VIP, 53)], "lb_services[0].port 53 of 192.168.10.100"),
        # A node port is open on all addresses of the node except loopback addresses.
        ({"node_port": 22}, [Socket("tcp", "0.0.0.0", 22)], (
            "lb_services[0].node_port 22 is where a program of the node listens (tcp all addresses port 22)"
        )),
        ({"node_port": 22}, [Socket("tcp", "::", 22)], "lb_services[0].node_port 22 is where"),
        ({"node_port": 22}, [Socket("tcp", NODE, 22)], "lb_services[0].node_port 22 is where"),
        ({"node_port": 22}, [Socket("tcp", "fd00:10::1", 22)], ""),
        ({"node_port": 22, "address": "fd00::9"}, [Socket("tcp", "fd00:10::1", 22)], "lb_services[0].node_port 22"),
        ({"node_port": 22, "address": "fd00::9"}, [Socket("tcp", "0.0.0.0", 22)], ""),
        ({"node_port": 53}, [Socket("tcp", "127.0.0.53", 53), Socket("tcp", "::1", 53), Socket("udp", "::", 53)], ""),
    ],
)  # fmt: skip
def test_ports_of_listening_sockets_are_refused(declared: dict[str, Any], bound: list[Socket], message: str) -> None:
    names = {name: "lb_" + name for name in ("allow_own_addresses", "allow_listening_ports")}
    said = taken(service(**declared), Answers(OWN, frozenset(bound)), set(), [], names)
    assert len(said) == bool(message)
    assert "".join(said).startswith(message)


def test_explicitly_listed_ports_are_accepted() -> None:
    bound = frozenset({Socket("tcp", NODE, 80), Socket("tcp", "::", 30080)})
    declared = service(address=NODE, node_port=30080)
    assert taken(declared, Answers(OWN, bound), {NODE}, ["80/tcp", "30080/tcp"], {}) == []
    assert len(taken(declared, Answers(OWN, bound), {NODE}, ["80/udp"], {})) == 2


@pytest.mark.parametrize("declared", [{"address": NODE, "port": 22}, {"node_port": 22}])
def test_ssh_port_is_never_taken(declared: dict[str, Any]) -> None:
    node = Answers(OWN, frozenset({Socket("tcp", NODE, 22)}), Socket("tcp", NODE, 22))
    (said,) = taken(service(**declared), node, {NODE}, ["22/tcp"], {})
    assert said.endswith("is where Ansible's own connection arrives: take another one")
    assert taken(service(address=NODE, port=2222, node_port=2223), node, {NODE}, [], {}) == []


def listed(address: str, prefix: int, **more: Any) -> tuple[str, dict[str, Any]]:
    family = "inet6" if ":" in address else "inet"
    return "eth0", {"family": family, "local": address, "prefixlen": prefix, "scope": "global", **more}


@pytest.mark.parametrize(
    ("entry", "sources", "own"),
    [
        (listed(NODE, 24), [], True),
        (listed("fd00:10::1", 64), [], True),
        (listed(VIP, 32), [], False),  # a VIP, whoever put it there: this role, keepalived, the administrator
        (listed("fd00:10::100", 128), [], False),
        (listed(VIP, 24, secondary=True), [], False),
        (listed("fd00:10::100", 64, deprecated=True), [], False),
        (listed("fd00:10::7", 64, secondary=True, temporary=True), [], True),  # privacy addresses of RFC 8981
        (listed(VIP, 24, metric=27746), [], False),
        (listed(VIP, 24, metric=27747), [], False),
        (listed(VIP, 24, metric=1024), [], True),  # systemd-networkd's for DHCP
        (listed("203.0.113.5", 32), ["203.0.113.5"], True),  # as some providers give a host its only address
        (listed("127.0.0.1", 8, scope="host"), [], False),
        (listed("fe80::1", 64, scope="link"), [], False),
    ],
)
def test_own_addresses_are_those_that_the_node_uses(entry: Any, sources: list[str], own: bool) -> None:
    assert own_addresses([entry], set(sources)) == ({entry[1]["local"]: "eth0"} if own else {})


HEADER = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"


def row(address: str, port: int, state: str) -> str:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    packed = socket.inet_pton(family, address)
    words = [int.from_bytes(packed[i : i + 4], sys.byteorder) for i in range(0, len(packed), 4)]
    return "   0: %s:%04X 00000000:0000 %s 00000000:00000000\n" % ("".join("%08X" % w for w in words), port, state)


def test_sockets_that_wait_are_read() -> None:
    table = HEADER + row("0.0.0.0", 22, "0A") + row(NODE, 22, "01") + row(VIP, 443, "0A")
    assert list(parse_sockets("tcp", "", table)) == [Socket("tcp", "0.0.0.0", 22), Socket("tcp", VIP, 443)]
    table = HEADER + row("::", 53, "07") + row("fd00:10::1", 40000, "01")
    assert list(parse_sockets("udp", "6", table)) == [Socket("udp", "::", 53)]
