# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Services by their packets, on each data plane: a connection ends at these endpoints, masqueraded or not."""

from __future__ import annotations

import re
from collections import Counter
from typing import Any

import pytest

from ansible_collections.homelab.loadbalancer.plugins.module_utils._iptables.layout import endpoint_chain
from ansible_collections.homelab.loadbalancer.plugins.module_utils._services.model import parse_services
from ansible_collections.homelab.loadbalancer.tests.integration.namespaces import wait_for
from ansible_collections.homelab.loadbalancer.tests.integration.services_lab import (
    CLIENT,
    CLIENT6,
    CLIENTS,
    FAR,
    FAR6,
    PODS,
    ROUTER,
    ROUTER6,
    VIP,
    VIP2,
    VIP6,
    VIP_OF_PODS,
    ServicesLab,
    endpoints,
    pod,
)

FULL_LAYOUTS = ("kube-proxy", "compact")
LAYOUTS = (*FULL_LAYOUTS, "minimal")
# By family: the service's address, the client's, and the router's as the pods and as the client see it.
FRONTS = {"ipv4": VIP, "ipv6": VIP6}
HOME = {"ipv4": CLIENT, "ipv6": CLIENT6}
SEEN = {"ipv4": ROUTER, "ipv6": ROUTER6}
NODE = {"ipv4": "192.168.10.1", "ipv6": "fd00:10::1"}


def service(*numbers: int, family: str = "ipv4", name: str = "web", port: int = 80, **others: Any) -> dict[str, Any]:
    """A service on the VIP of its family, in front of the numbered pods."""
    front = {"name": name, "address": FRONTS[family], "port": port}
    return {**front, "endpoints": endpoints(*numbers, family=family), **others}


def distance(answers: list[Any], weights: dict[str, int]) -> float:
    """Pearson's chi-square of the answers against the weights."""
    seen = Counter(answer.server for answer in answers)
    assert set(seen) <= set(weights)
    share = len(answers) / sum(weights.values())
    return sum((seen[name] - share * weight) ** 2 / (share * weight) for name, weight in weights.items())


def both(*numbers: int, name: str = "web", **others: Any) -> list[dict[str, Any]]:
    """One service in both families."""
    return [service(*numbers, family=family, name="%s-%s" % (name, family), **others) for family in FRONTS]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_workshop(net: ServicesLab, plane: str, layout: str) -> None:
    """Direct ways to the pod are shut and the VIP is open, at the same time; what stood before goes on."""
    # From here on the kernel tracks connections, which it must for one of them to be known later.
    net.apply(plane, both(1), layout=layout)
    assert net.pings("client", pod(1))
    with net.connection("client", pod(1), 8080) as before:
        net.apply(plane, both(1), layout=layout, isolate=[{"from": "eth0", "to": "eth1"}])
        for family, vip in FRONTS.items():
            direct = pod(1, family)
            assert not net.pings("client", direct)
            assert net.dropped("client", direct, 8080)
            assert net.dropped("client", direct, 8080, "udp")
            assert net.ask_once("client", vip, 80) == ("pod1", SEEN[family])
            # Replies to what a pod opens itself, and to what was open, still pass.
            assert net.ask_once("pod1", HOME[family], 8080) == ("client", direct)
            assert net.pings("pod1", HOME[family])
        assert before.says("still there?") == "pod1 still there?"


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_mirrored_workshop(net: ServicesLab, plane: str, layout: str) -> None:
    """The pods' network is the public one here, and the client's the one that is protected."""
    mirrored = {"name": "web", "address": VIP_OF_PODS, "port": 80, "endpoints": [{"address": CLIENT, "port": 8080}]}
    net.apply(plane, [mirrored], layout=layout, isolate=[{"from": "eth1", "to": "eth0"}])
    assert not net.pings("pod1", CLIENT)
    assert net.dropped("pod1", CLIENT, 8080)
    assert net.ask_once("pod1", VIP_OF_PODS, 80) == ("client", "192.168.10.1")
    assert net.ask_once("client", pod(1), 8080) == ("pod1", CLIENT)


@pytest.mark.parametrize("layout", FULL_LAYOUTS)
@pytest.mark.parametrize("weights", [(1, 1), (1, 1, 1, 1, 1), (1, 2, 5)])
def test_connections_are_shared_by_weight(
    net: ServicesLab, plane: str, layout: str, weights: tuple[int, ...]
) -> None:  # fmt: skip
    declared = service(*range(1, len(weights) + 1))
    for entry, weight in zip(declared["endpoints"], weights):
        entry["weight"] = weight
    net.apply(plane, [declared], layout=layout)
    answers = net.ask("client", VIP, 80, count=2000)
    assert {answer.peer for answer in answers} == {ROUTER}
    # A fair router exceeds 50 with a probability of 1.5e-12, 1.4e-11 and 3.6e-10 for 1, 2 and 4 degrees of freedom;
    # the exact distribution of 2,000 draws has no heavier tail than 1e-9 there. Equal shares in the place of 1:2:5
    # are at about 1,000.
    assert distance(answers, dict(zip(PODS, weights))) < 50


def test_connections_are_shared_in_ipv6(net: ServicesLab, plane: str) -> None:
    net.apply(plane, [service(1, 2, family="ipv6")])
    assert distance(net.ask("client", VIP6, 80, count=2000), {"pod1": 1, "pod2": 1}) < 50


@pytest.mark.parametrize("layout", LAYOUTS)
def test_udp_and_sctp(net: ServicesLab, plane: str, layout: str) -> None:
    net.apply(plane, [entry for kind in ("udp", "sctp") for entry in both(1, name=kind, protocol=kind)], layout=layout)
    for family, vip in FRONTS.items():
        for protocol in ("udp", "sctp"):
            assert net.ask_once("client", vip, 80, protocol) == ("pod1", SEEN[family])


def test_udp_is_shared(net: ServicesLab, plane: str) -> None:
    net.apply(plane, [service(1, 2, protocol="udp")])
    assert distance(net.ask("client", VIP, 80, "udp", count=2000), {"pod1": 1, "pod2": 1}) < 50


@pytest.mark.parametrize("layout", FULL_LAYOUTS)
def test_services_that_share_an_address_or_a_port(net: ServicesLab, plane: str, layout: str) -> None:
    services = [
        service(1, name="one"),
        service(2, name="other-port", port=81),
        service(3, name="other-protocol", protocol="udp"),
        service(4, name="other-address", address=VIP2),
    ]
    net.apply(plane, services, layout=layout)
    asked = [(VIP, 80, "tcp"), (VIP, 81, "tcp"), (VIP, 80, "udp"), (VIP2, 80, "tcp")]
    found = [net.ask_once("client", *front) for front in asked]
    assert [answer.server for answer in found] == ["pod1", "pod2", "pod3", "pod4"]
    assert net.ask_once("client", VIP, 82).server == "refused"


@pytest.mark.parametrize("layout", FULL_LAYOUTS)
def test_affinity(net: ServicesLab, plane: str, layout: str) -> None:
    net.apply(plane, [service(1, 2, 3, 4, 5, session_affinity={"timeout": 600})], layout=layout)
    answers = net.ask("client", VIP, 80, count=10, sources=CLIENTS)
    homes = [{answer.server for answer in answers[i :: len(CLIENTS)]} for i in range(len(CLIENTS))]
    assert all(len(home) == 1 for home in homes)
    # All 20 clients at one of five endpoints: 5e-14.
    assert len(set.union(*homes)) > 1


def test_affinity_in_ipv6(net: ServicesLab, plane: str) -> None:
    net.apply(plane, [service(1, 2, 3, 4, 5, family="ipv6", session_affinity={"timeout": 600})])
    assert len({answer.server for answer in net.ask("client", VIP6, 80, count=20)}) == 1


@pytest.mark.parametrize("layout", FULL_LAYOUTS)
def test_affinity_ends_after_its_timeout(net: ServicesLab, plane: str, layout: str) -> None:
    sticky = {"session_affinity": {"timeout": 1}}
    # The clock has one endpoint: whoever is in its list sees the other clients leave it when their time is over.
    clock = service(1, name="clock", port=81, **sticky)
    net.apply(plane, [service(1, 2, 3, 4, 5, **sticky), clock], layout=layout)
    homes = net.ask("client", VIP, 80, sources=CLIENTS)
    net.ask_once("client", VIP, 81, source=CLIENTS[0])

    def forgotten() -> bool:
        net.ask_once("client", VIP, 81, source=CLIENTS[1])
        return CLIENTS[0] not in remembered(net, plane, clock)

    wait_for(forgotten, "the kernel forgets a client after its timeout")
    # All 20 go where they went before, by chance: 1e-14.
    assert net.ask("client", VIP, 80, sources=CLIENTS) != homes


def remembered(net: ServicesLab, plane: str, declared: dict[str, Any]) -> list[str]:
    """The clients that the kernel remembers for the only endpoint of a service."""
    if plane == "nftables":
        listed = net.run("router", "nft", "list", "map", "inet", "LB", "client-addresses-" + declared["name"]).out
    else:
        (parsed,) = parse_services([declared])
        name = endpoint_chain(parsed, parsed.endpoints[0], "LB-")
        listed = net.run("router", "cat", "/proc/net/xt_recent/" + name).out
    return re.findall(r"(?<![.\d])192\.168\.10\.\d+", listed)


@pytest.mark.parametrize("layout", FULL_LAYOUTS)
def test_source_ranges(net: ServicesLab, plane: str, layout: str) -> None:
    """Only who is in the list, and the node itself, by the VIP as by the node port."""
    ranges = {"ipv4": [CLIENTS[1] + "/32", "192.168.10.12/30"], "ipv6": ["fd00:10::/64"]}
    services = [service(1, family=f, name=f, source_ranges=ranges[f], node_port=30080) for f in FRONTS]
    net.apply(plane, [*services, service(2, name="open", port=81)], layout=layout)
    for family, allowed, other in (("ipv4", CLIENTS[1], ("client", CLIENT)), ("ipv6", CLIENT6, ("far", FAR6))):
        for address, port in ((FRONTS[family], 80), (NODE[family], 30080)):
            assert net.ask_once("client", address, port, source=allowed).server == "pod1"
            assert net.ask_once("router", address, port).server == "pod1"
            assert net.dropped(other[0], address, port, source=other[1])
    assert net.ask_once("client", VIP, 81).server == "pod2"


@pytest.mark.parametrize("layout", FULL_LAYOUTS)
@pytest.mark.parametrize("options", [{}, {"masquerade": False}, {"pod_cidr": ["192.168.20.0/24", "fd00:20::/64"]}])
def test_pod_reaches_itself_by_the_vip(net: ServicesLab, plane: str, layout: str, options: dict[str, Any]) -> None:
    """A pod reaches itself by way of the VIP, and sees the router as its client."""
    sticky = both(1, name="sticky", port=81, session_affinity={"timeout": 9})
    net.apply(plane, [*both(1), *sticky], layout=layout, **options)
    for family, vip in FRONTS.items():
        for port in (80, 81):
            assert net.ask_once("pod1", vip, port) == ("pod1", SEEN[family])


@pytest.mark.parametrize("layout", LAYOUTS)
def test_without_masquerade_endpoints_see_the_client(net: ServicesLab, plane: str, layout: str) -> None:
    net.apply(plane, [service(1), service(2, family="ipv6", name="web6")], layout=layout, masquerade=False)
    assert net.ask_once("client", VIP, 80) == ("pod1", CLIENT)
    assert net.ask_once("client", VIP6, 80) == ("pod2", CLIENT6)


@pytest.mark.parametrize("layout", FULL_LAYOUTS)
def test_pods_keep_their_address(net: ServicesLab, plane: str, layout: str) -> None:
    services = [service(1), service(2, name="sticky", port=81, session_affinity={"timeout": 9})]
    services += [service(1, name="web6", family="ipv6")]
    net.apply(plane, services, layout=layout, pod_cidr=["192.168.30.0/24", "fd00:30::/64"])
    for port, name in ((80, "pod1"), (81, "pod2")):
        assert net.ask_once("far", VIP, port) == (name, FAR)
        assert net.ask_once("client", VIP, port) == (name, ROUTER)
    assert net.ask_once("far", VIP6, 80) == ("pod1", FAR6)
    assert net.ask_once("client", VIP6, 80) == ("pod1", ROUTER6)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_no_endpoints_means_refused(net: ServicesLab, plane: str, layout: str) -> None:
    node_port = {} if layout == "minimal" else {"node_port": 30080}
    protocols = ("tcp", "udp", "sctp")
    net.apply(plane, [entry for p in protocols for entry in both(name=p, protocol=p, **node_port)], layout=layout)
    for family, vip in FRONTS.items():
        for protocol in protocols:
            assert net.ask_once("client", vip, 80, protocol).server == "refused"
            # A program on the node itself is told by its own send(), unless it connects.
            here = "refused" if protocol == "tcp" else "not permitted"
            assert net.ask_once("router", vip, 80, protocol).server == here
            if node_port:
                assert net.ask_once("client", NODE[family], 30080, protocol).server == "refused"


@pytest.mark.parametrize("layout", FULL_LAYOUTS)
def test_node_port(net: ServicesLab, plane: str, layout: str) -> None:
    udp = service(2, node_port=30080, protocol="udp", name="udp")
    net.apply(plane, [*both(1, node_port=30080), udp], layout=layout)
    addresses = ("192.168.10.1", "192.168.20.1", "192.168.30.1", VIP, "fd00:10::1", "fd00:20::1", VIP6)
    for address in addresses:
        for host in ("client", "router", "pod1"):
            assert net.ask_once(host, address, 30080).server == "pod1"
    assert net.ask_once("client", "192.168.20.1", 30080, "udp").server == "pod2"
    # An address of another host is none of the node's own.
    assert net.ask_once("client", pod(3), 30080).server == "refused"


@pytest.mark.parametrize("layout", FULL_LAYOUTS)
def test_a_node_port_leaves_the_loopback_alone(net: ServicesLab, plane: str, layout: str) -> None:
    """From there nothing can be forwarded, so what listens there must go on being reached."""
    net.apply(plane, [*both(1, node_port=30080), *both(name="none", port=81, node_port=30081)], layout=layout)
    server = net.serve("router", "local", "tcp:30080", "tcp:30081")
    try:
        for address, peer in (("127.0.0.1", "127.0.0.1"), ("127.0.0.2", "127.0.0.1"), ("::1", "::1")):
            for port in (30080, 30081):
                assert net.ask("router", address, port, timeout=5) == [("local", peer)]
    finally:
        net.end(server)


@pytest.mark.parametrize("layout", FULL_LAYOUTS)
@pytest.mark.parametrize("masquerade", [True, False])
def test_node_reaches_the_vip(net: ServicesLab, plane: str, layout: str, masquerade: bool) -> None:
    net.apply(plane, both(1), layout=layout, masquerade=masquerade)
    for family, vip in FRONTS.items():
        # It is the VIP's packet, from the VIP to itself, that is sent on.
        assert net.ask_once("router", vip, 80) == ("pod1", SEEN[family] if masquerade else vip)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_open_connections_outlive_a_change(net: ServicesLab, plane: str, layout: str) -> None:
    net.apply(plane, [service(1)], layout=layout)
    with net.connection("client", VIP, 80) as open_connection:
        assert open_connection.server == "pod1"
        net.apply(plane, [service(2)], layout=layout)
        assert open_connection.says("one") == "pod1 one"
        assert {answer.server for answer in net.ask("client", VIP, 80, count=50)} == {"pod2"}
        net.apply(plane, [service()], layout=layout)
        assert open_connection.says("two") == "pod1 two"
        assert net.ask_once("client", VIP, 80).server == "refused"


def test_an_endpoint_on_the_node_itself(net: ServicesLab, plane: str) -> None:
    here = service(1)
    here["endpoints"] = [{"address": ROUTER, "port": 8000}]
    net.apply(plane, [here])
    server = net.serve("router", "local", "tcp:8000")
    try:
        assert net.ask_once("client", VIP, 80) == ("local", CLIENT)
        assert net.ask_once("pod1", VIP, 80) == ("local", pod(1))
        assert net.ask_once("router", VIP, 80).server == "local"
    finally:
        net.end(server)
