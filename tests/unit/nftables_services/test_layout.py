# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The table by the way of a packet: a connection from here to there ends at these endpoints, masqueraded or not."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.homelab.loadbalancer.plugins.module_utils._nftables_services.layout import (
    Blocks,
    Options,
    client_maps,
    layout,
)
from ansible_collections.homelab.loadbalancer.plugins.module_utils._services.model import PROTOCOLS, parse_services
from ansible_collections.homelab.loadbalancer.plugins.module_utils._services.planes import NFTABLES_MARK
from ansible_collections.homelab.loadbalancer.tests.unit.nftables_services.packet_walk import End, Packet, Walk

VIP, VIP6, CLIENT, CLIENT6 = "192.168.10.100", "fd00:10::100", "192.168.10.10", "fd00:10::10"
POD1, POD2, POD6 = "192.168.20.21", "192.168.20.22", "fd00:20::21"
NODE, NODE6 = "192.168.10.1", "fd00:10::1"
SPELLED = {protocol: protocol for protocol in PROTOCOLS}
TO1, TO2 = End(POD1, 8080, "accept", True), End(POD2, 8080, "accept", True)
STICKY = {"session_affinity": {"timeout": 60}}


def service(*pods: str, **others: Any) -> dict[str, Any]:
    front = {"name": "web", "address": VIP, "port": 80, "endpoints": [{"address": pod, "port": 8080} for pod in pods]}
    return {**front, **others}


def weighted(*weights: int, **others: Any) -> dict[str, Any]:
    """A service whose first pod is 10.0.0.1."""
    ends = [{"address": "10.0.0.%d" % i, "port": 8080, "weight": weight} for i, weight in enumerate(weights, start=1)]
    return {**service(**others), "endpoints": ends}


def blocks(services: list[dict[str, Any]], **options: Any) -> Blocks:
    return layout(parse_services(services), Options(**options), SPELLED)


def walk(services: list[dict[str, Any]], **options: Any) -> Walk:
    return Walk(blocks(services, **options))


def from_client(target: str = VIP, port: int = 80, **others: Any) -> Packet:
    source = CLIENT6 if ":" in target else CLIENT
    return Packet(**{"source": source, "target": target, "port": port, "to_node": True, **others})


def untouched(packet: Packet, verdict: str = "accept") -> dict[End, float]:
    return {End(packet.target, packet.port, verdict, False): 1}


def test_one_endpoint() -> None:
    ways = walk([service(POD1)])
    assert ways.connect(from_client()) == {TO1: 1}
    for other in (from_client(port=81), from_client(protocol="udp"), from_client("192.168.10.101"), from_client(VIP6)):
        assert ways.connect(other) == untouched(other)


def test_no_services_and_no_isolation_need_no_table() -> None:
    assert blocks([]) == {}


def test_table_is_marked_as_ours() -> None:
    for made in (blocks([service(POD1)]), blocks([], isolate=(("eth0", "eth1"),))):
        assert ("set", NFTABLES_MARK) in made


def test_both_families() -> None:
    services = [service(POD1), service(POD6, name="web6", address=VIP6)]
    ways = walk(services)
    assert ways.connect(from_client()) == {TO1: 1}
    assert ways.connect(from_client(VIP6)) == {End(POD6, 8080, "accept", True): 1}
    alone = blocks([services[1]])
    assert not [name for dummy, name in alone if name.endswith("-ip") or "-ip-" in name]


def test_protocols_share_an_address_and_port() -> None:
    services = [service("10.0.0.%d" % i, name=name, protocol=name) for i, name in enumerate(PROTOCOLS, start=1)]
    ways = walk(services)
    for i, protocol in enumerate(PROTOCOLS, start=1):
        end = End("10.0.0.%d" % i, 8080, "accept", True)
        assert ways.connect(from_client(protocol=protocol)) == {end: 1}


def test_protocols_are_spelled_as_nft_spells_them() -> None:
    made = layout(parse_services([service(POD1, protocol="sctp")]), Options(), {**SPELLED, "sctp": "132"})
    assert list(made["map", "services-ip"].elements) == [VIP + " . 132 . 80"]


@pytest.mark.parametrize("weights", [(1, 1), (1, 2, 5), (1,) * 5, (65535, 1), (3,) * 40, (1, 65535, 7, 100)])
def test_shares(weights: tuple[int, ...]) -> None:
    found = walk([weighted(*weights)]).connect(from_client())
    expected = {
        End("10.0.0.%d" % i, 8080, "accept", True): weight / sum(weights) for i, weight in enumerate(weights, start=1)
    }
    assert found == pytest.approx(expected)


CHAINS = [
    ([(1,)], set()),
    ([(7,)], set()),
    ([(1, 1), (5, 5)], {"of-2"}),
    ([(2, 4, 6), (1, 2, 3)], {"weights-1-2-3"}),
    ([(1, 2), (2, 1)], {"weights-1-2", "weights-2-1"}),
    ([(1,) * 20, (1, 1)], {"of-20", "of-2"}),
    ([(1, 65535, 65533)], {"weights-1-65535-65533"}),
    ([(1, 65535, 65533, 65531, 65529)], {"weights-HASH"}),
]


@pytest.mark.parametrize(("declared", "chains"), CHAINS)
def test_services_with_equal_weights_share_a_chain(declared: list[tuple[int, ...]], chains: set[str]) -> None:
    made = blocks([weighted(*weights, name="s%d" % i, port=80 + i) for i, weights in enumerate(declared)])
    found = {name for kind, name in made if kind == "chain" and name.startswith(("of-", "weights-"))}
    hashed = {name for name in found if len(name) == len("weights-") + 16 and name.count("-") == 1}
    assert found - hashed | ({"weights-HASH"} if hashed else set()) == chains
    assert max(map(len, found), default=0) <= 32


def test_elements_of_one_service() -> None:
    made = blocks([weighted(1, 2, node_port=30080)])
    front, node = VIP + " . tcp . 80", "tcp . 30080"
    assert {name: block.elements for (kind, name), block in made.items() if kind != "chain"} == {
        NFTABLES_MARK: {},
        "services-ip": {front: "goto weights-1-2"},
        "addresses-ip-0": {front: "10.0.0.1"},
        "ports-ip-0": {front: "8080"},
        "addresses-ip-1": {front: "10.0.0.2"},
        "ports-ip-1": {front: "8080"},
        "node-services-ip": {node: "goto node-weights-1-2"},
        "node-addresses-ip-0": {node: "10.0.0.1"},
        "node-ports-ip-0": {node: "8080"},
        "node-addresses-ip-1": {node: "10.0.0.2"},
        "node-ports-ip-1": {node: "8080"},
    }


def test_number_of_rules_does_not_grow_with_services() -> None:
    def rules(count: int) -> int:
        services = [service(POD1, POD2, name="s%d" % port, port=port) for port in range(1, count + 1)]
        return sum(len(block.rules) for block in blocks(services).values())

    assert rules(1) == rules(100)


@pytest.mark.parametrize("masquerade", [True, False])
def test_foreign_sources_are_masqueraded(masquerade: bool) -> None:
    declared = [service(POD1), service(POD2, name="sticky", port=81, **STICKY)]
    ways = walk(declared, masquerade=masquerade, pod_cidr={"ipv4": "192.168.20.0/24"})
    for port, end in ((80, TO1), (81, TO2)):
        for packet in (from_client(port=port), from_client(port=port, from_node=True)):
            assert ways.connect(packet) == {end._replace(masqueraded=masquerade): 1}
    # A pod to another: its address stays. To itself: never.
    assert ways.connect(Packet(POD2, VIP, 80)) == {TO1._replace(masqueraded=False): 1}
    assert ways.connect(Packet(POD1, VIP, 80)) == {TO1: 1}
    assert ways.connect(Packet(POD2, VIP, 81)) == {TO2: 1}


def test_pod_cidr_of_one_family_leaves_the_other() -> None:
    services = [service(POD1), service(POD6, name="web6", address=VIP6)]
    ways = walk(services, pod_cidr={"ipv4": "192.168.20.0/24", "ipv6": ""})
    assert ways.connect(Packet(POD2, VIP, 80)) == {TO1._replace(masqueraded=False): 1}
    assert ways.connect(Packet("fd00:20::22", VIP6, 80)) == {End(POD6, 8080, "accept", True): 1}
    only6 = walk([services[0]], pod_cidr={"ipv4": "", "ipv6": "fd00:20::/64"})
    assert only6.connect(from_client()) == {TO1: 1}


@pytest.mark.parametrize("options", [{}, {"masquerade": False}, {"pod_cidr": {"ipv4": "192.168.20.0/24"}}])
@pytest.mark.parametrize("extra", [{}, STICKY, {"node_port": 30080}])
def test_hairpin_connections_are_masqueraded(options: dict[str, Any], extra: dict[str, Any]) -> None:
    ways = walk([service(POD1, **extra)], **options)
    for target, port in ((VIP, 80), (NODE, 30080)) if "node_port" in extra else ((VIP, 80),):
        assert ways.connect(Packet(POD1, target, port, to_node=True)) == {TO1: 1}


@pytest.mark.parametrize("masquerade", [True, False])
def test_foreign_packets_are_untouched(masquerade: bool) -> None:
    ways = walk([service(POD1, node_port=30080), service(name="none", port=82)], masquerade=masquerade)
    for packet in (Packet(CLIENT, POD1, 8080), Packet(CLIENT, "10.9.9.9", 80), Packet(CLIENT, POD1, 30080)):
        assert ways.connect(packet) == untouched(packet)


@pytest.mark.parametrize("mark", [1, 0x1000, 1 << 31])
def test_mark_keeps_other_bits_and_ends_at_postrouting(mark: int) -> None:
    ways = walk([service(POD1)], mark=mark)
    ((end, packet, dummy),) = ways.ends(from_client(mark=0x42000))
    assert (end, packet.mark) == (TO1, 0x42000)
    foreign = from_client(port=81, mark=0x42000)
    assert ways.connect(foreign) == untouched(foreign)


RANGES = [
    (["192.168.10.0/28", "10.0.0.0/8"], ["192.168.10.10", "10.1.2.3"], ["192.168.10.16", "11.0.0.1"]),
    (["10.0.0.0/8", "10.1.0.0/16", "10.1.2.3/32"], ["10.1.2.3", "10.255.0.1"], ["11.0.0.1"]),
    (["10.0.0.0/25", "10.0.0.128/25"], ["10.0.0.1", "10.0.0.200"], ["10.0.1.0"]),
    (["192.168.10.7/32"], ["192.168.10.7"], ["192.168.10.6", "192.168.10.8"]),
    (["10.0.0.0/8", "0.0.0.0/0"], ["10.0.0.1", "192.168.10.16"], []),
    (["0.0.0.0/1", "128.0.0.0/1"], ["10.0.0.1", "192.168.10.16"], []),
]


@pytest.mark.parametrize(("ranges", "allowed", "others"), RANGES)
def test_source_ranges(ranges: list[str], allowed: list[str], others: list[str]) -> None:
    services = [service(POD1, source_ranges=ranges, node_port=30080), service(POD2, name="open", port=81)]
    ways = walk(services)
    for target, port in ((VIP, 80), (NODE, 30080)):
        to = from_client(target, port)
        for source in allowed:
            assert ways.connect(to._replace(source=source)) == {TO1: 1}
        for source in others:
            assert ways.connect(to._replace(source=source)) == untouched(to, "drop")
        assert ways.connect(to._replace(source="203.0.113.1", from_node=True)) == {TO1: 1}
    assert ways.connect(from_client(port=81)._replace(source="203.0.113.1")) == {TO2: 1}


def test_source_ranges_in_ipv6() -> None:
    ways = walk([service(POD6, address=VIP6, source_ranges=["fd00:10::10/128", "fd00:11::/64", "fd00:12::/48"])])
    for source in (CLIENT6, "fd00:11::1", "fd00:12::", "fd00:12::1", "fd00:12:0:ffff:ffff:ffff:ffff:ffff"):
        assert ways.connect(from_client(VIP6)._replace(source=source)) == {End(POD6, 8080, "accept", True): 1}
    for source in ("fd00:10::11", "fd00:12:1::", "fd00:11:ffff:ffff:ffff:ffff:ffff:ffff"):
        assert ways.connect(from_client(VIP6)._replace(source=source)) == untouched(from_client(VIP6), "drop")


def test_wide_networks_of_ipv6_are_written_as_ranges() -> None:
    """nft 0.9.8 lists each of them as a /64."""
    made = blocks([service(POD6, address=VIP6, source_ranges=["fd00:11::/64", "fd00:12::/48"])])
    front = VIP6 + " . tcp . 80 . "
    assert [element[len(front) :] for element in made["set", "allowed-ip6"].elements] == [
        "fd00:11::/64",
        "fd00:12::-fd00:12:0:ffff:ffff:ffff:ffff:fffe",
        "fd00:12:0:ffff:ffff:ffff:ffff:ffff",
    ]


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_no_endpoints(protocol: str) -> None:
    ways = walk([service(protocol=protocol, **STICKY), service(POD1, name="other", port=81)])
    for packet in (
        from_client(protocol=protocol),
        from_client(protocol=protocol, from_node=True),
        from_client(protocol=protocol, to_node=False),  # the VIP need not be an address of the node
    ):
        assert ways.connect(packet) == untouched(packet, "reject")
    assert ways.connect(from_client(port=81)) == {TO1: 1}


def test_translation_stays_without_endpoints() -> None:
    """Without a chain of the type nat, the kernel would stop translating open connections."""
    made = blocks([service()])
    hooks = [line for block in made.values() for line in block.lines if line.startswith("type nat hook")]
    assert len(hooks) == 3


def test_node_ports() -> None:
    services = [service(POD1, node_port=30080), service(port=81, name="none", node_port=30081)]
    services += [service(POD6, name="web6", address=VIP6, node_port=30080)]
    ways = walk(services)
    for address in (NODE, "192.168.20.1", VIP):
        refused = from_client(address, 30081)
        assert ways.connect(from_client(address, 30080)) == {TO1: 1}
        assert ways.connect(refused) == untouched(refused, "reject")
    for address in (NODE6, VIP6):
        assert ways.connect(from_client(address, 30080)) == {End(POD6, 8080, "accept", True): 1}
    elsewhere = from_client(NODE, 30080, to_node=False)
    assert ways.connect(elsewhere) == untouched(elsewhere)
    for address in ("127.0.0.1", "127.1.2.3", "::1"):
        for port in (30080, 30081):
            packet = Packet(address, address, port, to_node=True, from_node=True)
            assert ways.connect(packet) == untouched(packet)


def test_service_at_its_vip_precedes_a_node_port() -> None:
    ways = walk([service(POD1, port=30080), service(POD2, name="other", port=81, node_port=30080)])
    assert ways.connect(from_client(VIP, 30080)) == {TO1: 1}
    assert ways.connect(from_client(NODE, 30080)) == {TO2: 1}


@pytest.mark.parametrize(("target", "port"), [(VIP, 80), (NODE, 30080)])
def test_affinity(target: str, port: int) -> None:
    declared = service(POD1, POD2, node_port=30080, **STICKY)
    ways, (parsed,) = walk([declared]), parse_services([declared])
    assert ways.connect(from_client()) == pytest.approx({TO1: 0.5, TO2: 0.5})
    for end, packet, dummy in list(ways.ends(from_client(target, port))):
        ways.keep(packet)
        assert [ways.sets[name].elements for name in client_maps(parsed)] == [{CLIENT: end.address}, {CLIENT: "8080"}]
        # The same client goes there again by every front, and another one is not concerned.
        for front in (from_client(), from_client(NODE, 30080)):
            assert ways.connect(front) == {end: 1}
            assert len(ways.connect(front._replace(source="192.168.10.11"))) == 2


def test_affinity_of_two_services_is_apart() -> None:
    ways = walk([service(POD1, **STICKY), service(POD1, POD2, name="other", port=81, **STICKY)])
    ways.learn(from_client())
    assert len(ways.connect(from_client(port=81))) == 2


def test_clients_of_removed_endpoints_are_not_remembered_again() -> None:
    """A connection from before the change, as the kernel sees it when its client repeats the first packet."""
    ways = walk([service(POD1, **STICKY)])
    ways.repeat(from_client(), POD2, 8080)
    assert ways.connect(from_client()) == {TO1: 1}
    ways.repeat(from_client(), POD1, 8080)
    assert [ways.sets[name].elements for name in client_maps(parse_services([service(**STICKY)])[0])] == [
        {CLIENT: POD1},
        {CLIENT: "8080"},
    ]


def test_connection_to_another_service_with_the_port_of_a_node_port_is_not_remembered() -> None:
    other = service(POD2, name="other", port=81, node_port=30080, **STICKY)
    ways = walk([service(POD1, port=30080), other])
    ways.learn(from_client(VIP, 30080))
    assert ways.connect(from_client(NODE, 30080)) == {TO2: 1}


def test_isolation_allows_translated_connections() -> None:
    ways = walk([service(POD1)], isolate=(("eth0", "eth1"),))
    direct = Packet(CLIENT, POD1, 8080)
    assert ways.connect(direct) == untouched(direct, "drop")
    assert ways.connect(from_client()) == {TO1: 1}
    back = Packet(POD1, CLIENT, 8080, in_link="eth1", out_link="eth0")
    other = direct._replace(out_link="eth2")
    for packet in (back, other):
        assert ways.connect(packet) == untouched(packet)
    alone = walk([], isolate=(("eth0", "eth1"),))
    assert alone.connect(direct) == untouched(direct, "drop")
