# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which entries of connection tracking services have overtaken, and the messages by which they are read and deleted."""

from __future__ import annotations

import socket
from typing import Any

import pytest
from pyroute2.netlink.nfnetlink.nfctsocket import nfct_msg  # type: ignore[import-untyped]

from ansible_collections.homelab.loadbalancer.plugins.module_utils._iptables.fronts import fronts_in
from ansible_collections.homelab.loadbalancer.plugins.module_utils._iptables.layout import Options, layout
from ansible_collections.homelab.loadbalancer.plugins.module_utils._iptables.rules import Table
from ansible_collections.homelab.loadbalancer.plugins.module_utils._services import conntrack
from ansible_collections.homelab.loadbalancer.plugins.module_utils._services.conntrack import (
    Entry,
    decode,
    deletion,
    fronts_of,
    question,
    stale,
)
from ansible_collections.homelab.loadbalancer.plugins.module_utils._services.model import parse_services

VIP, NODE = ("192.168.10.100", 53), ("192.168.10.1", 30053)
POD, OLD, DOCKER = ("192.168.20.20", 5353), ("192.168.20.29", 5353), ("172.17.0.2", 53)
WANT = {VIP: frozenset({POD}), ("", 30053): frozenset({POD}), ("192.168.10.101", 53): frozenset()}
HEADER = 20  # nlmsghdr and nfgenmsg


@pytest.mark.parametrize(
    ("target", "answerer", "deleted"),
    [
        (VIP, POD, False),
        (VIP, VIP, True),  # sent before there was a service
        (VIP, OLD, True),
        (VIP, (POD[0], 53), True),  # the same endpoint, at the port it had
        (NODE, POD, False),
        (NODE, NODE, True),
        (NODE, OLD, True),
        (("192.168.20.1", 30053), OLD, True),  # at any address of the node
        (("192.168.10.77", 30053), ("192.168.10.77", 30053), False),  # another host's port
        (("192.168.10.101", 53), ("192.168.10.101", 53), True),  # no endpoints: it is refused from now on
        (("192.168.10.101", 53), OLD, True),
        (("192.168.10.102", 53), OLD, True),  # a VIP that is gone
        (("192.168.10.102", 53), ("192.168.10.102", 53), False),  # the node itself answered, and still does
        (("192.168.10.1", 30054), OLD, True),  # a node port that is gone
        (("192.168.10.1", 30054), ("192.168.10.1", 30054), False),
        (("192.168.10.77", 30054), OLD, False),
        # None of ours: another port of the VIP, another address, what others publish.
        ((VIP[0], 54), (VIP[0], 54), False),
        (("192.168.10.1", 53), ("192.168.10.1", 53), False),
        (("192.168.10.1", 53), DOCKER, False),
        (("8.8.8.8", 53), ("8.8.8.8", 53), False),
    ],
)
def test_stale_entries(target: tuple[str, int], answerer: tuple[str, int], deleted: bool) -> None:
    entry = Entry(target, answerer)
    have = {VIP, ("192.168.10.102", 53), ("", 30054)}
    assert stale([entry], have, WANT, {"192.168.10.1", "192.168.20.1"}) == ([entry] if deleted else [])


def test_a_service_at_an_address_of_the_node_goes_before_a_node_port() -> None:
    want = {("192.168.10.1", 53): frozenset({POD}), ("", 53): frozenset({OLD})}
    entries = [Entry(("192.168.10.1", 53), POD), Entry(("192.168.20.1", 53), POD)]
    assert stale(entries, set(), want, {"192.168.10.1", "192.168.20.1"}) == entries[1:]


def services(*ports: int, **others: Any) -> list[Any]:
    return parse_services(
        [
            {
                "name": "dns-%s-%d" % (protocol, port), "address": vip, "port": port, "protocol": protocol,
                "node_port": 30000 + port, "endpoints": [{"address": pod, "port": 5353}], **others,
            }
            for port in ports
            for protocol in ("udp", "tcp")
            for vip, pod in (("192.168.10.100", "192.168.20.20"),)
        ]
    )  # fmt: skip


@pytest.mark.parametrize("shape", ["kube-proxy", "compact"])
@pytest.mark.parametrize(
    "others",
    [{}, {"source_ranges": ["192.168.10.0/24"]}, {"session_affinity": {}}, {"endpoints": []}],
    ids=["plain", "ranges", "affinity", "empty"],
)
def test_fronts_are_read_from_our_own_rules(shape: str, others: dict[str, Any]) -> None:
    """Whatever the layout: of many ports at one address some rules only lead to others."""
    declared = services(*range(50, 130), **others)
    wanted = layout(declared, "ipv4", Options(layout=shape))
    have = {name: Table({}, table.chains) for name, table in wanted.items()}
    assert fronts_in(have, "LB-") == set(fronts_of(declared, "ipv4"))
    assert fronts_in(have, "XY-") == set()


def test_fronts_of_the_minimal_layout_are_read() -> None:
    declared = services(53, node_port=None)
    have = {n: Table({}, t.chains) for n, t in layout(declared, "ipv4", Options(layout="minimal")).items()}
    assert fronts_in(have, "LB-") == set(fronts_of(declared, "ipv4")) == {("192.168.10.100", 53)}


def test_only_udp_services_of_one_family_are_read() -> None:
    six = {"name": "dns6", "address": "fd00::1", "port": 53, "protocol": "udp", "endpoints": [{"address": "fd00::2"}]}
    assert fronts_of(parse_services([six]), "ipv4") == {}
    assert fronts_of(parse_services([six]), "ipv6") == {("fd00::1", 53): frozenset({("fd00::2", 53)})}
    assert fronts_of(services(53), "ipv4") == {VIP: frozenset({POD}), ("", 30053): frozenset({POD})}


# The messages, byte for byte as pyroute2 writes them


def tuple_of(source: tuple[str, int], target: tuple[str, int], protocol: int) -> dict[str, Any]:
    version = "V6" if ":" in source[0] else "V4"
    addresses = [("CTA_IP_%s_SRC" % version, source[0]), ("CTA_IP_%s_DST" % version, target[0])]
    proto = [("CTA_PROTO_NUM", protocol), ("CTA_PROTO_SRC_PORT", source[1]), ("CTA_PROTO_DST_PORT", target[1])]
    parts = [("CTA_TUPLE_IP", {"attrs": addresses}), ("CTA_TUPLE_PROTO", {"attrs": proto})]
    return {"attrs": parts}


def packed(*attributes: tuple[str, Any]) -> bytes:
    message = nfct_msg()
    message["attrs"] = list(attributes)
    message.encode()
    return bytes(message.data[HEADER:])


@pytest.mark.parametrize("protocol", [socket.IPPROTO_UDP, socket.IPPROTO_TCP])
@pytest.mark.parametrize(
    ("client", "target", "answerer"),
    [
        (("192.168.10.10", 40000), VIP, POD),
        (("fd00:10::10", 40000), ("fd00:10::100", 53), ("fd00:20::20", 5353)),
    ],
)
def test_an_entry_is_read_and_deleted_by_its_tuple_and_number(
    client: tuple[str, int], target: tuple[str, int], answerer: tuple[str, int], protocol: int
) -> None:
    orig = ("CTA_TUPLE_ORIG", tuple_of(client, target, protocol))
    raw = packed(
        orig, ("CTA_TUPLE_REPLY", tuple_of(answerer, client, protocol)), ("CTA_STATUS", 14),
        ("CTA_TIMEOUT", 30), ("CTA_ID", 7), ("CTA_ZONE", 2),
    )  # fmt: skip
    entry = decode(raw)
    if protocol != socket.IPPROTO_UDP:
        assert entry is None
        return
    assert entry == Entry(target, answerer, raw)
    message = deletion("ipv4", entry)
    assert message.kind == 0x102
    assert message.payload.replace(b"\x01\x80", b"\x01\x00", 1) == packed(orig, ("CTA_ZONE", 2), ("CTA_ID", 7))


def test_an_entry_without_a_tuple_is_never_a_deletion() -> None:
    """The kernel would take it for a wish to delete everything."""
    assert decode(packed(("CTA_STATUS", 14))) is None
    with pytest.raises(KeyError):
        deletion("ipv4", Entry(VIP, POD, packed(("CTA_STATUS", 14))))


def test_the_kernel_is_asked_for_one_family_and_protocol() -> None:
    message = question("ipv6")
    assert (message.kind, message.head) == (0x101, bytes([socket.AF_INET6, 0, 0, 0]))
    assert b"\x05\x00\x01\x00\x11" in message.payload


def test_without_udp_services_conntrack_is_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(conntrack, "Netlink")
    assert conntrack.forget_stale("ipv4", set(), {}, False) == (0, "")
