# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The plan for each kind of difference between a lab and its declaration."""

from __future__ import annotations

import itertools
from typing import Any, Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.homelab.loadbalancer.plugins.module_utils._common.errors import InputError
from ansible_collections.homelab.loadbalancer.plugins.module_utils._netns.model import Lab, Route, parse_lab
from ansible_collections.homelab.loadbalancer.plugins.module_utils._netns.node import (
    Have,
    LinkState,
    Namespace,
    Orphan,
    Running,
    parse_json,
    parse_links,
    parse_routes,
)
from ansible_collections.homelab.loadbalancer.plugins.module_utils._netns.plan import Plan, expected, plan, port_of

LAB = parse_lab(
    "lab",
    [
        {
            "name": "a",
            "links": [{"name": "eth0", "vlan": 10, "addresses": ["192.168.10.10/24", "fd00:10::10/64"]}],
            "gateways": ["192.168.10.1", "fd00:10::1"],
        },
        {
            "name": "router",
            "links": [
                {"name": "eth0", "vlan": 10, "addresses": ["192.168.10.1/24", "fd00:10::1/64"]},
                {"name": "eth1", "vlan": 20, "addresses": ["192.168.20.1/24"], "mtu": 1400},
            ],
            "sysctls": {"net.ipv4.conf.all.send_redirects": 0, "net.ipv4.ip_forward": 1},
        },
    ],
    [{"host": "a", "port": 80, "text": "Hello"}],
)
HELLO = Running("http", 80, "Hello")
NOTHING = Have({}, True)


def realized(lab: Lab) -> Have:
    """A node in the declared state."""
    indexes = itertools.count(2)
    namespaces = {}
    ends: dict[str, tuple[int, int]] = {}
    for host in lab.hosts:
        for link in host.links:
            ends[port_of(host.name, link.name)] = (next(indexes), next(indexes))
    for name, want in expected(lab, True).items():
        links = {}
        for link_name, state in want.links.items():
            if name == lab.switch:
                own, peer = ends.get(link_name, (next(indexes), 0))
            else:
                peer, own = ends[port_of(name[len(lab.name) + 1 :], link_name)]
            links[link_name] = state._replace(ifindex=own, peer=peer)
        servers: dict[Running, tuple[int, ...]] = dict.fromkeys(want.servers, (4711,))
        pids = tuple(pid for found in servers.values() for pid in found)
        # As the kernel lists them, in an order of its own.
        routes = tuple(reversed(want.routes))
        namespaces[name] = want._replace(links=links, servers=servers, pids=pids, routes=routes)
    return Have(namespaces, True)


def changed(have: Have, name: str, **fields: Any) -> Have:
    return have._replace(namespaces={**have.namespaces, name: have.namespaces[name]._replace(**fields)})


def relink(have: Have, name: str, link: str, **fields: Any) -> Have:
    links = have.namespaces[name].links
    return changed(have, name, links={**links, link: links[link]._replace(**fields)})


def addresses(*add: str, without: str = "") -> Callable[[Have], Have]:
    def drift(have: Have) -> Have:
        old = have.namespaces["lab-a"].links["eth0"].addresses
        return relink(have, "lab-a", "eth0", addresses=(*(a for a in old if a != without), *add))

    return drift


def lines(found: Plan) -> dict[str, tuple[str, ...]]:
    return dict(found.batches)


def test_fresh_node_gets_everything() -> None:
    found = plan(NOTHING, LAB)
    assert found.create == ("lab-switch", "lab-a", "lab-router")
    assert (found.remove, found.stop, found.unplug, found.before) == ((), (), (), "")
    # Marked before anything is put into them.
    assert found.batches[:3] == tuple((name, ("link set lo up alias netns_lab:lab",)) for name in found.create)
    assert lines(found)["lab-switch"] == (
        "link add vlan10 type bridge stp_state 0 mcast_snooping 0",
        "link set vlan10 up alias netns_lab:lab",
        "link add vlan20 type bridge stp_state 0 mcast_snooping 0",
        "link set vlan20 up alias netns_lab:lab",
        "link add a.eth0 mtu 1500 type veth peer name eth0 mtu 1500 netns lab-a",
        "link set a.eth0 master vlan10 up alias netns_lab:lab",
        "link add router.eth0 mtu 1500 type veth peer name eth0 mtu 1500 netns lab-router",
        "link set router.eth0 master vlan10 up alias netns_lab:lab",
        "link add router.eth1 mtu 1400 type veth peer name eth1 mtu 1400 netns lab-router",
        "link set router.eth1 master vlan20 up alias netns_lab:lab",
    )
    assert lines(found)["lab-a"] == (
        "link set eth0 up",
        "address replace 192.168.10.10/24 dev eth0",
        "address replace fd00:10::10/64 dev eth0 nodad",
        "route replace default via 192.168.10.1 dev eth0 proto static",
        "route replace default via fd00:10::1 dev eth0 proto static",
    )
    # Switching forwarding resets others, so it comes first however it is declared.
    assert [entry[1:] for entry in found.late] == [
        ("net.ipv4.ip_forward", "1"),
        ("net.ipv4.conf.all.send_redirects", "0"),
    ]
    assert found.start == (("lab-a", HELLO),)


def test_lab_as_declared_is_unchanged() -> None:
    found = plan(realized(LAB), LAB)
    assert not found.changed
    assert found.before == found.after != ""


def test_removal_takes_all_namespaces_of_the_lab_and_no_others() -> None:
    other = Namespace("netns_lab:lab-x", True, {}, (), {}, {}, (9,))
    unmarked = Namespace("", True, {"eth0": LinkState("veth", "", 1500, True)}, (), {}, {})
    have = realized(LAB)._replace(
        namespaces={**realized(LAB).namespaces, "lab-x-a": other, "lab-mine": unmarked},
        orphans=(Orphan(12, HELLO),),
    )
    found = plan(have, LAB, present=False)
    assert sorted(found.remove) == ["lab-a", "lab-router", "lab-switch"]
    assert (found.after, found.batches, found.create, found.stop) == ("", (), (), (12,))
    assert "lab-x-a" not in found.before
    assert "lab-mine" not in found.before
    assert not plan(have._replace(namespaces={"lab-x-a": other}, orphans=()), LAB, present=False).changed


DRIFT: list[tuple[str, Callable[[Have], Have], dict[str, Any]]] = [
    (
        "an address is missing",
        addresses(without="192.168.10.10/24"),
        {
            "lab-a": (
                "address replace 192.168.10.10/24 dev eth0",
                "route replace default via 192.168.10.1 dev eth0 proto static",
                "route replace default via fd00:10::1 dev eth0 proto static",
            )
        },
    ),
    (
        "an address is too many: all of the link are put again, for the kernel may delete secondary ones with it",
        addresses("192.168.10.99/24"),
        {
            "lab-a": (
                "address delete 192.168.10.99/24 dev eth0",
                "address replace 192.168.10.10/24 dev eth0",
                "address replace fd00:10::10/64 dev eth0 nodad",
                "route replace default via 192.168.10.1 dev eth0 proto static",
                "route replace default via fd00:10::1 dev eth0 proto static",
            )
        },
    ),
    ("a virtual address is somebody else's", addresses("192.168.10.100/32", "fd00:10::100/128"), {}),
    (
        "a link is down",
        lambda have: relink(have, "lab-router", "eth1", up=False),
        {"lab-router": ("link set eth1 up",)},
    ),
    (
        "a port is down",
        lambda have: relink(have, "lab-switch", "a.eth0", up=False),
        {"lab-switch": ("link set a.eth0 up alias netns_lab:lab",)},
    ),
    (
        "a port is in the wrong VLAN",
        lambda have: relink(have, "lab-switch", "a.eth0", master="vlan20"),
        {"lab-switch": ("link set a.eth0 master vlan10",)},
    ),
    (
        "a bridge is down",
        lambda have: relink(have, "lab-switch", "vlan20", up=False),
        {"lab-switch": ("link set vlan20 up alias netns_lab:lab",)},
    ),
    (
        "another MTU",
        lambda have: relink(have, "lab-router", "eth1", mtu=1500),
        {"lab-router": ("link set eth1 mtu 1400",)},
    ),
    (
        "lo is down",
        lambda have: changed(have, "lab-router", lo_up=False),
        {"lab-router": ("link set lo up alias netns_lab:lab",)},
    ),
    (
        "another default route",
        lambda have: changed(have, "lab-a", routes=(Route(4, "default", "192.168.10.7", "eth0"),)),
        {
            "lab-a": (
                "route delete default via 192.168.10.7 dev eth0 proto static",
                "route replace default via 192.168.10.1 dev eth0 proto static",
                "route replace default via fd00:10::1 dev eth0 proto static",
            )
        },
    ),
    (
        "a link that others made is left alone",
        lambda have: changed(
            have,
            "lab-router",
            links={
                **have.namespaces["lab-router"].links,
                "dummy0": LinkState("dummy", "", 1500, True, ("10.0.0.1/8",)),
            },
        ),
        {},
    ),
]


@pytest.mark.parametrize(("drift", "expected_lines"), [case[1:] for case in DRIFT], ids=[case[0] for case in DRIFT])
def test_drift_is_repaired(drift: Callable[[Have], Have], expected_lines: dict[str, Any]) -> None:
    found = plan(drift(realized(LAB)), LAB)
    assert lines(found) == expected_lines
    assert found.changed is bool(expected_lines) is (found.before != found.after)
    assert not (found.remove)
    assert not (found.create)
    assert not (found.unplug)
    assert not (found.stop)
    assert not (found.start)
    assert not (found.late)


def test_deleted_link_local_address_comes_back() -> None:
    found = plan(relink(realized(LAB), "lab-a", "eth0", lacks_local=True), LAB)
    key = "net/ipv6/conf/eth0/addr_gen_mode"
    assert found.renew == (("lab-a", key, "1"), ("lab-a", key, "0"))
    assert found.before != found.after
    # eth1 of the router has no IPv6 address, so it needs none.
    found = plan(relink(realized(LAB), "lab-router", "eth1", lacks_local=True), LAB)
    assert not found.changed
    assert found.before == found.after
    # A bridge gets one at a moment of its own, which is no news.
    have = relink(realized(LAB), "lab-switch", "vlan10", lacks_local=True)
    assert plan(have, LAB, present=False).before == plan(realized(LAB), LAB, present=False).before


def test_sysctl_is_set_back() -> None:
    have = realized(LAB)
    values = {**have.namespaces["lab-router"].sysctls, "net.ipv4.ip_forward": "0"}
    found = plan(changed(have, "lab-router", sysctls=values), LAB)
    # The one that changes others comes first, and those that it may change are written again.
    assert found.late == (
        ("lab-router", "net.ipv4.ip_forward", "1"),
        ("lab-router", "net.ipv4.conf.all.send_redirects", "0"),
    )
    assert found.before != found.after


def test_sysctl_in_another_spelling_is_as_declared() -> None:
    have = realized(LAB)
    values = {**have.namespaces["lab-router"].sysctls, "net.ipv4.ip_forward": "0x1"}
    found = plan(changed(have, "lab-router", sysctls=values), LAB)
    assert (found.changed, found.before) == (False, found.after)


def test_server_with_another_text_is_replaced() -> None:
    old = Running("http", 80, "Bye")
    found = plan(changed(realized(LAB), "lab-a", servers={old: (7, 8)}, pids=(7, 8)), LAB)
    assert (found.stop, found.start, found.batches) == ((7, 8), (("lab-a", HELLO),), ())


def test_missing_namespace_comes_back_with_its_end_of_the_cable() -> None:
    have = realized(LAB)
    have = have._replace(namespaces={name: s for name, s in have.namespaces.items() if name != "lab-a"})
    found = plan(have, LAB)
    assert found.create == ("lab-a",)
    # The kernel removes the other end a little later than the namespace.
    assert found.unplug == (("lab-switch", "a.eth0"),)
    assert "link add a.eth0 mtu 1500 type veth peer name eth0 mtu 1500 netns lab-a" in lines(found)["lab-switch"]
    assert found.start == (("lab-a", HELLO),)


def test_link_of_another_kind_in_place_of_a_cable_is_replaced() -> None:
    found = plan(relink(realized(LAB), "lab-a", "eth0", kind="dummy", peer=0), LAB)
    assert found.unplug == (("lab-switch", "a.eth0"), ("lab-a", "eth0"))
    assert found.before != found.after
    assert lines(found)["lab-a"][0] == "link set eth0 up"


def test_undeclared_objects_are_removed() -> None:
    smaller = LAB._replace(hosts=(LAB.hosts[0],), servers=())
    found = plan(realized(LAB), smaller)
    assert found.remove == ("lab-router",)
    assert found.unplug == (("lab-switch", "vlan20"), ("lab-switch", "router.eth0"), ("lab-switch", "router.eth1"))
    assert found.stop == (4711,)
    assert found.batches == ()


def test_foreign_ports_of_the_switch_are_kept() -> None:
    have = realized(LAB)
    links = {**have.namespaces["lab-switch"].links, "tap0": LinkState("tun", "vlan10", 1500, True)}
    found = plan(changed(have, "lab-switch", links=links), LAB)
    assert not found.changed
    assert found.before == found.after


def test_foreign_namespace_is_refused() -> None:
    theirs = Namespace("", True, {"eth0": LinkState("veth", "", 1500, True)}, (), {}, {})
    with pytest.raises(InputError, match=r"network namespace lab-a exists and is not part of the lab lab: .*_lab_name"):
        plan(Have({"lab-a": theirs}, True), LAB, prefix="vlan_lab_")
    with pytest.raises(InputError, match="network namespace lab-a exists"):
        plan(Have({"lab-a": Namespace("netns_lab:la", True, {}, (), {}, {})}, True), LAB)


@pytest.mark.parametrize("stale", [True, False])
def test_remains_of_an_interrupted_run_are_taken_over(stale: bool) -> None:
    left = Namespace("", False, {}, (), {}, {}, stale=stale)
    found = plan(Have({"lab-a": left}, True), LAB)
    assert ("lab-a" in found.remove) is ("lab-a" in found.create) is stale
    assert found.changed
    assert found.before != found.after


def test_kernel_without_ipv6() -> None:
    assert plan(Have({}, False), LAB).early == ()


def test_long_port_names_stay_apart_and_fit() -> None:
    ports = {port_of("a-rather-long-host-%d" % number, "eth0") for number in range(500)}
    assert len(ports) == 500
    assert all(len(port) <= 15 for port in ports)
    assert port_of("router", "eth0") == "router.eth0"


CHANGES: list[Callable[[Have], Have]] = [
    *(case[1] for case in DRIFT),
    lambda have: relink(have, "lab-a", "eth0", kind="dummy"),
    lambda have: relink(have, "lab-switch", "vlan10", kind="veth"),
    lambda have: changed(have, "lab-a", servers={}),
    lambda have: changed(have, "lab-a", mark=""),
    lambda have: changed(have, "lab-a", sysctls={}),
    lambda have: relink(have, "lab-a", "eth0", lacks_local=True),
    lambda have: have._replace(orphans=(Orphan(3, HELLO),)),
]


@given(st.lists(st.sampled_from(CHANGES), max_size=6), st.booleans())
def test_diff_shows_a_change_exactly_when_there_is_one(drifts: list[Callable[[Have], Have]], present: bool) -> None:
    have = realized(LAB)
    for drift in drifts:
        have = drift(have)
    if have.namespaces["lab-a"].mark:
        found = plan(have, LAB, present)
        assert found.changed is (found.before != found.after)


def test_output_of_ip_is_understood() -> None:
    text = """[{"ifindex":1,"ifname":"lo","flags":["LOOPBACK","UP"],"mtu":65536,"ifalias":"netns_lab:lab","addr_info":[
      {"family":"inet","local":"127.0.0.1","prefixlen":8,"scope":"host"}]},
     {"ifindex":2,"link_index":5,"ifname":"eth0","flags":["BROADCAST"],"operstate":"UP","mtu":1500,"master":"br0",
      "linkinfo":{"info_kind":"veth"},"addr_info":[
      {"family":"inet6","local":"fd00::1","prefixlen":64,"scope":"global"},
      {"family":"inet6","local":"fd00::2","prefixlen":64,"scope":"global","dynamic":true},
      {"family":"inet6","local":"fe80::1","prefixlen":64,"scope":"link"}]}]
    [{"type":"unicast","dst":"default","gateway":"10.0.0.1","dev":"eth0","table":"main","protocol":"static"},
     {"dst":"10.1.1.1","gateway":"10.0.0.1","dev":"eth0","protocol":"static"},
     {"dst":"10.2.0.0/16","gateway":"10.0.0.1","dev":"eth0","table":"7","protocol":"static"},
     {"dst":"10.3.0.0/16","gateway":"10.0.0.1","dev":"eth0","protocol":"boot"},
     {"dst":"10.0.0.0/24","dev":"eth0","protocol":"kernel"}]"""
    links, routes = parse_json(text)
    assert parse_links(links) == {
        "lo": LinkState("", "", 65536, True, (), "netns_lab:lab", 1, 0),
        "eth0": LinkState("veth", "br0", 1500, False, ("fd00::1/64",), "", 2, 5),
    }
    assert parse_routes(routes) == (
        Route(4, "default", "10.0.0.1", "eth0"),
        Route(4, "10.1.1.1/32", "10.0.0.1", "eth0"),
    )
