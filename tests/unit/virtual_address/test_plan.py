# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The plan from the live to the declared state."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.homelab.loadbalancer.plugins.module_utils._common.errors import InputError
from ansible_collections.homelab.loadbalancer.plugins.module_utils._virtual_address.input import (
    parse_addresses,
)
from ansible_collections.homelab.loadbalancer.plugins.module_utils._virtual_address.plan import (
    LINK_ALIAS,
    Address,
    Link,
    Plan,
    State,
    Want,
    plan,
)

OURS = 27746


def address(text: str, metric: int = 0) -> Address:
    ip, prefix = text.split("/")
    return Address(ipaddress.ip_address(ip), int(prefix), metric)


def ours(text: str) -> Address:
    return address(text, OURS)


def node(**links: list[Address]) -> State:
    return State({name: Link(name, tuple(addresses)) for name, addresses in links.items()})


def dummy(name: str, *addresses: Address, alias: str = LINK_ALIAS, up: bool = True) -> Link:
    flags = frozenset({"UP", "LOWER_UP", "NOARP"} if up else {"NOARP"})
    return Link(name, addresses, flags=flags, kind="dummy", alias=alias)


def want(*addresses: str, interface: str = "eth0", **others: object) -> Want:
    return Want(interface, parse_addresses(addresses), **others)


def do(made: Plan) -> list[str]:
    return [step.do for step in made.steps]


OWN = address("192.168.10.1/24")


ADD_100 = "address add 192.168.10.100/32 dev eth0 metric 27746"
DEL_100 = "address del 192.168.10.100/32 dev eth0"
VIP = "192.168.10.100"

PLANS = {
    "added": (node(eth0=[OWN]), want(VIP), [ADD_100]),
    "an IPv6 address is usable at once and never a source": (
        node(eth0=[]),
        want("fd00:10::100"),
        ["address add fd00:10::100/128 dev eth0 metric 27746 nodad noprefixroute preferred_lft 0"],
    ),
    "there already": (node(eth0=[OWN, ours(VIP + "/32")]), want(VIP), []),
    "put there by somebody else": (node(eth0=[OWN, address(VIP + "/32")]), want(VIP), []),
    "the node's own address": (node(eth0=[OWN]), want("192.168.10.1"), []),
    "other prefix length": (
        node(eth0=[OWN, ours(VIP + "/24")]),
        want(VIP),
        ["address del 192.168.10.100/24 dev eth0", ADD_100],
    ),
    "another metric is another owner": (node(eth0=[address(VIP + "/32", 5)]), want(VIP), []),
    "not purged unless told": (node(eth0=[ours(VIP + "/32")]), want(), []),
    "purged from the link": (
        node(eth0=[OWN, ours(VIP + "/32"), ours("10.0.0.1/32")], eth1=[ours("10.0.0.2/32")]),
        want("10.0.0.1", purge="link"),
        [DEL_100],
    ),
    "purged from the node": (
        node(eth0=[OWN, ours(VIP + "/32")], eth1=[ours("10.0.0.2/32"), address("10.0.0.3/32")]),
        want(purge="node"),
        [DEL_100, "address del 10.0.0.2/32 dev eth1"],
    ),
    "moved from another link": (
        node(eth0=[OWN], eth1=[ours(VIP + "/32")]),
        want(VIP),
        ["address del 192.168.10.100/32 dev eth1", ADD_100],
    ),
    "a stray copy on another link goes": (
        node(eth0=[ours(VIP + "/32")], eth1=[ours(VIP + "/32")]),
        want(VIP, purge="node"),
        ["address del 192.168.10.100/32 dev eth1"],
    ),
    "absent": (node(eth0=[OWN, ours(VIP + "/32"), ours("10.0.0.1/32")]), want(VIP, present=False), [DEL_100]),
    "absent whatever its prefix length": (
        node(eth0=[ours(VIP + "/24")]),
        want(VIP, present=False),
        ["address del 192.168.10.100/24 dev eth0"],
    ),
    "absent with all that are marked": (
        node(eth0=[OWN, ours(VIP + "/32")], eth1=[ours("10.0.0.1/32")]),
        want(VIP, present=False, purge="node"),
        [DEL_100, "address del 10.0.0.1/32 dev eth1"],
    ),
    "absent from no link": (node(eth0=[OWN]), want(VIP, interface="lb0", present=False, purge="link"), []),
    "dummy created": (
        node(eth0=[OWN]),
        want(VIP, interface="lb0", dummy=True),
        [
            "link add name lb0 type dummy",
            "link set dev lb0 alias homelab.loadbalancer up",
            "address add 192.168.10.100/32 dev lb0 metric 27746",
        ],
    ),
    "dummy set up": (
        State({"lb0": dummy("lb0", ours(VIP + "/32"), alias="", up=False)}),
        want(VIP, interface="lb0", dummy=True),
        ["link set dev lb0 up"],
    ),
    "dummy kept while it is declared": (
        State({"lb0": dummy("lb0", ours(VIP + "/32"))}),
        want(interface="lb0", dummy=True, purge="link"),
        ["address del 192.168.10.100/32 dev lb0"],
    ),
    "our dummy goes with its last address": (
        State({"lb0": dummy("lb0", ours(VIP + "/32"), address("fe80::1/64"))}),
        want(VIP, interface="lb0", present=False),
        ["address del 192.168.10.100/32 dev lb0", "link del dev lb0"],
    ),
    "our dummy stays with another's address": (
        State({"lb0": dummy("lb0", ours(VIP + "/32"), address("169.254.0.1/32"))}),
        want(VIP, interface="lb0", present=False),
        ["address del 192.168.10.100/32 dev lb0"],
    ),
    "another's dummy stays": (
        State({"lb0": dummy("lb0", ours(VIP + "/32"), alias="")}),
        want(VIP, interface="lb0", present=False),
        ["address del 192.168.10.100/32 dev lb0"],
    ),
    "purge spares the addresses of another declaration": (
        State(
            {
                "eth0": Link("eth0", (OWN, address("192.168.10.99/32", OURS + 1))),
                "lb1": dummy("lb1", address("10.0.0.1/32", OURS + 1)),
            }
        ),
        want(VIP, purge="node"),
        [ADD_100],
    ),
    "the old dummy goes when the link changes": (
        State({"eth0": Link("eth0", (OWN,)), "lb0": dummy("lb0", ours(VIP + "/32"))}),
        want(VIP, purge="node"),
        ["address del 192.168.10.100/32 dev lb0", ADD_100, "link del dev lb0"],
    ),
}


@pytest.mark.parametrize("case", PLANS.values(), ids=PLANS)
def test_plan(case: tuple[State, Want, list[str]]) -> None:
    have, wanted, steps = case
    made = plan(have, wanted)
    assert do(made) == steps
    assert (made.before != made.after) == bool(steps)


@pytest.mark.parametrize(
    ("have", "wanted", "message"),
    [
        (node(eth0=[], lo=[]), want(interface="eth9"), "interface eth9 does not exist: this node has eth0, lo; choose"),
        (node(), want(interface="a/b", dummy=True), "interface a/b is not a valid link name"),
        (node(), want(interface="sixteen-letters-", dummy=True), "interface sixteen-letters- is not a valid link name"),
        (node(eth0=[]), want(dummy=True), "interface eth0 is not a dummy link: choose another name"),
        (
            State({"eth0": Link("eth0", kind="veth")}),
            want(dummy=True),
            "interface eth0 is not a dummy link but of type veth: choose another name",
        ),
        (
            State({"eth0": Link("eth0")}, ipv6=False),
            want(VIP, "fd00::1"),
            "addresses[1] fd00::1 cannot be put on eth0, where IPv6 is disabled: set net.ipv6.conf.eth0.disable_ipv6",
        ),
        (
            State({}, ipv6=False),
            want("fd00::1", interface="lb0", dummy=True),
            "addresses[0] fd00::1 cannot be put on lb0, where IPv6 is disabled: set net.ipv6.conf.default.disable_ipv6",
        ),
        (
            node(eth0=[OWN], eth1=[address("10.0.0.1/24")]),
            want(VIP, "10.0.0.1"),
            "addresses[1] 10.0.0.1 is already on eth1 of this node",
        ),
        (node(eth0=[OWN]), want("192.168.10.1/32"), "addresses[0] 192.168.10.1/32 is already on eth0 as 192.168.10.1/"),
        (
            node(eth0=[OWN, address(VIP + "/32", OURS + 1)]),
            want(VIP),
            "addresses[0] %s is on eth0 for the Services of a cluster (metric 27747): two declarations cannot" % VIP,
        ),
        (
            node(eth0=[OWN], eth1=[ours(VIP + "/32")]),
            want(VIP, metric=OURS + 1),
            "addresses[0] %s is on eth1 for the host's own services (metric 27746): two declarations cannot" % VIP,
        ),
        (
            node(eth0=[OWN]),
            want("192.168.10.255"),
            "addresses[0] 192.168.10.255 on eth0 is the broadcast address of 192.168.10.0/24",
        ),
    ],
)
def test_addresses_impossible_on_the_node_are_refused(have: State, wanted: Want, message: str) -> None:
    with pytest.raises(InputError) as refused:
        plan(have, wanted)
    assert str(refused.value).startswith(message)


def test_diff_looks_like_ip_address_show() -> None:
    have = node(eth0=[address("fe80::1/64"), OWN, ours("192.168.10.99/32")], eth1=[])
    made = plan(have, want("fd00::9", VIP, purge="link"))
    assert made.before == "eth0: up\n    inet 192.168.10.1/24\n    inet 192.168.10.99/32 metric 27746\n"
    assert made.after == (
        "eth0: up\n    inet 192.168.10.1/24\n    inet 192.168.10.100/32 metric 27746\n"
        "    inet6 fd00::9/128 metric 27746\n"
    )


def test_diff_of_a_created_link() -> None:
    made = plan(node(), want(VIP, interface="lb0", dummy=True))
    assert (made.before, made.after) == ("", "lb0: dummy up\n    inet 192.168.10.100/32 metric 27746\n")


def test_batch_restores_the_previous_state() -> None:
    made = plan(node(eth0=[OWN, ours("10.0.0.1/32")]), want(VIP, "fd00::9", "192.168.10.1"))
    assert list(made.batch) == [
        "address replace 192.168.10.100/32 dev eth0 metric 27746",
        "address replace fd00::9/128 dev eth0 metric 27746 nodad noprefixroute preferred_lft 0",
    ]
    assert plan(node(), want(interface="lb0", dummy=True)).batch == (
        "link add name lb0 type dummy",
        "link set dev lb0 alias homelab.loadbalancer up",
    )
    assert plan(node(eth0=[]), want(VIP, present=False)).batch == ()


def test_foreign_addresses_are_kept_and_noted() -> None:
    made = plan(node(eth0=[OWN]), want("192.168.10.1", present=False))
    assert not made.steps
    assert "addresses[0] 192.168.10.1 was not added by this module" in made.warnings[0]
    assert made.warnings[0].endswith("ip address del 192.168.10.1/24 dev eth0")


def test_port_of_a_bridge() -> None:
    made = plan(State({"eth0": Link("eth0", port_of="br0")}), want(VIP))
    assert made.warnings == ("eth0 is a port of br0, which takes its packets: declare the addresses on br0",)


def test_neighbours_on_the_same_network_are_kept() -> None:
    have = node(eth0=[ours("192.168.10.100/24"), OWN])
    assert plan(have, want(VIP, present=False)).promote == ("eth0",)
    assert plan(node(eth0=[OWN, ours(VIP + "/32")]), want(VIP, present=False)).promote == ()
    # Also those that are to go: the kernel takes them with the first one, and refuses to remove them again.
    both = node(eth0=[ours("192.168.10.100/24"), ours("192.168.10.101/24")])
    assert plan(both, want(purge="node")).promote == ("eth0",)


POOL = [ipaddress.ip_address(text) for text in ("10.0.0.1", "10.0.0.2", "10.0.0.3", "fd00::1", "fd00::2")]
ANY_ADDRESS = st.builds(
    lambda ip, full, metric: Address(ip, ip.max_prefixlen if full else 24, metric),
    st.sampled_from(POOL),
    st.booleans(),
    st.sampled_from([0, 5, OURS]),
)
LINKS = st.lists(st.lists(ANY_ADDRESS, unique_by=lambda a: a.ip, max_size=4), min_size=2, max_size=2)


@settings(deadline=None)
@given(LINKS, st.lists(st.sampled_from(POOL), unique=True), st.booleans(), st.sampled_from(["none", "link", "node"]))
def test_any_plan_is_idempotent_and_keeps_foreign_addresses(
    links: list[list[Address]], ips: list[ipaddress.IPv4Address], present: bool, purge: str
) -> None:
    have = node(eth0=links[0], eth1=links[1])
    wanted = want(*map(str, ips), present=present, purge=purge)
    try:
        made = plan(have, wanted)
    except InputError as error:
        assert "already on eth1 of this node" in str(error)  # noqa: PT017 - the only refusal these states allow
        return
    state = {name: list(link.addresses) for name, link in have.links.items()}
    play(state, do(made))
    again = plan(node(**state), wanted)
    assert not again.steps
    assert again.before == again.after
    play(state, [line for step in reversed(made.steps) for line in step.undo])
    assert {name: set(found) for name, found in state.items()} == {
        name: set(link.addresses) for name, link in have.links.items()
    }


def play(state: dict[str, list[Address]], lines: list[str]) -> None:
    for line in lines:
        verb, text, link = line.split()[1], line.split()[2], line.split()[4]
        if verb == "del":
            (gone,) = [a for a in state[link] if str(a) == text and a.metric == OURS]
            state[link].remove(gone)
        else:
            assert verb == "add"
            state[link].append(ours(text))


# In two parts, with something else in between

MOVED = node(eth0=[OWN, ours("192.168.10.100/32")], eth1=[ours("192.168.10.102/32"), ours("192.168.10.103/32")])


@pytest.mark.parametrize(
    ("have", "declared", "removals", "additions"),
    [
        (node(eth0=[OWN, ours("192.168.10.100/32")]), want("192.168.10.100"), [], []),
        (
            node(eth0=[OWN, ours("192.168.10.100/32")]), want("192.168.10.101"), [DEL_100],
            ["address add 192.168.10.101/32 dev eth0 metric 27746"],
        ),
        (node(eth0=[OWN]), want("192.168.10.100"), [], [ADD_100]),
        # One that is declared on another link now goes with the other part, so that it is never missed for long.
        (
            MOVED, want("192.168.10.100", "192.168.10.102"), ["address del 192.168.10.103/32 dev eth1"],
            ["address del 192.168.10.102/32 dev eth1", "address add 192.168.10.102/32 dev eth0 metric 27746"],
        ),
        (MOVED, want(present=False, interface="eth1"), [
            DEL_100, "address del 192.168.10.102/32 dev eth1", "address del 192.168.10.103/32 dev eth1",
        ], []),
        (
            State({"lb0": dummy("lb0", ours("10.0.0.1/32"))}), want("10.0.0.2", interface="lb0", dummy=True),
            ["address del 10.0.0.1/32 dev lb0"], ["address add 10.0.0.2/32 dev lb0 metric 27746"],
        ),
        (
            State({"lb0": dummy("lb0", ours("10.0.0.1/32"))}), want("10.0.0.1", interface="lb1", dummy=True),
            [],
            ["address del 10.0.0.1/32 dev lb0", "link add name lb1 type dummy",
             "link set dev lb1 alias homelab.loadbalancer up", "address add 10.0.0.1/32 dev lb1 metric 27746",
             "link del dev lb0"],
        ),
        (
            State({"lb0": dummy("lb0", ours("10.0.0.1/32"))}), want(present=False, interface="lb0"),
            ["address del 10.0.0.1/32 dev lb0", "link del dev lb0"], [],
        ),
    ],
)  # fmt: skip
def test_undeclared_addresses_go_first_and_moves_come_with_the_additions(
    have: State, declared: Want, removals: list[str], additions: list[str]
) -> None:
    made = plan(have, declared._replace(purge="node"))
    assert [step.do for step in made.removals] == removals
    assert [step.do for step in made.additions] == additions
