# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the verification makes of all that was seen, from the API, from nodes and from clients."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.homelab.loadbalancer.plugins.filter.external_access_checks import external_access_checks
from ansible_collections.homelab.loadbalancer.plugins.filter.external_access_view import external_access_view
from ansible_collections.homelab.loadbalancer.tests.unit.cluster_objects import (
    MACS,
    NO_METALLB,
    NODES,
    STRANGER,
    VIP,
    cluster,
    nodes_excluded,
    pod,
    service,
    thing,
)


def answer(address: str, port: int = 80, protocol: str = "http", **rest: Any) -> dict[str, Any]:
    good = {"http": ("HTTP 200", 200), "tcp": ("open", None), "udp": ("nobody refuses it", None)}[protocol]
    return {
        "address": address,
        "port": port,
        "protocol": protocol,
        "state": "silent" if protocol == "udp" else "open",
        "detail": good[0],
        "status": good[1],
        "source": "172.16.0.21",
        "milliseconds": 1.5,
        **rest,
    }


def owner(address: str, *macs: str, **rest: Any) -> dict[str, Any]:
    return {"address": address, "macs": list(macs), "source": "172.16.0.21", "gateway": "", "reason": "", **rest}


def node(name: str, **bad: dict[str, Any]) -> dict[str, Any]:
    """What a node saw; the protocols in `bad` with those values at worker2."""
    answers = [
        answer(address, 7946, protocol, source=NODES[name], **(bad.get(protocol, {}) if at == "worker2" else {}))
        for at, address in NODES.items()
        for protocol in ("tcp", "udp")
    ]
    # A node reaches itself, whatever its firewall says.
    answers = [{**one, "state": "open"} if one["address"] == one["source"] else one for one in answers]
    return {"host": name, "place": "node", "answers": answers, "links": {"eth0": MACS[name]}}


def client(*macs: str, **rest: Any) -> dict[str, Any]:
    owners = [owner(VIP, *(macs or [MACS["worker1"]])), *(owner(NODES[name], mac) for name, mac in MACS.items())]
    return {"host": "client", "place": "client", "answers": [answer(VIP)], "owners": owners, **rest}


def checks(*reports: dict[str, Any], **kinds: Any) -> list[dict[str, str]]:
    return external_access_checks(external_access_view(cluster(**kinds)), list(reports))


def lines(found: list[dict[str, str]]) -> list[tuple[str, ...]]:
    return [(one["place"], one["subject"], one["result"], one["found"]) for one in found]


def faults(found: list[dict[str, str]]) -> list[str]:
    assert [one for one in found if one["cause"] and one["result"] != "fault"] == []
    return [one["sentence"] for one in found if one["cause"]]


def test_all_is_well() -> None:
    found = checks(*(node(name) for name in NODES), client())
    assert lines(found) == [
        ("API", "default/web", "proved", "172.16.0.100, announced by worker1"),
        ("nodes", "tcp 7946 between speakers", "proved", "6 of 6 open"),
        ("nodes", "udp 7946 between speakers", "unknown", "6 of 6 not refused"),
        ("client", "172.16.0.100 by ARP", "proved", "one MAC: 02:00:00:00:00:0c (worker1)"),
        ("client", "http 172.16.0.100:80", "proved", "HTTP 200, 1.5 ms"),
    ]
    assert faults(found) == []


def test_a_service_that_is_pending() -> None:
    found = checks(client(answers=[], owners=[]), Service=[service()], **NO_METALLB)
    assert lines(found) == [("API", "default/web", "fault", "pending")]
    (said,) = faults(found)
    assert said.startswith("API, default/web: pending; no load balancer gives out addresses in this cluster: ")
    assert said.endswith(": install it with the role metallb, and give it addresses with the role metallb_pool")


@pytest.mark.parametrize(
    ("state", "cause"),
    [
        ("prohibited", "a firewall of worker2 (172.16.0.13) does not let it in"),
        ("refused", "its speaker does not listen there, or a firewall of worker2 (172.16.0.13) refuses"),
        ("silent", "a firewall of worker2 (172.16.0.13), or one on the way, drops it"),
        ("unreachable", "worker2 (172.16.0.13) is down or cut off"),
    ],
)
def test_a_closed_port_between_speakers(state: str, cause: str) -> None:
    found = checks(*(node(name, tcp={"state": state, "detail": "seen so"}) for name in NODES), client())
    assert ("nodes", "tcp 7946 between speakers", "fault", "4 of 6 open") in lines(found)
    (said,) = faults(found)
    assert said.startswith("control1, worker1, tcp 7946 of worker2: seen so; %s, and speakers" % cause)
    if state != "unreachable":
        assert said.endswith(": open 7946/tcp and 7946/udp on worker2, for instance with the role firewalld_ports")


def test_udp_tells_a_refusal_only() -> None:
    found = checks(node("control1", udp={"state": "prohibited", "detail": "no"}), node("worker1"), node("worker2"))
    (said,) = faults(found)
    assert said.startswith("control1, udp 7946 of worker2: no; a firewall of worker2")


def test_where_nobody_looked() -> None:
    found = checks(node("control1"), {"host": "worker1", "place": "node"})
    assert ("nodes", "worker1, worker2", "unknown", "not looked from there: not in the play") in lines(found)
    assert ("clients", "outside the cluster", "unknown", "no host of the group is in the play") in lines(found)
    assert faults(found) == ["worker1, the host: nothing seen; it could not be asked: see its failed task"]
    found = checks({"host": "client", "place": "client"})
    assert faults(found) == ["client, the host: nothing seen; it could not be asked: see its failed task"]


def test_a_client_that_is_a_node() -> None:
    found = checks(client(answers=[answer(VIP, source=NODES["worker2"])]))
    assert lines(found)[1:] == [
        ("client", "outside the cluster", "unknown", "is the node worker2: proves nothing about outside")
    ]


@pytest.mark.parametrize(
    ("report", "nodes", "line", "fault"),
    [
        (
            client(owners=[owner(VIP)]),
            (),
            "nobody answers",
            "worker1 announces it, but no answer comes: see that the client is on",
        ),
        (
            client(MACS["worker1"], MACS["worker2"]),
            (),
            "02:00:00:00:00:0c (worker1), 02:00:00:00:00:0d (worker2)",
            "answered for by several nodes at once: worker1, worker2: speakers for which 7946",
        ),
        (
            client(MACS["worker1"], STRANGER),
            (),
            "02:00:00:00:00:0c (worker1), 02:00:00:00:00:63 (no node known)",
            "172.16.0.100 is answered for by 02:00:00:00:00:63, which is no node: look for the host",
        ),
        (
            client(STRANGER),
            (),
            "02:00:00:00:00:63 (no node known)",
            "answered for by 02:00:00:00:00:63, which is no node",
        ),
        # Not all nodes are known: it may be one of them.
        (client(owners=[owner(VIP, STRANGER)]), (), "one MAC: 02:00:00:00:00:63 (no node known)", ""),
        # By what the nodes themselves report.
        (
            client(owners=[owner(VIP, MACS["worker2"])]),
            ("worker2",),
            "one MAC: 02:00:00:00:00:0d (worker2)",
            "",
        ),
        (
            client(owners=[owner(VIP, macs=None, reason="it is behind the router 10.0.0.1")]),
            (),
            "not asked: it is behind the router 10.0.0.1",
            "",
        ),
    ],
)
def test_who_answers_for_an_address(report: dict[str, Any], nodes: tuple[str, ...], line: str, fault: str) -> None:
    found = checks(report, *(node(name) for name in nodes))
    (seen,) = [one for one in found if one["kind"] == "neighbor"]
    assert seen["found"] == line
    assert faults(found) == [one["sentence"] for one in [seen] if fault]
    assert fault in seen["sentence"]


def test_split_speakers_explain_two_answers() -> None:
    reports = [node(name, tcp={"state": "silent", "detail": "no answer"}) for name in NODES]
    found = checks(*reports, client(MACS["worker1"], MACS["worker2"]))
    assert faults(found)[-1].endswith("do not hear each other: open the ports that are named above")


def test_an_address_that_is_advertised_by_bgp_alone() -> None:
    kinds = {"L2Advertisement": [], "BGPAdvertisement": [thing("x", spec={})], "ServiceL2Status": []}
    (said,) = faults(checks(client(owners=[owner(VIP)]), **kinds))
    assert "advertised by BGP alone" in said


@pytest.mark.parametrize(
    ("got", "kinds", "cause"),
    [
        ({"state": "refused"}, {"EndpointSlice": []}, "default/web has no endpoint that is ready"),
        (
            {"state": "refused"},
            {},
            "nothing serves the address on the node that it leads to: see that kube-proxy runs there",
        ),
        ({"state": "prohibited"}, {}, "a firewall on the node that it leads to"),
        ({"state": "silent"}, {}, "a firewall drops it"),
        ({"state": "unreachable"}, {}, "the client has no way to it: give the client a route"),
        (
            {"state": "silent"},
            {"Service": [service("web", VIP, loadBalancerSourceRanges=["10.0.0.0/8", "fd00::/8"])]},
            "default/web lets in only 10.0.0.0/8, fd00::/8, and the client is 172.16.0.21",
        ),
        ({"status": 503, "detail": "HTTP 503"}, {}, "what answers is no page: HTTP 503"),
        (
            {"status": None, "detail": "connects, but does not speak HTTP"},
            {},
            "taken out of external_access_http_ports",
        ),
        ({"status": 404, "detail": "HTTP 404"}, {}, None),
    ],
)
def test_what_answers_on_a_port(got: dict[str, Any], kinds: dict[str, Any], cause: str | None) -> None:
    found = checks(client(answers=[answer(VIP, **{"detail": "seen so", **got})]), **kinds)
    assert found[-1]["result"] == ("fault" if cause else "proved")
    assert cause is None or cause in found[-1]["sentence"]


def test_a_fault_is_told_once() -> None:
    """Nobody announces it, so nobody answers by ARP, so no port is reached: three faults with one cause."""
    silent = [answer(VIP, state="unreachable", status=None, detail="no route to host")]
    found = checks(client(owners=[owner(VIP)], answers=silent), ServiceL2Status=[], EndpointSlice=[])
    assert [one["result"] for one in found] == ["fault"] * 3
    assert len(faults(found)) == 1


def test_what_only_clients_know_how_to_ask() -> None:
    ports = [{"port": 53, "protocol": "UDP"}]
    vip = "fd00::100"
    report = client(answers=[], owners=[owner(vip, MACS["worker1"])])
    found = checks(report, Service=[service("web", vip, ports=ports)])
    assert [one["subject"] for one in found[1:]] == ["fd00::100 by NDP", "udp [fd00::100]:53"]
    assert found[-1]["found"] == "not asked: only its clients know what to ask"


def test_trouble_that_the_api_knows() -> None:
    labelled = nodes_excluded()[:1] + cluster()["Node"][1:]
    pods = [*cluster()["Pod"][:-1], pod("speaker", "worker2", conditions=[], phase="Pending")]
    found = checks(Node=labelled, Pod=pods, Service=[])
    assert lines(found)[:3] == [
        ("API", "MetalLB's speaker on worker2", "fault", "Pending, not ready"),
        ("API", "control1", "unknown", "announces no address: excluded by its label"),
        ("API", "Services", "unknown", "none of the type LoadBalancer"),
    ]
