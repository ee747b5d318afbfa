# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The layouts by the way of a packet: a connection from here to there ends at these endpoints, masqueraded or not."""

from __future__ import annotations

import random
from typing import Any

import pytest

from ansible_collections.homelab.loadbalancer.plugins.module_utils._common.errors import InputError
from ansible_collections.homelab.loadbalancer.plugins.module_utils._iptables.layout import (
    MANY_SERVICES,
    Options,
    endpoint_chain,
    layout,
    service_chain,
)
from ansible_collections.homelab.loadbalancer.plugins.module_utils._iptables.rules import Chains, WantedTable, target
from ansible_collections.homelab.loadbalancer.plugins.module_utils._services.model import Service, parse_services
from ansible_collections.homelab.loadbalancer.tests.unit.iptables.packet_walk import Packet, Walk

VIP, VIP6, CLIENT, POD1, POD2 = "192.168.10.100", "fd00:10::100", "192.168.10.10", "192.168.20.21", "192.168.20.22"
NODE = "192.168.10.1"
FULL_LAYOUTS = ("kube-proxy", "compact")
LAYOUTS = (*FULL_LAYOUTS, "minimal")
AT1, AT2 = POD1 + ":8080", POD2 + ":8080"
# The end of a connection: its endpoint, its verdict, whether it was masqueraded.
TO1, TO2 = (AT1, "ACCEPT", True), (AT2, "ACCEPT", True)


def service(*pods: str, **others: Any) -> dict[str, Any]:
    front = {"name": "web", "address": VIP, "port": 80, "endpoints": [{"address": pod, "port": 8080} for pod in pods]}
    return {**front, **others}


def walk(services: list[dict[str, Any]], family: str = "ipv4", **options: Any) -> Walk:
    return Walk(layout(parse_services(services), family, Options(**options)))


def from_client(target: str = VIP, port: int = 80, **others: Any) -> Packet:
    return Packet(CLIENT, target, port, **{"to_node": True, **others})


@pytest.mark.parametrize("name", LAYOUTS)
def test_one_endpoint(name: str) -> None:
    ways = walk([service(POD1)], layout=name)
    assert ways.connect(from_client()) == {TO1: 1}
    assert ways.connect(from_client(port=81)) == {(VIP, "ACCEPT", False): 1}
    assert ways.connect(from_client(protocol="udp")) == {(VIP, "ACCEPT", False): 1}
    assert ways.connect(from_client("192.168.10.101")) == {("192.168.10.101", "ACCEPT", False): 1}


@pytest.mark.parametrize("name", LAYOUTS)
def test_ipv6(name: str) -> None:
    services = [service("fd00:20::21", address=VIP6), service(POD1, name="other")]
    ways = walk(services, "ipv6", layout=name)
    end = ("[fd00:20::21]:8080", "ACCEPT", True)
    assert ways.connect(Packet("fd00:10::10", VIP6, 80, to_node=True)) == {end: 1}


@pytest.mark.parametrize("name", FULL_LAYOUTS)
@pytest.mark.parametrize("weights", [(1, 1), (1, 2, 5), (1,) * 5, (65535, 1), (3,) * 40, (1, 65535, 7, 100)])
def test_shares(name: str, weights: tuple[int, ...]) -> None:
    pods = ["192.168.20.%d" % number for number in range(1, len(weights) + 1)]
    declared = service(*pods)
    for entry, weight in zip(declared["endpoints"], weights):
        entry["weight"] = weight
    found = walk([declared], layout=name).connect(from_client())
    expected = {(pod + ":8080", "ACCEPT", True): weight / sum(weights) for pod, weight in zip(pods, weights)}
    # iptables keeps 31 bits of a probability.
    assert found == pytest.approx(expected, abs=1e-8)


@pytest.mark.parametrize("name", FULL_LAYOUTS)
@pytest.mark.parametrize("masquerade", [True, False])
def test_foreign_sources_are_masqueraded(name: str, masquerade: bool) -> None:
    declared = [service(POD1), service(POD2, name="sticky", port=81, session_affinity={"timeout": 9})]
    cidr = walk(declared, layout=name, masquerade=masquerade, pod_cidr="192.168.20.0/24")
    for port, end in ((80, AT1), (81, AT2)):
        assert cidr.connect(from_client(port=port)) == {(end, "ACCEPT", masquerade): 1}
        assert cidr.connect(from_client(port=port, from_node=True)) == {(end, "ACCEPT", masquerade): 1}
    # A pod to another: its address stays. To itself: never.
    assert cidr.connect(Packet(POD2, VIP, 80, to_node=True)) == {(AT1, "ACCEPT", False): 1}
    assert cidr.connect(Packet(POD1, VIP, 80, to_node=True)) == {(AT1, "ACCEPT", True): 1}
    assert cidr.connect(Packet(POD2, VIP, 81, to_node=True)) == {(AT2, "ACCEPT", True): 1}


@pytest.mark.parametrize("name", FULL_LAYOUTS)
@pytest.mark.parametrize("options", [{}, {"masquerade": False}, {"pod_cidr": "192.168.20.0/24"}])
@pytest.mark.parametrize("extra", [{}, {"session_affinity": {"timeout": 9}}])
def test_hairpin_connections_are_masqueraded(name: str, options: dict[str, Any], extra: dict[str, Any]) -> None:
    ways = walk([service(POD1, **extra)], layout=name, **options)
    assert ways.connect(Packet(POD1, VIP, 80, to_node=True)) == {TO1: 1}


@pytest.mark.parametrize("name", FULL_LAYOUTS)
@pytest.mark.parametrize("masquerade", [True, False])
def test_foreign_packets_keep_their_mark(name: str, masquerade: bool) -> None:
    """Others' packets are neither masqueraded nor let through by our mark."""
    many = [service(POD1, node_port=30080), service(name="none", port=82)]
    tables = layout(parse_services(many), "ipv4", Options(layout=name, masquerade=masquerade))
    tables["filter"].chains["LB-FORWARD"].append("-j DROP")
    ways = Walk(tables)
    for packet in (Packet(CLIENT, POD1, 8080), Packet(CLIENT, "10.9.9.9", 80), Packet(CLIENT, POD1, 30080)):
        assert ways.connect(packet) == {(packet.target, "DROP", False): 1}
    assert ways.connect(from_client()) == {(AT1, "ACCEPT", masquerade): 1}


@pytest.mark.parametrize("name", FULL_LAYOUTS)
def test_source_ranges(name: str) -> None:
    limited = service(POD1, source_ranges=["192.168.10.0/28", "10.0.0.0/8"], node_port=30080)
    anyone = service(POD2, name="any", port=81, source_ranges=["10.0.0.0/8", "0.0.0.0/0"])
    ways = walk([limited, anyone], layout=name)
    for target_, port in ((VIP, 80), (NODE, 30080)):
        to = from_client(target_, port)
        assert ways.connect(to) == {TO1: 1}
        assert ways.connect(to._replace(source="10.1.2.3")) == {TO1: 1}
        assert ways.connect(to._replace(source="192.168.20.1", from_node=True)) == {TO1: 1}
        assert ways.connect(to._replace(source="192.168.10.16")) == {(target_, "DROP", False): 1}
    assert ways.connect(from_client(port=81)._replace(source="192.168.10.16")) == {TO2: 1}


@pytest.mark.parametrize("name", LAYOUTS)
@pytest.mark.parametrize("protocol", ["tcp", "udp", "sctp"])
def test_no_endpoints(name: str, protocol: str) -> None:
    ways = walk([service(protocol=protocol), service(POD1, name="other", port=81)], layout=name)
    refused = {(VIP, "REJECT", False): 1}
    assert ways.connect(from_client(protocol=protocol)) == refused
    assert ways.connect(from_client(protocol=protocol, from_node=True)) == refused
    # The VIP need not be an address of the node.
    assert ways.connect(from_client(protocol=protocol, to_node=False)) == refused
    assert ways.connect(from_client(port=81)) == {TO1: 1}


@pytest.mark.parametrize("name", FULL_LAYOUTS)
def test_node_ports(name: str) -> None:
    services = [service(POD1, node_port=30080), service(port=81, name="none", node_port=30081)]
    ways = walk(services, layout=name)
    for address in (NODE, "192.168.20.1", VIP):
        assert ways.connect(from_client(address, 30080)) == {TO1: 1}
        assert ways.connect(from_client(address, 30081)) == {(address, "REJECT", False): 1}
    for address in ("127.0.0.1", "127.1.2.3"):
        for port in (30080, 30081):
            packet = Packet(address, address, port, to_node=True, from_node=True)
            assert ways.connect(packet) == {(address, "ACCEPT", False): 1}


@pytest.mark.parametrize("name", FULL_LAYOUTS)
def test_affinity(name: str) -> None:
    declared = service(POD1, POD2, session_affinity={"timeout": 60})
    ways = walk([declared], layout=name)
    (parsed,) = parse_services([declared])
    assert ways.connect(from_client()) == pytest.approx({TO1: 0.5, TO2: 0.5})
    for endpoint, end in zip(parsed.endpoints, (TO1, TO2)):
        sticky = endpoint_chain(parsed, endpoint, "LB-")
        assert ways.connect(from_client(sticky=sticky)) == {end: 1}


@pytest.mark.parametrize("name", LAYOUTS)
def test_isolation_allows_translated_connections(name: str) -> None:
    ways = walk([service(POD1)], layout=name, isolate=(("eth0", "eth1"),))
    assert {end[:2] for end in ways.connect(Packet(CLIENT, POD1, 8080))} == {(POD1, "DROP")}
    assert ways.connect(from_client()) == {TO1: 1}
    back = Packet(POD1, CLIENT, 8080, in_link="eth1", out_link="eth0")
    assert (CLIENT, "ACCEPT") in {end[:2] for end in ways.connect(back)}
    other = Packet(CLIENT, POD1, 8080, out_link="eth2")
    assert (POD1, "ACCEPT") in {end[:2] for end in ways.connect(other)}


# The chains themselves


def test_chains_of_kube_proxy() -> None:
    """As pkg/proxy/iptables writes them, with another prefix and mark."""
    declared = service(POD1, POD2, session_affinity={"timeout": 60}, node_port=30080)
    (parsed,) = parse_services([declared])
    svc = service_chain(parsed, "LB-")
    sep1, sep2 = (endpoint_chain(parsed, endpoint, "LB-") for endpoint in parsed.endpoints)
    chains = layout([parsed], "ipv4", Options(pod_cidr="10.244.0.0/16", layout="kube-proxy"))["nat"].chains
    recent = "-m recent --rcheck --seconds 60 --reap --name %s --mask 255.255.255.255 --rsource -j %s"
    assert chains["LB-SERVICES"] == [
        "-d 192.168.10.100/32 -p tcp -m comment --comment web -m tcp --dport 80 -j " + svc,
        "! -d 127.0.0.0/8 -m addrtype --dst-type LOCAL -j LB-NODEPORTS",
    ]
    assert chains["LB-NODEPORTS"] == ["-p tcp -m comment --comment web -m tcp --dport 30080 -j " + svc]
    assert [rule for rule in chains[svc] if "MARK --set" not in rule] == [
        "! -s 10.244.0.0/16 -j LB-MARK-MASQ",
        recent % (sep1, sep1),
        recent % (sep2, sep2),
        "-m statistic --mode random --probability 0.50000000000 -j " + sep1,
        "-j " + sep2,
    ]
    assert chains[sep1] == [
        "-s 192.168.20.21/32 -j LB-MARK-MASQ",
        "-p tcp -m recent --set --name %s --mask 255.255.255.255 --rsource " % sep1
        + "-j DNAT --to-destination 192.168.20.21:8080",
    ]


def test_rules_of_the_workshop() -> None:
    """The commands of the workshop's document, in chains of our own."""
    tables = layout(parse_services([service(POD1)]), "ipv4", Options(layout="minimal", isolate=(("eth0", "eth1"),)))
    assert tables["nat"].chains == {
        "LB-PREROUTING": ["-d 192.168.10.100/32 -p tcp -m tcp --dport 80 -j DNAT --to-destination 192.168.20.21:8080"],
        "LB-POSTROUTING": ["-d 192.168.20.21/32 -p tcp -m tcp --dport 8080 -j MASQUERADE"],
    }
    assert tables["filter"].chains == {
        "LB-FORWARD": ["-i eth0 -o eth1 -m conntrack ! --ctstate RELATED,ESTABLISHED,DNAT -j DROP"]
    }


@pytest.mark.parametrize(
    "extra", [{"node_port": 30080}, {"source_ranges": ["10.0.0.0/8"]}, {"session_affinity": {"timeout": 1}}]
)
def test_minimal_layout_refuses_unsupported_options(extra: dict[str, Any]) -> None:
    for declared in (service(POD1, **extra), service(POD1, POD2)):
        with pytest.raises(InputError, match="service web needs more than the minimal layout supports"):
            layout(parse_services([declared]), "ipv4", Options(layout="minimal"))


def test_chain_names_are_short_and_never_shared() -> None:
    services = [
        service(POD1, POD2, name="x" * 62 + letter, address="10.0.0.%d" % number, protocol=protocol)
        for number, letter in enumerate("abc")
        for protocol in ("tcp", "udp", "sctp")
    ]
    for i, entry in enumerate(services):
        entry["name"] = entry["name"][:60] + "%02d" % i
    parsed = parse_services(services)
    names = [service_chain(one, "LB-PRE-X") for one in parsed]
    names += [endpoint_chain(one, endpoint, "LB-PRE-X") for one in parsed for endpoint in one.endpoints]
    assert len(set(names)) == len(names)
    assert max(map(len, names)) <= 28


def test_auto_is_compact_for_many_services() -> None:
    def chains(count: int) -> Chains:
        services = [service(POD1, name="s%d" % port, port=port) for port in range(1, count + 1)]
        return layout(parse_services(services), "ipv4", Options())["nat"].chains

    assert sum("SVC-" in name for name in chains(MANY_SERVICES)) == MANY_SERVICES
    assert not any("SVC-" in name for name in chains(MANY_SERVICES + 1))


# Many services


def spread(kind: str, count: int = 10000) -> list[dict[str, Any]]:
    """Many services of two endpoints."""
    chance = random.Random(1)
    six = kind.endswith("6")
    fronts: list[tuple[str, int, str]] = []
    for i in range(count):
        address, port, protocol = VIP6 if six else VIP, 80, "tcp"
        if kind == "dense":
            address = "10.96.%d.%d" % divmod(i, 256)
        elif kind == "sparse":
            address = "%d.%d.%d.%d" % (1 + i % 100, chance.randrange(256), chance.randrange(256), chance.randrange(256))
        elif kind == "dense6":
            address = "fd00::%x" % (i + 1)
        elif kind == "sparse6":
            address = "fd00:%x:%x:%x::%x" % tuple(chance.randrange(1, 65536) for dummy in range(4))
        elif kind == "powers6":  # at each level of the tree one branch holds almost all
            address = "%x:%x::%x" % (0xFC00, 1 << i % 16, 1 + i // 16)
        elif kind == "two protocols":
            port, protocol = i // 2 + 1, ("tcp", "udp")[i % 2]
        else:
            port = i + 1
        fronts.append((address, port, protocol))
    pods = ("fd00:20::21", "fd00:20::22") if six else (POD1, POD2)
    return [
        service(*pods, name="s%d" % i, address=address, port=port, protocol=protocol)
        for i, (address, port, protocol) in enumerate(dict.fromkeys(fronts))
    ]


def longest(table: WantedTable, chain: str) -> int:
    """No packet meets more rules: those of a chain, and of the longest of the chains that exclude each other."""
    below: dict[bool, int] = {}
    for rule in table.chains[chain]:
        name = target(rule)
        if name in table.chains:
            dispatched = "-NET-" in name
            below[dispatched] = max(below.get(dispatched, 0), longest(table, name))
    return len(table.chains[chain]) + sum(below.values())


MANY = [
    *[(kind, Options()) for kind in ("dense", "sparse", "one address", "two protocols", "sparse6", "powers6")],
    ("dense", Options(masquerade=False)),
    ("dense6", Options(pod_cidr="fd00:20::/64")),
]


@pytest.mark.parametrize(("kind", "options"), MANY)
def test_few_rules_on_any_way(kind: str, options: Options) -> None:
    services = parse_services(spread(kind))
    family = services[0].family
    tables = layout(services, family, options)
    nat = tables["nat"]
    assert longest(nat, "LB-SERVICES") + longest(nat, "LB-POSTROUTING") + longest(tables["filter"], "LB-FORWARD") <= 195
    ways = Walk(tables)
    for one in (services[0], services[-1], *random.Random(2).sample(services, 50)):
        ends = ways.ends(_first_packet(one))
        assert len({end.target for end in ends}) == 2
        assert {end.masqueraded for end in ends} == {options.masquerade}
        assert max(end.rules for end in ends) <= 200


def _first_packet(one: Service) -> Packet:
    source = CLIENT if one.family == "ipv4" else "fd00:10::10"
    return Packet(source, one.address, one.port, one.protocol, to_node=True)


def test_one_more_service_changes_few_chains() -> None:
    services = spread("dense", 5000)
    before = layout(parse_services(services), "ipv4", Options())["nat"].chains
    services.append(service(POD1, name="more", address="10.96.10.10", port=81))
    after = layout(parse_services(services), "ipv4", Options())["nat"].chains
    changed = [name for name in {**before, **after} if before.get(name) != after.get(name)]
    assert len(changed) <= 12


@pytest.mark.parametrize(("mark", "other"), [(0x1000, 0x800), (1, 2), (1 << 31, 1 << 30)])
def test_the_second_mark(mark: int, other: int) -> None:
    """Only where the masquerade mark does not say which packets are ours, and never left on a packet."""
    assert Options(mark=mark).forward_mark == mark
    assert Options(mark=mark, masquerade=False).forward_mark == other
    assert Options(mark=mark, pod_cidr="10.0.0.0/8").forward_mark == other
    chains = layout(parse_services([service(POD1)]), "ipv4", Options(mark=mark, masquerade=False))["nat"].chains
    assert chains["LB-POSTROUTING"][0] == "-j MARK --set-xmark 0x0/0x%x" % other
