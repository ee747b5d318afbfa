# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Links, routes and neighbours of namespaces, and where a link's other end is."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.homelab.loadbalancer.plugins.module_utils._inspect.links import (
    Far,
    Link,
    Network,
    named_ids,
    read_entries,
    read_links,
    read_neighbors,
    read_routes,
    report_link,
)
from ansible_collections.homelab.loadbalancer.plugins.module_utils._virtual_address.plan import LINK_ALIAS, METRIC

HOST, POD, OTHER_POD = 4026531840, 4026533012, 4026533100

# Calico's ends of a pod's link, as `ip -json -details address show` lists them (without unused keys).
CALI: dict[str, Any] = {
    "ifindex": 19,
    "link_index": 2,
    "ifname": "cali0817bf63151",
    "flags": ["BROADCAST", "MULTICAST", "UP", "LOWER_UP"],
    "mtu": 1450,
    "operstate": "UP",
    "link_type": "ether",
    "address": "ee:ee:ee:ee:ee:ee",
    "link_netnsid": 9,
    "linkinfo": {"info_kind": "veth"},
    "addr_info": [{"family": "inet6", "local": "fe80::ecee:eeff:feee:eeee", "prefixlen": 64, "scope": "link"}],
}
ETH0: dict[str, Any] = {
    **CALI,
    "ifindex": 2,
    "link_index": 19,
    "ifname": "eth0",
    "link_netnsid": 0,
    "address": "0e:d8:ec:61:04:06",
    "addr_info": [{"family": "inet", "local": "172.17.2.22", "prefixlen": 32, "scope": "global"}],
}


def one(entry: dict[str, Any]) -> Link:
    (link,) = read_links(json.dumps([entry]))
    return link


@pytest.mark.parametrize("text", ["", "\n", "[]", "[ ]\n", "[{}]", "[{},{}]"])
def test_an_empty_answer_has_many_spellings(text: str) -> None:
    assert read_entries(text) == []
    assert (read_links(text), read_routes(text), read_neighbors(text)) == ((), (), ())


def test_both_ends_of_a_pods_link() -> None:
    networks = {
        HOST: Network((one(CALI),), nsids={9: POD}),
        POD: Network((one(ETH0),), nsids={0: HOST}),
    }
    assert report_link(HOST, one(CALI), networks) == {
        "index": 19,
        "name": "cali0817bf63151",
        "kind": "veth",
        "state": "UP",
        "mtu": 1450,
        "mac": "ee:ee:ee:ee:ee:ee",
        "master": "",
        "peer": {"namespace": POD, "name": "eth0", "index": 2},
        "addresses": ["fe80::ecee:eeff:feee:eeee/64"],
        "details": {},
    }
    peer = report_link(POD, one(ETH0), networks)["peer"]
    assert peer == {"namespace": HOST, "name": "cali0817bf63151", "index": 19}


@pytest.mark.parametrize(
    ("networks", "why"),
    [
        ({HOST: Network(nsids={})}, "the id is not known"),
        ({HOST: Network(nsids={9: POD})}, "the namespace was not entered"),
        ({HOST: Network(nsids={9: POD}), POD: Network()}, "it has no such link"),
        (
            {HOST: Network(nsids={9: POD}), POD: Network((one({**ETH0, "link_netnsid": 1}),), nsids={1: OTHER_POD})},
            "that one's other end is elsewhere",
        ),
        (
            {
                HOST: Network((one(CALI),), nsids={9: POD}),
                POD: Network((one({**ETH0, "link_index": 20}),), nsids={0: HOST}),
            },
            "that one's other end is another link",
        ),
    ],
    ids=lambda case: case if isinstance(case, str) else "",
)
def test_ambiguous_peer_is_left_out(networks: dict[int, Network], why: str) -> None:
    assert report_link(HOST, one(CALI), networks)["peer"] is None, why


def test_a_pair_within_one_namespace_names_itself() -> None:
    a = one({"ifindex": 5, "ifname": "a", "link": "b", "linkinfo": {"info_kind": "veth"}})
    b = one({"ifindex": 6, "ifname": "b", "link": "a", "linkinfo": {"info_kind": "veth"}})
    networks = {HOST: Network((a, b))}
    assert report_link(HOST, a, networks)["peer"] == {"namespace": HOST, "name": "b", "index": 6}
    assert report_link(HOST, b, networks)["peer"] == {"namespace": HOST, "name": "a", "index": 5}


def test_lower_link_is_no_peer() -> None:
    eth0 = Link(2, "eth0")
    here = one(
        {"ifindex": 7, "ifname": "eth0.5", "link": "eth0", "linkinfo": {"info_kind": "vlan", "info_data": {"id": 5}}}
    )
    there = one(
        {"ifindex": 3, "ifname": "mv0", "link_index": 2, "link_netnsid": 0, "linkinfo": {"info_kind": "macvlan"}}
    )
    networks = {HOST: Network((eth0, here)), POD: Network((there,), nsids={0: HOST})}
    seen = report_link(HOST, here, networks)
    assert (seen["peer"], seen["details"]) == (None, {"id": 5, "link": "eth0"})
    seen = report_link(POD, there, networks)
    assert (seen["peer"], seen["details"]) == (None, {"link": "eth0", "link_namespace": HOST})


def test_the_kinds_of_links() -> None:
    vxlan = {"id": 42, "group": "239.1.1.1", "local": "10.0.0.1", "link": "eth0", "port": 4789, "learning": True}
    assert one({"ifindex": 4, "ifname": "vx0", "linkinfo": {"info_kind": "vxlan", "info_data": vxlan}}).details == {
        "id": 42,
        "group": "239.1.1.1",
        "local": "10.0.0.1",
        "link": "eth0",
        "port": 4789,
    }
    assert one({"ifindex": 1, "ifname": "lo", "link_type": "loopback", "address": "00:00:00:00:00:00"}) == Link(
        1, "lo", "loopback"
    )
    assert one({"ifindex": 2, "ifname": "enp1s0", "link_type": "ether", "address": "52:54:00:65:c6:68"}).kind == ""
    # The own address of a tunnel is not a MAC address.
    assert one({"ifindex": 3, "ifname": "tunl0", "link_type": "ipip", "address": "0.0.0.0"}).mac == ""


def test_addresses_of_this_project_are_marked() -> None:
    listed = [{"local": "10.0.0.1", "prefixlen": 24}, {"local": "10.0.0.100", "prefixlen": 32, "metric": METRIC}]
    assert one({"ifindex": 2, "ifname": "eth0", "addr_info": listed}).ours == ("10.0.0.100",)
    assert one({"ifindex": 3, "ifname": "lb0", "ifalias": LINK_ALIAS, "addr_info": listed}).ours == (
        "10.0.0.1",
        "10.0.0.100",
    )


ROUTES: list[dict[str, Any]] = [
    {
        "type": "unicast",
        "dst": "default",
        "gateway": "172.16.0.254",
        "dev": "enp1s0",
        "protocol": "static",
        "metric": 100,
    },
    {
        "type": "blackhole",
        "dst": "172.17.2.0/26",
        "table": "main",
        "protocol": "80",
        "scope": "global",
        "flags": [],
    },
    {"type": "local", "dst": "127.0.0.1", "dev": "lo", "table": "local"},
    {"dst": "10.8.0.0/24", "via": {"family": "inet6", "host": "fe80::1"}, "dev": "eth0", "table": 52},
    {
        "dst": "10.9.0.0/24",
        "prefsrc": "10.0.0.1",
        "nexthops": [{"gateway": "10.0.0.3", "dev": "eth0"}, {"dev": "eth1"}],
    },
]


def test_routes() -> None:
    routes = read_routes(json.dumps(ROUTES))
    shown = [(r["destination"], r["gateway"], r["device"], r["protocol"], r["table"], r["type"]) for r in routes]
    assert shown == [
        ("default", "172.16.0.254", "enp1s0", "static", "main", "unicast"),
        ("172.17.2.0/26", "", "", "80", "main", "blackhole"),
        ("10.8.0.0/24", "fe80::1", "eth0", "", "52", "unicast"),
        ("10.9.0.0/24", "10.0.0.3", "eth0", "", "main", "unicast"),
        ("10.9.0.0/24", "", "eth1", "", "main", "unicast"),
    ]
    assert [(r["metric"], r["source"]) for r in routes] == [
        (100, ""),
        (0, ""),
        (0, ""),
        (0, "10.0.0.1"),
        (0, "10.0.0.1"),
    ]


def test_neighbors() -> None:
    listed = [
        {"dst": "169.254.1.1", "dev": "eth0", "lladdr": "ee:ee:ee:ee:ee:ee", "state": ["REACHABLE"]},
        {"dst": "fe80::1", "dev": "eth0", "router": None, "state": ["FAILED"]},
    ]
    assert read_neighbors(json.dumps(listed)) == (
        {"address": "169.254.1.1", "device": "eth0", "mac": "ee:ee:ee:ee:ee:ee", "state": "REACHABLE"},
        {"address": "fe80::1", "device": "eth0", "mac": "", "state": "FAILED"},
    )


def test_missing_id_matches_no_namespace() -> None:
    links = [Link(1, "a", far=Far(2, "", nsid)) for nsid in (None, -1, 0, 7)]
    assert named_ids(links) == {0, 7}


@given(st.data())
def test_every_pair_is_found_with_any_indexes(data: st.DataObject) -> None:
    """Pods whose links have the same indexes on both sides are told apart by the namespaces' ids."""
    homes = [HOST, POD, OTHER_POD, 5, 6]
    pairs = data.draw(st.lists(st.tuples(st.sampled_from(homes), st.sampled_from(homes)), max_size=8))
    counts = dict.fromkeys(homes, 0)
    links: dict[int, list[Link]] = {home: [] for home in homes}
    wanted = {}
    for at, ends in enumerate(pairs):
        numbers = []
        for home in ends:
            counts[home] += 1
            numbers.append(counts[home])
        for home, there, number, far in ((*ends, *numbers), (*ends[::-1], *numbers[::-1])):
            named = Far(name="l%d" % far) if home == there else Far(far, nsid=homes.index(there))
            links[home].append(Link(number, "l%d" % number, "veth", far=named))
            wanted[(home, number)] = {"namespace": there, "name": "l%d" % far, "index": far}
        assert len(wanted) == 2 * (at + 1)
    networks = {home: Network(tuple(links[home]), nsids=dict(enumerate(homes))) for home in homes}
    found = {(home, link.ifindex): report_link(home, link, networks)["peer"] for home in homes for link in links[home]}
    assert found == wanted
