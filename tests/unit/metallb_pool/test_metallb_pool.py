# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Address pools of MetalLB: declarations, and their effects in a cluster."""

from __future__ import annotations

import ipaddress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.homelab.loadbalancer.plugins.module_utils._common.errors import InputError
from ansible_collections.homelab.loadbalancer.plugins.plugin_utils._metallb_pool.effects import Effects, effects
from ansible_collections.homelab.loadbalancer.plugins.plugin_utils._metallb_pool.input import objects
from ansible_collections.homelab.loadbalancer.plugins.plugin_utils._metallb_pool.ranges import Range, parse_range
from ansible_collections.homelab.loadbalancer.tests.unit.metallb.objects import (
    NAMESPACE,
    PEER,
    PREFIX,
    declared,
    live,
    names,
    node,
    pool,
    service,
)


def judge(pools: dict[str, Any], cluster: dict[str, Any], **more: Any) -> Effects:
    return effects(pools, cluster, NAMESPACE, prefix=PREFIX, **more)


@pytest.mark.parametrize(
    ("text", "first", "last"),
    [
        ("172.16.0.100-172.16.0.149", "172.16.0.100", "172.16.0.149"),
        ("172.16.0.100 - 172.16.0.100", "172.16.0.100", "172.16.0.100"),
        ("172.16.0.128/25", "172.16.0.128", "172.16.0.255"),
        ("172.16.0.7/32", "172.16.0.7", "172.16.0.7"),
        ("fd00::10-fd00::1f", "fd00::10", "fd00::1f"),
        ("fd00::/120", "fd00::", "fd00::ff"),
    ],
)
def test_ranges(text: str, first: str, last: str) -> None:
    parsed = ipaddress.ip_address(first)
    assert parse_range(text, "r") == Range(parsed.version, int(parsed), int(ipaddress.ip_address(last)))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("172.16.0.149-172.16.0.100",
         "r 172.16.0.149-172.16.0.100 is written backwards: write 172.16.0.100-172.16.0.149"),
        ("172.16.0.5", "r 172.16.0.5 is one address: write 172.16.0.5/32"),
        ("fd00::5", "r fd00::5 is one address: write fd00::5/128"),
        ("172.16.0.5/24", "r 172.16.0.5/24 has host bits: write 172.16.0.0/24, or a range FIRST-LAST"),
        ("172.16.0.0/33", "r 172.16.0.0/33 has no prefix length from 0 to 32 after the slash"),
        ("172.16.0.0/255.255.255.0", "r 172.16.0.0/255.255.255.0 has no prefix length from 0 to 32 after the slash"),
        ("172.16.0.300-172.16.0.301", "r 172.16.0.300-172.16.0.301: 172.16.0.300 is not an IP address"),
        ("172.16.0.1-", "r 172.16.0.1-: nothing is not an IP address"),
        ("172.16.0.1-fd00::1", "r 172.16.0.1-fd00::1 has an IPv4 and an IPv6 address: both ends must be of one kind"),
        ("10.0.0.0/30-10.0.0.9",
         "r 10.0.0.0/30-10.0.0.9 is a network and a range at once: write FIRST-LAST or NETWORK/LENGTH"),
        ("127.0.0.1/32", "r 127.0.0.1/32 holds loopback addresses: choose free ones of the nodes' network"),
        ("10.0.0.0-230.0.0.0", "r 10.0.0.0-230.0.0.0 holds loopback addresses: choose free ones of the nodes' network"),
        ("224.0.0.1/32", "r 224.0.0.1/32 holds multicast addresses: choose free ones of the nodes' network"),
        ("fe80::1/128", "r fe80::1/128 holds link-local addresses: choose free ones of the nodes' network"),
        (5, 'r must be text, such as "172.16.0.100-172.16.0.149", not int'),
    ],
)  # fmt: skip
def test_invalid_ranges_are_refused(text: Any, message: str) -> None:
    with pytest.raises(InputError) as caught:
        parse_range(text, "r")
    assert str(caught.value) == message


@given(st.lists(st.integers(0, 60), min_size=4, max_size=4))
def test_ranges_overlap_when_they_share_an_address(ends: list[int]) -> None:
    one, other = Range(4, *sorted(ends[:2])), Range(4, *sorted(ends[2:]))
    shared = set(range(one.first, one.last + 1)) & set(range(other.first, other.last + 1))
    assert one.overlaps(other) == other.overlaps(one) == bool(shared)
    assert not one.overlaps(Range(6, other.first, other.last))


def test_the_workshops_pool() -> None:
    made = objects(
        declared(pool("public-pool"), l2_advertisements=[{"name": "public", "pools": ["public-pool"]}]), NAMESPACE
    )
    assert names(made) == ["IPAddressPool public-pool", "L2Advertisement public"]
    assert made[0]["spec"] == {"addresses": ["172.16.0.100-172.16.0.149"]}
    assert made[1]["spec"] == {"ipAddressPools": ["public-pool"]}
    assert {entry["metadata"]["namespace"] for entry in made} == {NAMESPACE}


def test_every_option_of_a_pool_and_of_layer_2() -> None:
    selector = [{"matchLabels": {"a": "b"}}]
    whole = pool(
        auto_assign=False, avoid_buggy_ips=True, priority=5, namespaces=["web"], namespace_selectors=selector,
        service_selectors=selector,
    )  # fmt: skip
    advertisement = {"name": "l", "pools": ["a"], "interfaces": ["eth0"], "node_selectors": selector}
    made = objects(declared(whole, l2_advertisements=[advertisement]), NAMESPACE)
    assert made[0]["spec"] == {
        "addresses": ["172.16.0.100-172.16.0.149"],
        "autoAssign": False,
        "avoidBuggyIPs": True,
        "serviceAllocation": {
            "priority": 5,
            "namespaces": ["web"],
            "namespaceSelectors": selector,
            "serviceSelectors": selector,
        },
    }
    assert made[1]["spec"] == {"ipAddressPools": ["a"], "interfaces": ["eth0"], "nodeSelectors": selector}


def test_bgp() -> None:
    peer = {**PEER, "port": 1179, "hold_time": 30, "ebgp_multi_hop": True, "password": "tell no one"}
    advertisement = {
        "name": "b", "pools": ["a"], "peers": ["r"], "communities": ["no-export", "64512:1"], "local_pref": 200,
        "aggregation_length": 24, "aggregation_length_v6": 64,
    }  # fmt: skip
    communities = [{"name": "no-export", "value": "65535:65281"}]
    made = objects(
        declared(pool(), bgp_peers=[peer], bgp_advertisements=[advertisement], communities=communities), NAMESPACE
    )
    assert names(made) == [
        "Community homelab-loadbalancer", "IPAddressPool a", "Secret bgp-peer-r", "BGPPeer r", "BGPAdvertisement b",
    ]  # fmt: skip
    assert made[2]["data"] == {"password": "dGVsbCBubyBvbmU="}
    assert made[3]["apiVersion"] == "metallb.io/v1beta2"
    assert made[3]["spec"] == {
        "myASN": 64512,
        "peerASN": 64513,
        "peerAddress": "172.16.0.254",
        "peerPort": 1179,
        "holdTime": "30s",
        "ebgpMultiHop": True,
        "passwordSecret": {"name": "bgp-peer-r"},
    }
    assert made[4]["spec"] == {
        "ipAddressPools": ["a"],
        "peers": ["r"],
        "communities": ["no-export", "64512:1"],
        "localPref": 200,
        "aggregationLength": 24,
        "aggregationLengthV6": 64,
    }


@pytest.mark.parametrize(
    ("wrong", "begin"),
    [
        (declared("x"), "metallb_pool_pools[0] must be a mapping"),
        (declared({"name": "a"}), "metallb_pool_pools[0].addresses is missing"),
        (declared({"name": "a", "addresses": []}), "metallb_pool_pools[0].addresses is empty: give at least one range"),
        (declared(pool("A")), "metallb_pool_pools[0].name A is no name of an object: lower-case letters"),
        (declared(pool(), pool("a", "10.0.0.0/30")), "metallb_pool_pools[1].name a is there twice"),
        (declared(pool(color="red")), "metallb_pool_pools[0].color is not a known key: the keys are name, addresses"),
        (declared(pool(auto_assign="maybe")), "metallb_pool_pools[0].auto_assign maybe is neither true nor false"),
        (declared(pool(priority=-1)), "metallb_pool_pools[0].priority -1 is not a number from 0"),
        (
            declared(pool(service_selectors=[{"app": "web"}])),
            "metallb_pool_pools[0].service_selectors[0].app is not a known key: the keys are matchLabels, matchExpr",
        ),
        (
            declared(pool(), pool("b", "172.16.0.149-172.16.0.160")),
            "metallb_pool_pools[1].addresses[0] 172.16.0.149-172.16.0.160 overlaps "
            "metallb_pool_pools[0].addresses[0] 172.16.0.100-172.16.0.149: an address is in one pool only",
        ),
        (declared(pool("a", "10.0.0.0/24", "10.0.0.9/32")), "metallb_pool_pools[0].addresses[1] 10.0.0.9/32 overlaps"),
        (declared(l2_advertisements=[{}]), "metallb_pool_l2_advertisements[0].name is missing"),
        (declared(l2_advertisements=[{"name": "a", "interfaces": [5]}]),
         "metallb_pool_l2_advertisements[0].interfaces[0] 5 must be text: write it in quotes"),
        (declared(bgp_peers=[{"name": "r"}]), "metallb_pool_bgp_peers[0].my_asn is missing"),
        (declared(bgp_peers=[{**PEER, "my_asn": 0}]), "metallb_pool_bgp_peers[0].my_asn 0 is not a number from 1 to"),
        (declared(bgp_peers=[{**PEER, "address": "r"}]), "metallb_pool_bgp_peers[0].address r is not an IP address"),
        (declared(bgp_peers=[{**PEER, "hold_time": 2}]), "metallb_pool_bgp_peers[0].hold_time 2 is too short: BGP"),
        (declared(bgp_peers=[{**PEER, "password": "x", "password_secret": "y"}]),
         "metallb_pool_bgp_peers[0] has password and password_secret: give one of them"),
        (declared(communities=[{"name": "a", "value": 65535}]), "metallb_pool_communities[0].value 65535 is no commu"),
        (declared(bgp_advertisements=[{"name": "b", "aggregation_length": 33}]),
         "metallb_pool_bgp_advertisements[0].aggregation_length 33 is not a number from 1 to 32"),
    ],
)  # fmt: skip
def test_wrong_declarations_are_refused(wrong: dict[str, Any], begin: str) -> None:
    with pytest.raises(InputError) as caught:
        objects(wrong, NAMESPACE, PREFIX)
    assert str(caught.value).startswith(begin)


def test_fresh_cluster_gets_all_objects() -> None:
    made = judge(declared(pool()), {"Node": [node("n", "172.16.0.11")], "Service": [service("web")]})
    assert names(made.apply) == ["IPAddressPool a"]
    assert made._replace(apply=[]) == ([], [], [], [], [], [], [])


@pytest.mark.parametrize(
    ("cluster", "more", "begin"),
    [
        (
            {"Node": [node("control1", "172.16.0.120")]},
            {},
            "metallb_pool_pools[0].addresses[0] 172.16.0.100-172.16.0.149 holds 172.16.0.120, the address of node "
            "control1, which would become unreachable: leave it out",
        ),
        ({}, {"gateways": ["172.16.0.101"]}, "metallb_pool_pools[0].addresses[0] 172.16.0.100-172.16.0.149 holds "
         "172.16.0.101, the address of a gateway"),
        ({"IPAddressPool": [live("other", "172.16.0.149/32", ours=False)]}, {}, "metallb_pool_pools[0].addresses[0] "
         "172.16.0.100-172.16.0.149 overlaps the pool other in the cluster, which is not ours: "),
        # As others may write it.
        ({"IPAddressPool": [live("other", "172.16.0.149/24", ours=False)]}, {}, "metallb_pool_pools[0].addresses[0] "),
    ],
)  # fmt: skip
def test_pools_that_would_cut_off_a_host_are_refused(cluster: dict[str, Any], more: dict[str, Any], begin: str) -> None:
    (fault,) = judge(declared(pool()), cluster, **more).faults
    assert fault.startswith(begin)


def link(address: str, prefix: int, name: str = "eth0") -> dict[str, Any]:
    """Facts of a host with one link."""
    family = {"ipv6": [{"address": address, "prefix": str(prefix), "scope": "global"}]}
    if ":" not in address:
        network = ipaddress.ip_network("%s/%d" % (address, prefix), strict=False)
        family = {"ipv4": {"address": address, "netmask": str(network.netmask)}}  # type: ignore[dict-item]
    return {"interfaces": ["lo", name], "lo": {"ipv4": {"address": "127.0.0.1", "netmask": "255.0.0.0"}}, name: family}


BROADCAST = "at which no host can be reached: "


@pytest.mark.parametrize(
    ("entry", "facts", "end"),
    [
        (pool("edge", "172.16.0.255/32"), link("172.16.0.11", 24),
         "172.16.0.255/32 holds 172.16.0.255, the broadcast address of 172.16.0.0/24, " + BROADCAST + "leave it out"),
        (pool("edge", "172.16.0.240/28"), link("172.16.0.11", 24),
         BROADCAST + "set metallb_pool_pools[0].avoid_buggy_ips: true, or write 172.16.0.240-172.16.0.254"),
        (pool("edge", "172.16.0.0/24"), link("172.16.1.11", 16),
         "holds 172.16.0.0, the network address of 172.16.0.0/16, " + BROADCAST
         + "set metallb_pool_pools[0].avoid_buggy_ips: true, or write 172.16.0.1-172.16.0.255"),
        # MetalLB leaves out only addresses that end with .0 and .255.
        (pool("edge", "172.16.0.8-172.16.0.20", avoid_buggy_ips=True), link("172.16.0.2", 28),
         "holds 172.16.0.15, the broadcast address of 172.16.0.0/28, " + BROADCAST
         + "write 172.16.0.8-172.16.0.14, 172.16.0.16-172.16.0.20"),
        (pool("edge", "fd00:16::/120"), link("fd00:16::11", 64),
         "holds fd00:16::, the anycast address of the routers of fd00:16::/64 (RFC 4291), " + BROADCAST
         + "write fd00:16::1-fd00:16::ff"),
    ],
)  # fmt: skip
def test_network_and_broadcast_addresses_of_nodes_are_refused(
    entry: dict[str, Any], facts: dict[str, Any], end: str
) -> None:
    (fault,) = judge(declared(entry), {}, facts=[{}, facts, facts]).faults
    assert fault.startswith("metallb_pool_pools[0].addresses[0] ")
    assert fault.endswith(end)


@pytest.mark.parametrize(
    ("entry", "facts"),
    [
        (pool("edge", "172.16.0.240/28", avoid_buggy_ips=True), link("172.16.0.11", 24)),
        (pool("edge", "172.16.0.0/24"), link("172.16.9.11", 8)),  # hosts of a larger network
        (pool("edge", "172.16.0.240/28"), link("172.16.0.255", 32)),
        (pool("edge", "10.244.1.255/32"), link("10.244.1.1", 24, "cni0")),  # MetalLB announces nothing there
    ],
)
def test_addresses_of_hosts_in_nodes_networks_are_accepted(entry: dict[str, Any], facts: dict[str, Any]) -> None:
    assert judge(declared(entry), {}, facts=[facts]).faults == []


def test_without_facts_network_and_broadcast_addresses_are_noted() -> None:
    cluster = {"Node": [node("n1", "172.16.0.11"), node("n2", "172.16.0.12")]}
    made = judge(declared(pool("edge", "172.16.0.240/28")), cluster)
    assert made.faults == []
    assert made.notes == [
        "metallb_pool_pools[0].addresses[0] 172.16.0.240/28 holds 172.16.0.255, the broadcast address of 172.16.0.0/24 "
        "if that is the network of the node's address 172.16.0.11: set metallb_pool_pools[0].avoid_buggy_ips: true, or "
        "write 172.16.0.240-172.16.0.254, or gather the network facts of the group kubernetes to "
        "check this"
    ]
    assert judge(declared(pool("edge", "172.16.0.240/28", avoid_buggy_ips=True)), cluster).notes == []


L2, BGP = "l2_advertisements", "bgp_advertisements"


@pytest.mark.parametrize(
    ("more", "kinds", "noted"),
    [
        ({L2: [{"name": "l"}]}, {}, True),
        ({L2: [{"name": "l", "pools": ["far"]}]}, {}, True),
        ({L2: [{"name": "l", "pools": ["other"]}]}, {}, False),
        ({L2: [{"name": "l"}], BGP: [{"name": "b"}]}, {}, False),
        ({BGP: [{"name": "b"}]}, {}, False),
        # Foreign advertisements.
        ({}, {"L2Advertisement": [{"metadata": {"name": "x"}}]}, True),
        ({L2: [{"name": "l"}]}, {"BGPAdvertisement": [{"metadata": {"name": "x"}, "spec": {}}]}, False),
    ],
)
@pytest.mark.parametrize("facts", [[link("172.16.0.11", 24)], []])
def test_a_pool_of_layer_2_outside_the_nodes_networks_is_noted(
    more: dict[str, Any], kinds: dict[str, Any], noted: bool, facts: list[dict[str, Any]]
) -> None:
    cluster = {"Node": [node("n1", "172.16.0.11")], "IPAddressPool": [live("other", "172.16.0.9/32", ours=False)]}
    made = judge(declared(pool("far", "10.99.0.0/28"), **more), {**cluster, **kinds}, facts=facts)
    assert made.faults == []
    assert ["metallb_pool_pools[0].addresses[0] 10.99.0.0/28 is outside of" in note for note in made.notes] == (
        [True] if noted else []
    )
    near = judge(declared(pool("near", "172.16.0.96/28"), l2_advertisements=[{"name": "l"}]), cluster, facts=facts)
    assert near.notes == []


def test_a_gateway_must_be_an_address() -> None:
    with pytest.raises(InputError, match=r"metallb_pool_gateways\[0\] router is not an IP address"):
        judge(declared(pool()), {}, gateways=["router"])


def test_unknown_pools_and_peers_of_advertisements_are_refused() -> None:
    wanted = declared(
        pool(),
        l2_advertisements=[{"name": "l", "pools": ["a", "c", "foreign"]}],
        bgp_advertisements=[{"name": "b", "pools": ["b"], "peers": ["p"]}],
        bgp_peers=[PEER],
    )
    stays = live("foreign", "10.0.0.0/30", ours=False)
    assert judge(wanted, {"IPAddressPool": [stays, live("c", "10.0.1.0/30")]}).faults == [
        "metallb_pool_l2_advertisements[0].pools[1] c is not there: declare it in metallb_pool_pools, which has a",
        "metallb_pool_bgp_advertisements[0].pools[0] b is not there: declare it in metallb_pool_pools, which has a",
        "metallb_pool_bgp_advertisements[0].peers[0] p is not there: declare it in metallb_pool_bgp_peers, which has r",
    ]


def test_undeclared_objects_of_ours_are_removed_and_others_kept() -> None:
    cluster = {
        "IPAddressPool": [live("a", "172.16.0.100-172.16.0.149"), live("old", "10.0.0.0/30")],
        "L2Advertisement": [live("old", kind="L2Advertisement"), live("b", ours=False, kind="L2Advertisement")],
        "Secret": [live("bgp-peer-r", kind="Secret"), live("metallb-webhook-cert", kind="Secret")],
    }
    made = judge(declared(pool()), cluster)
    assert names(made.remove) == ["L2Advertisement old", "IPAddressPool old", "Secret bgp-peer-r"]
    assert (names(made.apply), made.remove_first, made.apply_late) == (["IPAddressPool a"], [], [])


def test_a_renamed_pool_is_removed_before_its_successor_is_applied() -> None:
    cluster = {"IPAddressPool": [live("old", "172.16.0.100-172.16.0.110"), live("far", "10.0.0.0/30")]}
    made = judge(declared(pool("new"), pool("else", "10.0.1.0/30")), cluster)
    assert names(made.remove_first) == ["IPAddressPool old"]
    assert names(made.apply) == ["IPAddressPool else"]
    assert names(made.apply_late) == ["IPAddressPool new"]
    assert names(made.remove) == ["IPAddressPool far"]


def test_a_boundary_between_two_pools_moves() -> None:
    cluster = {"IPAddressPool": [live("a", "10.0.0.0-10.0.0.9"), live("b", "10.0.0.10-10.0.0.19")]}
    made = judge(declared(pool("b", "10.0.0.5-10.0.0.19"), pool("a", "10.0.0.0-10.0.0.4")), cluster)
    assert (names(made.apply), names(made.apply_late)) == (["IPAddressPool a"], ["IPAddressPool b"])
    assert (made.remove_first, made.faults) == ([], [])


@pytest.mark.parametrize(
    "wanted",
    [
        declared(pool("a", "172.16.0.101-172.16.0.149")),  # smaller
        declared(pool("b", "10.0.0.0/30")),  # gone
        declared(pool("b")),  # renamed: no pool has the address for a moment
        declared(),
    ],
)
def test_a_pool_keeps_addresses_in_use_unless_moves_are_allowed(wanted: dict[str, Any]) -> None:
    cluster = {
        "IPAddressPool": [live("a", "172.16.0.100-172.16.0.149"), live("foreign", "10.9.0.0/24", ours=False)],
        "Service": [service("web", "172.16.0.100", "fd00::1"), service("else", "10.9.0.1"), service("far", "1.2.3.4")],
    }
    made = judge(wanted, cluster)
    assert made.moves == ["Service default/web has 172.16.0.100, which leaves the pool a"]
    why = "get another one, and records of the old one" if wanted["pools"] else "lose it. Remove that Service first"
    assert made.faults[-1].startswith(made.moves[0] + ": it would " + why)
    assert judge(wanted, cluster, allow_moves=True).faults == []


def test_an_address_in_use_stays_in_a_pool_that_grows() -> None:
    cluster = {"IPAddressPool": [live("a", "172.16.0.100/32")], "Service": [service("web", "172.16.0.100")]}
    made = judge(declared(pool()), cluster)
    assert (made.moves, made.faults) == ([], [])
