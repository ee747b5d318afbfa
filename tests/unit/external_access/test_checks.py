# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The verdicts of the verification, from reports of the API, of nodes and of clients."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.homelab.loadbalancer.plugins.filter.external_access_checks import external_access_checks
from ansible_collections.homelab.loadbalancer.tests.unit.cluster_objects import (
    MACS,
    NO_METALLB,
    NODES,
    STRANGER,
    VIP,
    cluster,
    endpoints,
    external_access_view,
    lost_node,
    nodes_excluded,
    pod,
    route,
    service,
    thing,
    workload,
)
from ansible_collections.homelab.loadbalancer.tests.unit.external_access.reports import (
    SILENT,
    URL,
    answer,
    checks,
    client,
    faults,
    lines,
    node,
    owner,
)

# A Service with a named targetPort that no pod has.
UNNAMED = {**endpoints(), "ports": []}


def test_healthy_services_have_no_fault() -> None:
    found = checks(*(node(name) for name in NODES), client())
    assert lines(found) == [
        ("API", "default/web", "proved", "172.16.0.100, announced by worker1"),
        ("nodes", "tcp 7946 between speakers", "proved", "6 of 6 open"),
        ("nodes", "udp 7946 between speakers", "unknown", "6 of 6 not refused"),
        ("client", "172.16.0.100 by ARP", "proved", "one MAC: 02:00:00:00:00:0c (worker1)"),
        ("client", "http 172.16.0.100:80", "proved", "HTTP 200, 1.5 ms"),
    ]
    assert faults(found) == []


def test_pending_service_is_a_fault() -> None:
    found = checks(client(answers=[], owners=[]), Service=[service()], **NO_METALLB)
    assert lines(found) == [("API", "default/web", "fault", "pending")]
    (said,) = faults(found)
    assert said.startswith("API, default/web: pending; no pod of MetalLB is found, and no other load balancer ")
    assert ": install MetalLB with the role metallb, and give it addresses with the role metallb_pool" in said


def test_services_of_other_load_balancers_are_no_fault() -> None:
    others = [
        service("pending", loadBalancerClass="tailscale"),
        service("given", "100.101.102.103", loadBalancerClass="tailscale"),
    ]
    found = checks(client(answers=[], owners=[]), Service=others)
    assert [(one["subject"], one["result"], one["found"].partition(",")[0]) for one in found] == [
        ("default/given", "unknown", "100.101.102.103: its loadBalancerClass tailscale is not MetalLB's"),
        ("default/pending", "unknown", "pending: its loadBalancerClass tailscale is not MetalLB's"),
    ]
    assert faults(found) == []


def test_declared_stopped_services_are_no_fault() -> None:
    selecting = service("web", VIP, selector={"app": "web"})
    kinds = {"Service": [selecting], "Deployment": [workload("Deployment", 0)], "EndpointSlice": []}
    view = external_access_view(cluster(HTTPRoute=[route("web.k8s.local")], **kinds), urls=[URL])
    found = external_access_checks(view, [client(answers=[], owners=[])])
    stopped = "stopped: replicas of the Deployment default/web is 0"
    assert lines(found) == [
        ("API", "default/web", "unknown", "172.16.0.100: " + stopped),
        ("client", URL, "unknown", "not asked, as what serves it is " + stopped),
    ]


def test_a_node_that_is_not_ready_is_the_cause() -> None:
    pods = [*cluster()["Pod"][:-2], pod("speaker", "worker1", conditions=[]), pod("speaker", "worker2")]
    nodes = [lost_node("worker1") if one["metadata"]["name"] == "worker1" else one for one in cluster()["Node"]]
    silent = [answer(VIP, **SILENT)]
    reports = [node(name, tcp={"state": "silent", "detail": "seen so"}) for name in NODES if name != "worker1"]
    found = checks(*reports, client(owners=[owner(VIP)], answers=silent), Node=nodes, Pod=pods)
    told = [one for one in faults(found) if "worker1" in one]
    lost = "the node worker1 is NotReady (NodeStatusUnknown: Kubelet stopped posting node status.)"
    assert told[0].startswith(
        "API, MetalLB's speaker on worker1: its node is NotReady; %s, and announces no address: start worker1" % lost
    )
    assert told[-1].startswith("client, 172.16.0.100 by ARP: nobody answers; %s: start worker1, " % lost)


def test_a_node_that_is_not_ready_has_no_firewall_to_open() -> None:
    nodes = [lost_node("worker2") if one["metadata"]["name"] == "worker2" else one for one in cluster()["Node"]]
    pods = [*cluster()["Pod"][:-1], pod("speaker", "worker2", conditions=[])]
    found = checks(node("control1", tcp={"state": "silent", "detail": "no answer"}), Node=nodes, Pod=pods)
    assert ("nodes", "tcp 7946 between speakers", "fault", "1 of 2 open") in lines(found)
    assert [one["kind"] for one in found if one["cause"]] == ["speaker"]


def test_a_host_that_could_not_be_asked_splits_no_speakers() -> None:
    reports = [node("control1"), node("worker2"), {"host": "worker1", "place": "node"}]
    said = faults(checks(*reports, client(MACS["worker1"], MACS["worker2"])))[-1]
    assert "whose speakers do not hear each other" not in said


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


def test_unchecked_services_are_named() -> None:
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
        # From the nodes' own reports.
        (
            client(owners=[owner(VIP, MACS["worker2"])]),
            ("worker2",),
            "one MAC: 02:00:00:00:00:0d (worker2), and not worker1, which MetalLB's status still names",
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
def test_answering_hosts_are_compared(report: dict[str, Any], nodes: tuple[str, ...], line: str, fault: str) -> None:
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
            {"EndpointSlice": [endpoints(port=9999)]},
            "no program of its pods listens on targetPort 9999: they are ready, and the connection is reset: set",
        ),
        (
            {"state": "refused"},
            {"Service": [service("web", VIP, ports=[{"port": 80, "targetPort": "wbe"}])], "EndpointSlice": [UNNAMED]},
            "its targetPort wbe is none of the ports of its pods that are ready: name a port",
        ),
        (
            {"state": "refused", "sender": NODES["worker1"]},
            {},
            "the node worker1 rejects it: kube-proxy does where it knows no endpoint that may serve it, and so may a "
            "firewall; which one, is not known",
        ),
        # Another load balancer than MetalLB gave the address.
        (
            {"state": "refused"},
            {"Service": [service("web", VIP, annotations={"metallb.io/ip-allocated-from-pool": ""})]},
            "what has the address resets the connection; which program should listen there, is not known",
        ),
        ({"state": "prohibited", "sender": NODES["worker1"]}, {}, "a firewall of the node worker1 does not let it in"),
        ({"state": "prohibited", "sender": VIP}, {}, "a firewall of the node that it leads to"),
        ({"state": "prohibited", "sender": "10.0.0.1"}, {}, "a firewall of 10.0.0.1, on the way, does not let it"),
        ({"state": "prohibited"}, {}, "the client's own kernel does not let it out"),
        ({"state": "silent"}, {}, "what drops it, is not known: a firewall, a NetworkPolicy of the pods, or that"),
        (
            {"state": "unreachable", "detail": "network is unreachable"},
            {},
            "the client has no route to it: give the client a route to it",
        ),
        (
            {"state": "unreachable", "sender": "10.0.0.1"},
            {},
            "10.0.0.1, to which the packet came, has no way to it: give that router a route",
        ),
        ({"state": "unreachable", "sender": "172.16.0.21"}, {}, "which one, is not known: see who has the address"),
        # kube-proxy drops refused packets without an answer.
        (
            {"state": "refused"},
            {"Service": [service("web", VIP, loadBalancerSourceRanges=["10.0.0.0/8"])]},
            "no program of its pods listens on targetPort 8080",
        ),
        (
            {"state": "silent"},
            {"Service": [service("web", VIP, loadBalancerSourceRanges=["10.0.0.0/8", "fd00::/8"])]},
            "default/web lets in only 10.0.0.0/8, fd00::/8, and the client is 172.16.0.21",
        ),
        ({"status": 503, "detail": "HTTP 503"}, {}, "what answers reports a failure of its own: HTTP 503"),
        (
            {"status": None, "detail": "connects, but does not speak HTTP"},
            {},
            "taken out of external_access_http_ports",
        ),
        ({"status": 404, "detail": "HTTP 404"}, {}, None),
    ],
)
def test_answers_on_a_port_are_judged(got: dict[str, Any], kinds: dict[str, Any], cause: str | None) -> None:
    found = checks(client(answers=[answer(VIP, **{"detail": "seen so", **got})]), **kinds)
    assert found[-1]["result"] == ("fault" if cause else "proved")
    assert cause is None or cause in found[-1]["sentence"]


def test_fault_is_reported_once() -> None:
    """Without an announcement no host answers by ARP, so no port is reached: three faults with one cause."""
    silent = [answer(VIP, state="unreachable", status=None, detail="no route to host")]
    found = checks(client(owners=[owner(VIP)], answers=silent), ServiceL2Status=[], EndpointSlice=[])
    assert [one["result"] for one in found] == ["fault"] * 3
    assert len(faults(found)) == 1


def test_protocols_without_a_probe_are_noted() -> None:
    ports = [{"port": 53, "protocol": "UDP"}]
    vip = "fd00::100"
    report = client(answers=[], owners=[owner(vip, MACS["worker1"])])
    found = checks(report, Service=[service("web", vip, ports=ports)])
    assert [one["subject"] for one in found[1:]] == ["fd00::100 by NDP", "udp [fd00::100]:53"]
    assert found[-1]["found"] == "not asked: only its clients know what to ask"


def test_troubles_in_the_api_are_reported() -> None:
    labelled = nodes_excluded()[:1] + cluster()["Node"][1:]
    pods = [*cluster()["Pod"][:-1], pod("speaker", "worker2", conditions=[], phase="Pending")]
    found = checks(Node=labelled, Pod=pods, Service=[])
    assert lines(found)[:3] == [
        ("API", "MetalLB's speaker on worker2", "fault", "Pending, not ready"),
        ("API", "control1", "unknown", "announces no address: excluded by its label"),
        ("API", "Services", "unknown", "none of the type LoadBalancer"),
    ]


@pytest.mark.parametrize(
    ("vip", "cause"),
    [
        ("172.16.0.255", "172.16.0.255 is the broadcast address of 172.16.0.0/24, at which no host can be reached"),
        ("10.99.0.1", "10.99.0.1 is in no network of the nodes (172.16.0.0/24) and is announced by layer 2 alone"),
    ],
)
def test_an_address_that_the_nodes_networks_do_not_allow(vip: str, cause: str) -> None:
    nodes = [{**node(name), "networks": ["172.16.0.0/24"]} for name in NODES]
    asked = [owner(vip, macs=None, reason="it is behind the router 172.16.0.1")]
    report = client(owners=asked, answers=[answer(vip, **SILENT)])
    found = checks(*nodes, report, Service=[service("web", vip)])
    assert found[-1]["cause"] == cause or found[-1]["cause"].startswith(cause)
    # Where a router has a way, nothing is wrong; where not all nodes told theirs, nothing is known.
    # Who refuses was reached.
    refused = {**report, "answers": [answer(vip, state="refused", status=None, detail="refused")]}
    assert "listens on targetPort 8080" in faults(checks(*nodes, refused, Service=[service("web", vip)]))[-1]
    assert faults(checks(*nodes, {**report, "answers": [answer(vip)]}, Service=[service("web", vip)])) == []
    assert cause not in faults(checks(*nodes[1:], report, Service=[service("web", vip)]))[-1]
