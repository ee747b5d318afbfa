# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Real connections through virtual servers: where they end, and that none breaks."""

from __future__ import annotations

import itertools
import socket
import struct
from collections import Counter
from typing import Any, Iterator

import pytest

from ansible_collections.homelab.loadbalancer.plugins.module_utils._common.command import run
from ansible_collections.homelab.loadbalancer.tests.integration import services_lab
from ansible_collections.homelab.loadbalancer.tests.integration.namespaces import standing
from ansible_collections.homelab.loadbalancer.tests.integration.services_lab import (
    CLIENTS,
    VIP,
    VIP6,
    VIP_OF_PODS,
    ServicesLab,
    endpoints,
    pod,
)
from ansible_collections.homelab.loadbalancer.tests.kernel.background import Background
from ansible_collections.homelab.loadbalancer.tests.kernel.kernel_lab import KernelLab
from ansible_collections.homelab.loadbalancer.tests.kernel.virtual_servers import converge, ipvs

NEAR = "pod5"  # on the network of the real servers, whose replies come to it without the director
CONNECTIONS = 50
# A re-added real server gets its former connections back, so each test of draining uses a new port.
PORTS = itertools.count(1001)


@pytest.fixture(scope="module")
def machines() -> Iterator[ServicesLab]:
    with standing(KernelLab("ipvs-test")) as made:
        yield made


@pytest.fixture
def lab(machines: ServicesLab) -> Iterator[ServicesLab]:
    """The lab, whose router has no virtual servers and no connections."""
    try:
        yield machines
    finally:
        with machines.entered("router"):
            run(["ipvsadm", "-C"])


def server(address: str = VIP, port: int = 80, **more: Any) -> dict[str, Any]:
    family = "ipv6" if ":" in address else "ipv4"
    return {"address": address, "port": port, "scheduler": "rr", "real_servers": endpoints(1, 2, family=family), **more}


def declare(lab: ServicesLab, *servers: dict[str, Any], **options: Any) -> None:
    with lab.entered("router"):
        assert converge(virtual_servers=list(servers), **options)["changed"]


def names(lab: ServicesLab, host: str = "client", address: str = VIP, port: int = 80, **options: Any) -> list[str]:
    return [answer.server for answer in lab.ask(host, address, port, **options)]


@pytest.mark.parametrize("protocol", ["tcp", "udp", "sctp"])
@pytest.mark.parametrize(("address", "client"), [(VIP, services_lab.CLIENT), (VIP6, services_lab.CLIENT6)])
def test_round_robin_takes_turns(lab: ServicesLab, protocol: str, address: str, client: str) -> None:
    declare(lab, server(address, protocol=protocol))
    answers = lab.ask("client", address, 80, protocol, 20)
    found = [answer.server for answer in answers]
    assert found in (["pod1", "pod2"] * 10, ["pod2", "pod1"] * 10)
    assert client in {answer.peer for answer in answers}


def test_weights_are_shares(lab: ServicesLab) -> None:
    reals = [{**real, "weight": weight} for real, weight in zip(endpoints(1, 2, 3), (1, 3, 0))]
    declare(lab, server(scheduler="wrr", real_servers=reals))
    assert Counter(names(lab, count=40)) == {"pod1": 10, "pod2": 30}


@pytest.mark.parametrize("scheduler", ["sh", "mh"])
def test_hashing_keeps_a_client(lab: ServicesLab, scheduler: str) -> None:
    declare(lab, server(scheduler=scheduler, real_servers=endpoints(1, 2, 3)))
    answers = lab.ask("client", VIP, 80, count=3, sources=CLIENTS)
    assert len({answer.peer for answer in answers}) == len(CLIENTS)
    assert len(set(answers)) == len(CLIENTS)
    assert len({answer.server for answer in answers}) > 1


def test_scheduler_change_takes_effect(lab: ServicesLab) -> None:
    declare(lab, server(scheduler="fo", real_servers=[{**endpoints(1)[0], "weight": 9}, *endpoints(2)]))
    assert set(names(lab, count=10)) == {"pod1"}
    declare(lab, server(scheduler="rr"))
    assert Counter(names(lab, count=10)) == {"pod1": 5, "pod2": 5}


def test_marked_packets(lab: ServicesLab) -> None:
    """Two ports of two addresses in one virtual server."""
    for address, port in ((VIP, 80), (services_lab.VIP2, 443)):
        lab.run(
            "router", "iptables-legacy", "-t", "mangle", "-A", "PREROUTING", "-d", address, "-p", "tcp",
            "--dport", str(port), "-j", "MARK", "--set-mark", "7",
        )  # fmt: skip
    declare(lab, {"mark": 7, "scheduler": "rr", "real_servers": endpoints(1, 2)})
    found = [names(lab, address=address, port=port)[0] for address, port in ((VIP, 80), (services_lab.VIP2, 443)) * 3]
    assert found in (["pod1", "pod2"] * 3, ["pod2", "pod1"] * 3)
    lab.run("router", "iptables-legacy", "-t", "mangle", "-F")


def test_persistence_keeps_a_client(lab: ServicesLab) -> None:
    declare(lab, server(persistence_timeout=600))
    answers = lab.ask("client", VIP, 80, count=3, sources=CLIENTS[:6])
    assert len(set(answers)) == 6
    assert Counter(answer.server for answer in answers) == {"pod1": 9, "pod2": 9}


def test_persistence_by_network_and_for_all_ports(lab: ServicesLab) -> None:
    reals = [{"address": pod(number)} for number in (1, 2)]
    declare(lab, server(port=0, persistence_timeout=600, persistence_netmask=24, real_servers=reals))
    found = [name for port in (8080, 8081) for name in names(lab, port=port, sources=CLIENTS)]
    assert len(set(found)) == 1


def test_a_full_server_gets_no_more(lab: ServicesLab) -> None:
    reals = [{**endpoints(1)[0], "upper_threshold": 1}, *endpoints(2)]
    declare(lab, server(real_servers=reals))
    with lab.connection("client", VIP, 80) as first, lab.connection("client", VIP, 80) as second:
        assert {first.server, second.server} == {"pod1", "pod2"}
        assert set(names(lab, count=6)) == {"pod2"}


def direct_lab(lab: ServicesLab, host: str, *commands: str) -> None:
    for line in commands:
        lab.run(host, *line.split())


def test_direct_routing(lab: ServicesLab) -> None:
    """The real servers hold the VIP, without answering ARP for it."""
    for host in ("pod1", "pod2"):
        settings = [
            "net.ipv4.conf.%s.%s" % (link, name)
            for link in ("all", "eth0")
            for name in ("arp_ignore=1", "arp_announce=2")
        ]
        direct_lab(lab, host, "sysctl -qw " + " ".join(settings), "ip address add %s/32 dev lo" % VIP_OF_PODS)
    try:
        reals = [{"address": pod(number), "forward": "direct"} for number in (1, 2)]
        declare(lab, server(VIP_OF_PODS, 8080, real_servers=reals))
        answers = lab.ask(NEAR, VIP_OF_PODS, 8080, count=10)
        assert Counter(answer.server for answer in answers) == {"pod1": 5, "pod2": 5}
        assert {answer.peer for answer in answers} == {pod(5)}
    finally:
        for host in ("pod1", "pod2"):
            lab.run(host, "ip", "address", "del", VIP_OF_PODS + "/32", "dev", "lo", check=False)


def test_tunnelling(lab: ServicesLab) -> None:
    for host in ("pod1", "pod2"):
        direct_lab(
            lab, host, "ip link add ipip-in type ipip local %s" % pod(int(host[3:])),
            "sysctl -qw net.ipv4.conf.all.rp_filter=0 net.ipv4.conf.ipip-in.rp_filter=0",
            "sysctl -qw net.ipv4.conf.all.arp_ignore=1 net.ipv4.conf.all.arp_announce=2",
            "ip address add %s/32 dev ipip-in" % VIP_OF_PODS, "ip link set ipip-in up",
        )  # fmt: skip
    try:
        reals = [{"address": pod(number), "forward": "tunnel"} for number in (1, 2)]
        declare(lab, server(VIP_OF_PODS, 8080, real_servers=reals))
        answers = lab.ask(NEAR, VIP_OF_PODS, 8080, count=10)
        assert Counter(answer.server for answer in answers) == {"pod1": 5, "pod2": 5}
        assert {answer.peer for answer in answers} == {pod(5)}
    finally:
        for host in ("pod1", "pod2"):
            lab.run(host, "ip", "link", "del", "ipip-in", check=False)


class Client:
    """Open connections of the client host."""

    def __init__(self, lab: ServicesLab, port: int, count: int) -> None:
        self.port = port
        self.open: dict[socket.socket, str] = {}
        with lab.entered("client"):
            for dummy in range(count):
                self.connect()

    def connect(self) -> str:
        """Open one more connection; the caller has entered the client's namespace."""
        made = socket.create_connection((VIP, self.port), timeout=20)
        self.open[made] = made.recv(4096).decode().split()[0]
        return self.open[made]

    def errors(self) -> int:
        """Send a line on each connection, and count wrong and missing answers."""
        for connection in self.open:
            connection.send(b"hello\n")
        said = [(connection.recv(4096), name) for connection, name in self.open.items()]
        return sum(heard != b"%s hello\n" % name.encode() for heard, name in said)

    def close(self, name: str = "") -> None:
        """Reset all connections, or those to one server: none stays in TIME_WAIT."""
        for connection in [found for found, server_name in self.open.items() if name in server_name]:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            connection.close()
            del self.open[connection]


def test_draining_loses_no_connection(lab: ServicesLab) -> None:
    """50 connections exchange data all the time. Those to the removed server end while draining."""
    port = next(PORTS)
    declare(lab, server(port=port))
    client = Client(lab, port, CONNECTIONS)
    try:
        assert Counter(client.open.values()) == {"pod1": CONNECTIONS // 2, "pod2": CONNECTIONS // 2}
        with lab.entered("router"):
            drained = Background("ipvs", virtual_servers=[server(port=port, real_servers=endpoints(2, 3))], drain=300)
            rounds = errors = 0
            while rounds < 20 or " 0 " not in weights(lab):
                errors += client.errors()
                rounds += 1
                assert drained.runs()
        with lab.entered("client"):
            assert {client.connect() for dummy in range(10)} == {"pod2", "pod3"}
        errors += client.errors()
        assert drained.runs()
        client.close("pod1")
        while drained.runs():
            errors += client.errors()
        assert errors == 0
        result = drained.result()
        assert result["changed"] and not result.get("warnings")
        assert "%s:8080" % pod(1) not in lab.run("router", "ipvsadm", "-Sn").out
        assert len(client.open) == CONNECTIONS // 2 + 10
        assert client.errors() == 0
    finally:
        client.close()


def weights(lab: ServicesLab) -> str:
    """The weights of the real servers, separated by blanks."""
    lines = lab.run("router", "ipvsadm", "-Sn").out.splitlines()
    return " %s " % " ".join(line.rsplit(" ", 1)[1] for line in lines if line.startswith("-a"))


@pytest.mark.parametrize("whole", [False, True], ids=["a real server", "a virtual server"])
def test_draining_ends_at_its_limit(lab: ServicesLab, whole: bool) -> None:
    port = next(PORTS)
    declare(lab, server(port=port))
    client = Client(lab, port, 4)
    try:
        with lab.entered("router"):
            rest = [] if whole else [server(port=port, real_servers=endpoints(2))]
            result = ipvs(virtual_servers=rest, scope=[VIP + "/32"], drain=1)
        assert result["warnings"] == [
            "%s:8080 behind -t %s:%d was removed with 2 connections left, after 1 s" % (pod(number), VIP, port)
            for number in ((1, 2) if whole else (1,))
        ]
        assert ("-t %s:%d" % (VIP, port) in lab.run("router", "ipvsadm", "-Sn").out) != whole
    finally:
        client.close()


def test_draining_without_connections_ends_at_once(lab: ServicesLab) -> None:
    """The limit is a day."""
    port = next(PORTS)
    declare(lab, server(port=port), server(port=port, protocol="udp"))
    assert len(names(lab, port=port, count=2, protocol="udp")) == 2
    with lab.entered("router"):
        assert not ipvs(virtual_servers=[], scope=[VIP + "/32"], drain=86400).get("warnings")
    assert lab.run("router", "ipvsadm", "-Sn").out == ""
