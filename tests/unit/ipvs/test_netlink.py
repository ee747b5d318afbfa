# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The messages of IPVS, byte for byte as pyroute2 writes them."""

from __future__ import annotations

import socket
from typing import Any

import pytest
from pyroute2.netlink.generic.ipvs import ipvsmsg  # type: ignore[import-untyped]

from ansible_collections.homelab.loadbalancer.plugins.module_utils._ipvs import netlink as ipvs_netlink
from ansible_collections.homelab.loadbalancer.plugins.module_utils._ipvs.model import Front, RealServer, VirtualServer
from ansible_collections.homelab.loadbalancer.plugins.module_utils._ipvs.netlink import Change, Connections

FRONTS = {
    "ipv4": Front("ipv4", "tcp", "10.254.0.1", 80),
    "ipv6": Front("ipv6", "sctp", "fd00::1", 65535),
    "mark": Front("ipv4", mark=4294967295),
    "mark of ipv6": Front("ipv6", mark=7),
}
VIRTUAL = VirtualServer(FRONTS["ipv4"], "mh", 8 | 16, False, 300, "255.255.255.0", "sip")
REALS = [
    RealServer("10.0.0.2", 8080, "masquerade", 65535, 10, 5),
    RealServer("fd00::2", 80, "tunnel", 0),
    RealServer("10.0.0.3", 80, "direct"),
]
HEADER = 20  # nlmsghdr and genlmsghdr


def with_raw_addresses(nla_map: tuple[tuple[str, str], ...]) -> tuple[tuple[str, str], ...]:
    return tuple((name, "cdata" if name.endswith("_ADDR") else kind) for name, kind in nla_map)


class Message(ipvsmsg):
    """Pyroute2's, with addresses as long as ipvsadm makes them: the kernel's union of both families."""

    class service(ipvsmsg.service):  # noqa: N801 - pyroute2 finds it by this name
        nla_map = with_raw_addresses(ipvsmsg.service.nla_map)

    class dest(ipvsmsg.dest):  # noqa: N801
        nla_map = with_raw_addresses(ipvsmsg.dest.nla_map)


def union(address: str) -> bytes:
    return socket.inet_pton(socket.AF_INET6 if ":" in address else socket.AF_INET, address).ljust(16, b"\0")


def reference(*parts: tuple[str, list[tuple[str, Any]]]) -> bytes:
    message = Message()
    message["attrs"] = [("IPVS_CMD_ATTR_" + name, {"attrs": attributes}) for name, attributes in parts]
    message.encode()
    return bytes(message.data[HEADER:])


def front_attributes(front: Front) -> list[tuple[str, Any]]:
    family = {"ipv4": socket.AF_INET, "ipv6": socket.AF_INET6}[front.family]
    if front.mark:
        return [("IPVS_SVC_ATTR_AF", family), ("IPVS_SVC_ATTR_FWMARK", front.mark)]
    return [
        ("IPVS_SVC_ATTR_AF", family),
        ("IPVS_SVC_ATTR_PROTOCOL", {"tcp": 6, "udp": 17, "sctp": 132}[front.protocol]),
        ("IPVS_SVC_ATTR_ADDR", union(front.address)),
        ("IPVS_SVC_ATTR_PORT", front.port),
    ]


def real_attributes(real: RealServer) -> list[tuple[str, Any]]:
    return [
        ("IPVS_DEST_ATTR_ADDR", union(real.address)),
        ("IPVS_DEST_ATTR_PORT", real.port),
        ("IPVS_DEST_ATTR_FWD_METHOD", {"masquerade": 0, "tunnel": 2, "direct": 3}[real.forward]),
        ("IPVS_DEST_ATTR_WEIGHT", real.weight),
        ("IPVS_DEST_ATTR_U_THRESH", real.upper_threshold),
        ("IPVS_DEST_ATTR_L_THRESH", real.lower_threshold),
        ("IPVS_DEST_ATTR_ADDR_FAMILY", socket.AF_INET6 if ":" in real.address else socket.AF_INET),
    ]


@pytest.mark.parametrize("front", FRONTS.values(), ids=FRONTS)
def test_deletion_of_a_virtual_server_is_packed(front: Front) -> None:
    ours = ipvs_netlink.encode(Change(ipvs_netlink.DEL_SERVICE, VIRTUAL._replace(front=front)))
    assert ours == reference(("SERVICE", front_attributes(front)))


@pytest.mark.parametrize("front", [front for front in FRONTS.values() if front.family == "ipv4"])
@pytest.mark.parametrize(("one_packet", "timeout", "flags"), [(False, 0, 0), (True, 0, 4), (False, 60, 1)])
def test_virtual_server_is_packed(front: Front, one_packet: bool, timeout: int, flags: int) -> None:
    virtual = VIRTUAL._replace(front=front, one_packet=one_packet, timeout=timeout)
    options = [
        ("IPVS_SVC_ATTR_SCHED_NAME", "mh"),
        ("IPVS_SVC_ATTR_FLAGS", {"flags": 8 | 16 | flags, "mask": 0xFFFFFFFF}),
        ("IPVS_SVC_ATTR_TIMEOUT", timeout),
        ("IPVS_SVC_ATTR_NETMASK", "255.255.255.0"),
        ("IPVS_SVC_ATTR_PE_NAME", "sip"),
    ]
    for command in (ipvs_netlink.NEW_SERVICE, ipvs_netlink.SET_SERVICE):
        ours = ipvs_netlink.encode(Change(command, virtual))
        assert ours == reference(("SERVICE", front_attributes(front) + options))


@pytest.mark.parametrize("front", FRONTS.values(), ids=FRONTS)
@pytest.mark.parametrize("real", REALS, ids=lambda real: real.forward)
def test_real_server_is_packed(front: Front, real: RealServer) -> None:
    ours = ipvs_netlink.encode(Change(ipvs_netlink.NEW_DEST, VIRTUAL._replace(front=front), real))
    assert ours == reference(("SERVICE", front_attributes(front)), ("DEST", real_attributes(real)))


@pytest.mark.parametrize("front", FRONTS.values(), ids=FRONTS)
def test_packed_virtual_server_is_unpacked(front: Front) -> None:
    netmask = {"ipv4": "255.255.255.0", "ipv6": "64"}[front.family]
    virtual = VIRTUAL._replace(front=front, netmask=netmask)
    data = b"before" + ipvs_netlink.encode(Change(ipvs_netlink.NEW_SERVICE, virtual))
    assert ipvs_netlink.decode_virtual(data, 6, len(data)) == virtual


@pytest.mark.parametrize("real", REALS, ids=lambda real: real.forward)
def test_packed_real_server_is_unpacked(real: RealServer) -> None:
    counts = [("IPVS_DEST_ATTR_%s_CONNS" % name, i) for i, name in enumerate(("ACTIVE", "INACT", "PERSIST"), start=1)]
    # Many attributes of the kernel's answer are not used.
    extras = [("IPVS_DEST_ATTR_TUN_TYPE", 0), ("IPVS_DEST_ATTR_STATS64", {"attrs": [("IPVS_STATS_ATTR_CONNS", 5)]})]
    data = reference(("DEST", real_attributes(real) + counts + extras))
    assert ipvs_netlink.decode_real(data, 0, len(data), "ipv4") == (real, Connections(1, 2, 3))


def test_real_server_of_an_old_kernel_has_the_family_of_its_virtual_server() -> None:
    counts = [("IPVS_DEST_ATTR_%s_CONNS" % name, 0) for name in ("ACTIVE", "INACT", "PERSIST")]
    data = reference(("DEST", real_attributes(REALS[2])[:-1] + counts))
    assert ipvs_netlink.decode_real(data, 0, len(data), "ipv4")[0] == REALS[2]
