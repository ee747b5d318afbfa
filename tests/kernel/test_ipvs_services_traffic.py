# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""ipvs_services: where connections end, which are refused, and what the servers see of their clients."""

from __future__ import annotations

from collections import Counter

import pytest

from ansible_collections.homelab.loadbalancer.tests.integration.services_lab import (
    CLIENT,
    CLIENT6,
    FAR,
    ROUTER,
    ROUTER6,
    VIP,
    VIP6,
    endpoints,
    pod,
)
from ansible_collections.homelab.loadbalancer.tests.kernel.background import Background
from ansible_collections.homelab.loadbalancer.tests.kernel.ipvs_lab import IpvsLab, service

NODE = "192.168.10.1"


@pytest.mark.parametrize(("family", "seen"), [("ipv4", ROUTER), ("ipv6", ROUTER6)])
def test_connections_alternate_and_are_masqueraded(lab: IpvsLab, family: str, seen: str) -> None:
    lab.carry(service(1, 2, family=family), scheduler="rr")
    answers = lab.ask("client", {"ipv4": VIP, "ipv6": VIP6}[family], 80, count=10)
    assert Counter(answer.server for answer in answers) == {"pod1": 5, "pod2": 5}
    assert {answer.peer for answer in answers} == {seen}
    assert lab.ask_once("router", {"ipv4": VIP, "ipv6": VIP6}[family], 80).server in ("pod1", "pod2")


def test_weights_are_shares(lab: IpvsLab) -> None:
    weighted = [{**each, "weight": weight} for each, weight in zip(endpoints(1, 2), (1, 3))]
    lab.carry({**service(), "endpoints": weighted})
    assert lab.servers(20) == {"pod1": 5, "pod2": 15}


def test_udp(lab: IpvsLab) -> None:
    lab.carry(service(3, protocol="udp"))
    assert lab.servers(3, protocol="udp") == {"pod3": 3}


def test_udp_clients_that_never_pause_are_masqueraded(lab: IpvsLab) -> None:
    """Even a client that sent before the service existed, to the VIP or a node port. Removal ends its connection."""
    with lab.sender("client", VIP, 53) as sender, lab.sender("client", NODE, 30053) as other:
        web = service(1)  # a router tracks connections as soon as it carries any service
        lab.carry(web)
        assert sender.is_answered_by("refused")
        assert other.is_answered_by("refused")
        dns = service(1, name="dns", port=53, protocol="udp", node_port=30053)
        assert lab.carry(web, dns)["conntrack_deleted"] == 2
        assert sender.is_answered_by("pod1", ROUTER)
        assert other.is_answered_by("pod1", ROUTER)
        assert lab.carry(web, dns)["conntrack_deleted"] == 0
        lab.carry(web, {**dns, "endpoints": endpoints(2)})
        assert sender.is_answered_by("pod2", ROUTER)
        lab.carry(web)
        assert sender.is_answered_by("refused")
        assert other.is_answered_by("refused")


def test_scheduler_of_one_service(lab: IpvsLab) -> None:
    lab.carry(service(1, 2), service(1, 2, name="sticky", port=81), schedulers={"sticky": "sh"})
    assert len(lab.servers(8)) == 2
    assert len(lab.servers(8, port=81)) == 1


def test_session_affinity_is_persistence(lab: IpvsLab) -> None:
    lab.carry(service(1, 2, 3, session_affinity={"timeout": 600}))
    assert len(lab.servers(8)) == 1
    assert " -p 600" in lab.run("router", "ipvsadm", "-Sn").out


def test_without_masquerade_endpoints_see_the_client(lab: IpvsLab) -> None:
    lab.carry(service(1), service(1, family="ipv6", name="web6"), masquerade=False)
    assert lab.ask_once("client", VIP, 80).peer == CLIENT
    assert lab.ask_once("client", VIP6, 80).peer == CLIENT6


def test_pods_keep_their_address_and_reach_themselves(lab: IpvsLab) -> None:
    lab.carry(service(1), pod_cidr=["192.168.20.0/24"])
    assert lab.ask_once("client", VIP, 80).peer == ROUTER
    assert lab.ask_once("pod1", VIP, 80).peer == ROUTER  # hairpin: the pod sees the router's address
    lab.carry(service(1), pod_cidr=["192.168.30.0/24"])
    assert lab.ask_once("far", VIP, 80).peer == FAR


def test_a_service_without_endpoints_refuses(lab: IpvsLab) -> None:
    lab.carry(service())
    assert lab.servers(1) == {"refused": 1}


def test_source_ranges_are_enforced(lab: IpvsLab) -> None:
    lab.carry(service(1, source_ranges=["192.168.30.0/24", "192.168.10.11/32"]))
    assert lab.dropped("client", VIP, 80)
    assert lab.ask_once("client", VIP, 80, source="192.168.10.11").server == "pod1"
    for host in ("far", "router"):
        assert lab.ask_once(host, VIP, 80).server == "pod1"
    lab.carry(service(1))
    assert lab.ask_once("client", VIP, 80).server == "pod1"


def test_node_ports_answer_on_all_addresses(lab: IpvsLab) -> None:
    lab.carry(service(1, node_port=30080))
    for address in (NODE, "192.168.30.1"):
        assert lab.ask_once("client", address, 30080).server == "pod1"
    assert lab.ask_once("router", NODE, 30080).server == "pod1"


def test_drop_policies_do_not_block_services(lab: IpvsLab) -> None:
    for chain in ("INPUT", "FORWARD"):
        lab.run("router", "iptables-legacy", "-P", chain, "DROP")
    lab.carry(service(1))
    assert lab.ask_once("client", VIP, 80).server == "pod1"
    assert lab.dropped("client", VIP, 8080)


def test_isolation_blocks_pods_and_not_services(lab: IpvsLab) -> None:
    assert lab.ask_once("client", pod(1), 8080).server == "pod1"
    lab.carry(service(1), isolate=[{"from": "eth0", "to": "eth1"}])
    assert lab.dropped("client", pod(1), 8080)
    assert lab.ask_once("client", VIP, 80).server == "pod1"


def test_removed_endpoint_is_drained(lab: IpvsLab) -> None:
    lab.carry(service(1, 2), scheduler="rr")
    with lab.connection("client", VIP, 80) as first, lab.connection("client", VIP, 80) as second:
        going = first if first.server == "pod1" else second
        staying = {"pod1": "pod2", "pod2": "pod1"}[going.server]
        left = service(int(staying[-1]))
        with lab.entered("router"):
            draining = Background("ipvs_services", services=[left], drain=600, backend="legacy")
        while "-w 0" not in lab.run("router", "ipvsadm", "-Sn").out:
            assert draining.runs()
        assert lab.servers(6) == {staying: 6}
        assert going.says("still there").endswith("still there")
        assert draining.runs()
    # Both sides have closed the connection. Draining does not wait for its TIME_WAIT of two minutes.
    result = draining.result()
    assert result["changed"] and not result.get("warnings"), result
    assert "-w 0" not in lab.run("router", "ipvsadm", "-Sn").out
    assert "TIME_WAIT" in lab.run("router", "cat", "/proc/net/ip_vs_conn").out
