# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Clients of services with session affinity, by their packets, when endpoints change."""

from __future__ import annotations

import socket
import struct
from typing import Any

import pytest

from ansible_collections.homelab.loadbalancer.tests.integration.namespaces import wait_for
from ansible_collections.homelab.loadbalancer.tests.integration.nftables_services.declared import elements
from ansible_collections.homelab.loadbalancer.tests.integration.services_lab import (
    CLIENT,
    CLIENTS,
    VIP,
    VIP6,
    ServicesLab,
    endpoints,
    pod,
)

NODE = "192.168.10.1"
GONE = "192.168.20.99"  # no host has it
WEB: dict[str, Any] = {"name": "web", "address": VIP, "port": 80, "session_affinity": {"timeout": 600}}


@pytest.fixture
def plane(net: ServicesLab) -> str:
    """The data plane, on a router without rules."""
    net.reset()
    return "nftables"


def homes(net: ServicesLab, port: int = 80, address: str = VIP) -> list[str]:
    """The endpoint of each client."""
    return [answer.server for answer in net.ask("client", address, port, sources=CLIENTS)]


def clients(net: ServicesLab, name: str = "client-addresses-web") -> dict[str, str]:
    with net.entered("router"):
        return dict(element.split(" : ") for element in elements(name))


def test_clients_of_a_removed_endpoint_go_to_another_at_once(net: ServicesLab, plane: str) -> None:
    net.apply(plane, [{**WEB, "endpoints": endpoints(1, 2, 3, 4, 5)}])
    before = homes(net)
    assert homes(net) == before
    left = {"pod%d" % number: pod(number) for number in (1, 2, 3)}
    net.apply(plane, [{**WEB, "endpoints": endpoints(1, 2, 3)}])
    kept = {client: left[home] for client, home in zip(CLIENTS, before) if home in left}
    assert clients(net) == kept
    after = homes(net)
    assert set(after) <= set(left)
    assert [now for now, home in zip(after, before) if home in left] == [home for home in before if home in left]
    assert homes(net) == after


def test_clients_keep_their_endpoint_by_every_front(net: ServicesLab, plane: str) -> None:
    """At the address, at the node port, and while other endpoints come."""
    net.apply(plane, [{**WEB, "endpoints": endpoints(1, 2, 3), "node_port": 30080}])
    before = homes(net)
    assert homes(net, 30080, NODE) == before
    net.apply(plane, [{**WEB, "endpoints": endpoints(3, 4, 2, 1, 5), "node_port": 30080}])
    assert homes(net) == before
    assert homes(net, 30080, NODE) == before


def test_affinity_survives_any_other_change(net: ServicesLab, plane: str) -> None:
    net.apply(plane, [{**WEB, "endpoints": endpoints(1, 2, 3, 4, 5)}])
    before = homes(net)
    for options in ({"masquerade": False}, {"isolate": [{"from": "eth0", "to": "eth1"}]}, {}):
        net.apply(
            plane, [{**WEB, "endpoints": endpoints(1, 2, 3, 4, 5), "source_ranges": ["192.168.10.0/24"]}], **options
        )
        assert homes(net) == before
    assert len(set(before)) > 1


def test_affinity_in_ipv6_follows_a_removed_endpoint(net: ServicesLab, plane: str) -> None:
    six = {**WEB, "address": VIP6}
    net.apply(plane, [{**six, "endpoints": endpoints(1, 2, family="ipv6")}])
    home = net.ask_once("client", VIP6, 80).server
    other = {"pod1": 2, "pod2": 1}[home]
    net.apply(plane, [{**six, "endpoints": endpoints(other, family="ipv6")}])
    assert net.ask_once("client", VIP6, 80).server == "pod%d" % other


def test_client_that_waits_for_a_dead_endpoint_is_not_led_there_again(net: ServicesLab, plane: str) -> None:
    """Its first packet is repeated after the endpoint was removed, and still belongs to the old connection."""
    dead = [{"address": GONE, "port": 8080}]
    net.apply(plane, [{**WEB, "endpoints": dead}])
    # Packets to a host that does not exist leave no connection behind. This one is there, and does not answer.
    net.run("router", "ip", "neigh", "replace", GONE, "lladdr", "02:00:00:00:00:99", "dev", "eth1", "nud", "permanent")
    try:
        with net.entered("client"), socket.socket() as waiting:
            waiting.bind((CLIENT, 0))
            waiting.setblocking(False)
            waiting.connect_ex((VIP, 80))
            wait_for(lambda: clients(net) == {CLIENT: GONE}, "the client is remembered")
            net.apply(plane, [{**WEB, "endpoints": endpoints(1)}])
            assert clients(net) == {}
            before = repeats(waiting)
            wait_for(lambda: repeats(waiting) > before, "the first packet is repeated")
            assert clients(net) == {}
            assert net.ask_once("client", VIP, 80, source=CLIENT).server == "pod1"
    finally:
        net.run("router", "ip", "neigh", "del", GONE, "dev", "eth1")


def repeats(waiting: socket.socket) -> int:
    """How often the kernel has repeated the packets of a connection: tcpi_total_retrans of linux/tcp.h."""
    return int(struct.unpack_from("=I", waiting.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 104), 100)[0])


def test_node_port_of_another_service_does_not_confuse_clients(net: ServicesLab, plane: str) -> None:
    """A service has the port that is another one's node port."""
    plain = {"name": "plain", "address": VIP, "port": 30080, "endpoints": endpoints(1)}
    net.apply(plane, [plain, {**WEB, "endpoints": endpoints(2), "node_port": 30080}])
    assert net.ask_once("client", VIP, 30080).server == "pod1"
    assert clients(net) == {}
    assert net.ask_once("client", NODE, 30080).server == "pod2"
    assert net.ask_once("client", VIP, 80).server == "pod2"
