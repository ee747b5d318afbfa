# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Random declarations: every address and node port leads only to its own endpoints, in the right shares."""

from __future__ import annotations

import ipaddress
import itertools
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.homelab.loadbalancer.plugins.module_utils._common.errors import InputError
from ansible_collections.homelab.loadbalancer.plugins.module_utils._nftables_services.layout import (
    Options,
    client_maps,
    layout,
)
from ansible_collections.homelab.loadbalancer.plugins.module_utils._services.model import (
    PROTOCOLS,
    Service,
    parse_services,
)
from ansible_collections.homelab.loadbalancer.tests.unit.nftables_services.packet_walk import End, Packet, Walk, shares

# Few values, so that services share addresses, ports, node ports and endpoints.
NETWORKS = {"ipv4": "10.%d.0.%d", "ipv6": "fd00:%d::%d"}
RANGES = {"ipv4": ["10.9.0.0/24", "10.9.0.7/32", "10.0.0.0/8", "0.0.0.0/0"], "ipv6": ["fd00:9::/64", "::/0"]}
NODE = 2  # the number of the node's own network
MARK = 0x1000


@st.composite
def services(draw: st.DrawFn) -> list[Service]:
    found: list[dict[str, Any]] = []
    for number in range(draw(st.integers(0, 6))):
        family = draw(st.sampled_from(list(NETWORKS)))
        ends = draw(st.lists(st.tuples(st.integers(1, 6), st.sampled_from([80, 30000])), unique=True, max_size=5))
        entry: dict[str, Any] = {
            "name": "s%d" % number,
            "address": NETWORKS[family] % (NODE, draw(st.integers(1, 2))),
            "port": draw(st.sampled_from([80, 30000, 30001])),
            "protocol": draw(st.sampled_from(PROTOCOLS)),
            "endpoints": [
                {
                    "address": NETWORKS[family] % (5, end),
                    "port": port,
                    "weight": draw(st.sampled_from([1, 2, 4, 65535])),
                }
                for end, port in ends
            ],
            "source_ranges": draw(st.lists(st.sampled_from(RANGES[family]), max_size=2, unique=True)),
        }
        if draw(st.booleans()):
            entry["node_port"] = draw(st.sampled_from([30000, 30001]))
        if draw(st.booleans()):
            entry["session_affinity"] = {"timeout": 5}
        try:
            parse_services([*found, entry])
        except InputError:  # two services cannot have the same front
            continue
        found.append(entry)
    return parse_services(found)


OPTIONS = st.builds(
    Options,
    masquerade=st.booleans(),
    mark=st.just(MARK),
    pod_cidr=st.sampled_from([{}, {"ipv4": "10.5.0.0/24", "ipv6": ""}, {"ipv4": "10.5.0.0/24", "ipv6": "fd00:5::/64"}]),
    isolate=st.sampled_from([(), (("eth0", "eth1"),)]),
)


def expected(service: Service | None, packet: Packet, options: Options) -> dict[End, float]:
    """The ends of a packet to a service, or to no service."""
    if service is None:
        isolated = bool(options.isolate) and not packet.to_node
        return {End(packet.target, packet.port, "drop" if isolated else "accept", False): 1}
    if not service.endpoints:
        return {End(packet.target, packet.port, "reject", False): 1}
    source = ipaddress.ip_address(packet.source)
    allowed = [ipaddress.ip_network(network) for network in service.source_ranges]
    if allowed and not any(source in network for network in allowed):
        return {End(packet.target, packet.port, "drop", False): 1}
    cidr = options.pod_cidr.get(service.family)
    outside = options.masquerade and not (cidr and source in ipaddress.ip_network(cidr))
    total = sum(end.weight for end in service.endpoints)
    return {
        End(end.address, end.port, "accept", outside or end.address == packet.source): end.weight / total
        for end in service.endpoints
    }


def to_node(address: str) -> bool:
    return address in (NETWORKS["ipv4"] % (NODE, 1), NETWORKS["ipv6"] % (NODE, 1))


@settings(max_examples=40, deadline=None)
@given(declared=services(), options=OPTIONS)
def test_every_front_leads_to_its_own_endpoints(declared: list[Service], options: Options) -> None:
    ways = Walk(layout(declared, options, {protocol: protocol for protocol in PROTOCOLS}))
    for family, address in NETWORKS.items():
        # A client in the source ranges, another one, and an endpoint.
        sources = [address % (9, 7), address % (8, 1), address % (5, 1)]
        for i, (host, protocol, port) in enumerate(itertools.product((1, 2, 9), PROTOCOLS, (80, 30000, 30001))):
            target = address % (NODE, host)
            packet = Packet(sources[i % 3], target, port, protocol, to_node=to_node(target))
            found = _service(declared, packet, family)
            ends = list(ways.ends(packet))
            assert shares(ends) == pytest.approx(expected(found, packet, options))
            for end, after, dummy in ends:
                assert after.learned == _remembered(declared, packet, end)


def _service(declared: list[Service], packet: Packet, family: str) -> Service | None:
    """The service of a packet: that of the address before that of the node port, with endpoints before one without."""
    front = packet.target, packet.protocol, packet.port
    node = family, packet.protocol, packet.port
    found = [one for one in declared if (one.address, one.protocol, one.port) == front]
    found += [one for one in declared if packet.to_node and (one.family, one.protocol, one.node_port) == node]
    return next(iter([one for one in found if one.endpoints] or found), None)


def _remembered(declared: list[Service], packet: Packet, end: End) -> tuple[tuple[str, str, str], ...]:
    """The elements that a connection adds: a service with session affinity remembers its client's endpoint.

    It cannot tell a connection to its node port from one to the same port of an address, so it remembers that one too
    if it has the same endpoint.
    """
    kind = packet.protocol, packet.family
    sticky = [one for one in declared if one.affinity and one.endpoints and (one.protocol, one.family) == kind]
    at_vip = [one for one in sticky if (one.address, one.port) == (packet.target, packet.port)]
    at_node = [one for one in sticky if one.node_port == packet.port]
    for service in (at_vip or at_node) if end.verdict == "accept" and end.address != packet.target else []:
        if (end.address, end.port) in {one[:2] for one in service.endpoints}:
            addresses, ports = client_maps(service)
            return (addresses, packet.source, end.address), (ports, packet.source, str(end.port))
    return ()
