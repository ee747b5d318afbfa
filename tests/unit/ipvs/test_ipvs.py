# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Virtual servers: declarations, their text, and the plan."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.homelab.loadbalancer.plugins.module_utils._common.errors import InputError
from ansible_collections.homelab.loadbalancer.plugins.module_utils._ipvs.input import (
    Scope,
    parse_scope,
    parse_virtual_servers,
)
from ansible_collections.homelab.loadbalancer.plugins.module_utils._ipvs.model import (
    Front,
    RealServer,
    VirtualServer,
    parse,
    render,
)
from ansible_collections.homelab.loadbalancer.plugins.module_utils._ipvs.netlink import (
    DEL_DEST,
    DEL_SERVICE,
    NEW_DEST,
    NEW_SERVICE,
    SET_DEST,
    SET_SERVICE,
    Change,
)
from ansible_collections.homelab.loadbalancer.plugins.module_utils._ipvs.plan import Plan, plan

WEB = {"address": "10.254.0.1", "port": 80}
REAL = {"address": "10.244.0.2", "port": 8080}
SAVED = """\
-A -t 10.0.0.1:0 -s mh -p 60 -M 255.255.255.0 -b mh-port
-A -t 10.0.0.1:80 -s wlc
-a -t 10.0.0.1:80 -r 10.0.0.2:8080 -m -w 0 -x 20 -y 10
-a -t 10.0.0.1:80 -r 10.0.0.10:8080 -m -w 3
-A -t 10.0.0.1:81 -s wlc -p 360 -b flag-1,flag-3
-A -u 10.0.0.1:53 -s sh -o -b sh-fallback,sh-port
-A -u 10.0.0.1:5060 -s lc -p 60 --pe sip
-A --sctp-service 10.0.0.1:81 -s ovf
-A -t [fd00::1]:81 -s fo -p 100 -M 64
-a -t [fd00::1]:81 -r 10.0.0.9:81 -i -w 1 --tun-type ipip
-a -t [fd00::1]:81 -r [fd00::2]:81 -g -w 1
-A -f 5 -s lc
-a -f 5 -r 10.0.0.4:0 -m -w 1
-A -f 5 -6 -s lc
"""


def virtuals(text: str) -> dict[Front, VirtualServer]:
    return {virtual.front: virtual for virtual in parse(text)}


def declared(*entries: dict[str, Any], scope: Scope = Scope()) -> list[VirtualServer]:  # noqa: B008 - never changes
    return parse_virtual_servers(list(entries), scope)


def test_text_is_read_as_it_is_written() -> None:
    assert render(parse(SAVED)) == SAVED
    assert render(reversed(parse(SAVED))) == SAVED


@pytest.mark.parametrize(
    "line",
    ["-D -t 10.0.0.1:80", "-A -t 10.0.0.1 -s rr", "-A -t 10.0.0.1:80", "-a -t 1.2.3.4:5 -r 1.1.1.1:1 -m -w 1", "x"],
)
def test_invalid_text_is_refused(line: str) -> None:
    with pytest.raises(InputError, match=r"^line 2 `"):
        parse("-A -t 10.0.0.1:80 -s rr\n" + line)


def test_all_options_are_parsed() -> None:
    found = declared(
        {"address": "10.0.0.1", "port": 0, "scheduler": "mh", "persistence_timeout": "60", "persistence_netmask": 24,
         "flags": ["mh-port"]},
        {"address": "10.0.0.1", "port": 80, "real_servers": [
            {"address": "10.0.0.2", "port": 8080, "weight": 0, "upper_threshold": 20, "lower_threshold": 10},
            {"address": "10.0.0.10", "port": "8080", "weight": 3}]},
        {"address": "10.0.0.1", "port": 81, "persistence_timeout": 360, "flags": ["flag-3", "flag-1"]},
        {"address": "10.0.0.1", "port": 53, "protocol": "udp", "scheduler": "sh", "one_packet": True,
         "flags": ["sh-port", "sh-fallback"]},
        {"address": "10.0.0.1", "port": 5060, "protocol": "udp", "scheduler": "lc", "persistence_timeout": 60,
         "persistence_engine": "sip"},
        {"address": "10.0.0.1", "port": 81, "protocol": "sctp", "scheduler": "ovf"},
        {"address": "FD00:0::1", "port": 81, "scheduler": "fo", "persistence_timeout": 100,
         "persistence_netmask": "/64", "real_servers": [
             {"address": "10.0.0.9", "forward": "tunnel"}, {"address": "fd00::2", "forward": "direct"}]},
        {"mark": 5, "scheduler": "lc", "real_servers": [{"address": "10.0.0.4"}]},
        {"mark": "5", "family": "ipv6", "scheduler": "lc"},
    )  # fmt: skip
    assert render(found) == SAVED


BAD: dict[str, tuple[Any, str]] = {
    "no mapping": ("10.0.0.1:80", " must be a mapping with the keys address, port,"),
    "unknown key": ({**WEB, "adress": 1}, ".adress is not a known key"),
    "no address": ({"port": 80}, ".address is missing"),
    "no port": ({"address": "10.0.0.1"}, ".port is missing"),
    "host name": ({**WEB, "address": "web"}, ".address web is not an IP address"),
    "port 0 without persistence": ({**WEB, "port": 0}, ".port 0 stands for all ports, which needs a pers"),
    "port too high": ({**WEB, "port": 65536}, ".port 65536 is not a port from 0 to 65535"),
    "protocol": ({**WEB, "protocol": "icmp"}, ".protocol icmp is not one of tcp, udp, sctp"),
    "family beside an address": ({**WEB, "family": "ipv4"}, ".family is only for marks"),
    "mark with port": ({"mark": 1, "port": 80}, " has both mark and port"),
    "mark 0": ({"mark": 0}, ".mark 0 is not a range of marks"),
    "marks": ({"mark": "1-2"}, ".mark 1-2 is not one mark"),
    "family of a mark": ({"mark": 1, "family": "inet"}, ".family inet is not one of ipv4, ipv6"),
    "scheduler": ({**WEB, "scheduler": "-rr"}, ".scheduler '-rr' is not the name of a scheduler"),
    "flag of another": ({**WEB, "scheduler": "mh", "flags": ["sh-port"]}, ".flags: sh-port is not a flag of the sch"),
    "flags no list": ({**WEB, "flags": "sh-port"}, ".flags must be a list"),
    "one packet": ({**WEB, "one_packet": True}, ".one_packet is for udp and marks: a connection of tcp is more"),
    "one packet no boolean": ({**WEB, "one_packet": "yes"}, ".one_packet yes is neither true nor false"),
    "timeout": ({**WEB, "persistence_timeout": "5m"}, ".persistence_timeout 5m is not a number of seconds from 0 to"),
    "netmask": (
        {**WEB, "persistence_timeout": 5, "persistence_netmask": "255.0.255.0"},
        ".persistence_netmask 255.0.255.0 is not a netmask: write 255.255.255.0, or 24",
    ),
    "inverted netmask": (
        {**WEB, "persistence_timeout": 5, "persistence_netmask": "0.0.0.255"}, ".persistence_netmask 0.0.0.255 is not",
    ),
    "netmask of all": ({**WEB, "persistence_timeout": 5, "persistence_netmask": 0}, ".persistence_netmask 0 is not a"),
    "prefix": (
        {"address": "fd00::1", "port": 80, "persistence_timeout": 5, "persistence_netmask": 129},
        ".persistence_netmask 129 is not a prefix length from 1 to 128",
    ),
    "netmask alone": ({**WEB, "persistence_netmask": 24}, ".persistence_netmask has no effect without a persistence_"),
    "engine alone": ({**WEB, "persistence_engine": "sip"}, ".persistence_engine needs the protocol udp and a pers"),
    "engine's name": ({**WEB, "persistence_engine": "a b"}, ".persistence_engine 'a b' is not a persistence engine"),
    "real servers no list": ({**WEB, "real_servers": REAL}, ".real_servers must be a list"),
    "outside": ({**WEB, "address": "10.9.0.1"}, " -t 10.9.0.1:80 is outside the scope, so the module could not"),
    "mark outside": ({"mark": 101}, " -f 101 is outside the scope, so the module could not"),
}  # fmt: skip
BAD_REALS: dict[str, tuple[Any, str]] = {
    "host name": ({"address": "web"}, ".address web is not an IP address"),
    "unknown key": ({**REAL, "wheight": 1}, ".wheight is not a known key"),
    "forward": ({**REAL, "forward": "nat"}, ".forward nat is not one of masquerade, direct, tunnel"),
    "weight": ({**REAL, "weight": 65536}, ".weight 65536 is not a weight from 0 to 65535"),
    "negative weight": ({**REAL, "weight": -1}, ".weight -1 is not a weight"),
    "other family": ({"address": "fd00::2"}, ".address fd00::2 is IPv6 but the virtual server -t 10.254.0.1:80 is"),
    "other family directly": ({"address": "fd00::2", "forward": "direct"}, ".address fd00::2 is IPv6 but the virtual"),
    "port of direct": ({**REAL, "forward": "direct"}, ".port 8080 is not the virtual server's, 80, and only forward"),
    "port of tunnel": ({**REAL, "forward": "tunnel"}, ".port 8080 is not the virtual server's, 80, and only forward"),
    "port 0": ({**REAL, "port": 0}, ".port 0: a virtual server of all ports keeps them, and only that: leave it out"),
    "thresholds": ({**REAL, "upper_threshold": 5, "lower_threshold": 6}, ".lower_threshold 6 is above upper"),
    "lower alone": ({**REAL, "lower_threshold": 6}, ".lower_threshold 6 is above upper_threshold 0"),
}  # fmt: skip
SCOPE = parse_scope(["10.254.0.0/16", "fd00::/64"], ["1-100"])


@pytest.mark.parametrize("case", BAD)
def test_a_bad_virtual_server_is_named(case: str) -> None:
    entry, said = BAD[case]
    with pytest.raises(InputError) as refused:
        declared({"mark": 1, "family": "ipv6"}, entry, scope=SCOPE)
    assert str(refused.value).startswith("virtual_servers[1]" + said)


@pytest.mark.parametrize("case", BAD_REALS)
def test_a_bad_real_server_is_named(case: str) -> None:
    entry, said = BAD_REALS[case]
    with pytest.raises(InputError) as refused:
        declared({**WEB, "real_servers": [REAL, entry]}, scope=SCOPE)
    assert str(refused.value).startswith("virtual_servers[0].real_servers[1]" + said)


def test_duplicates_are_named() -> None:
    with pytest.raises(
        InputError, match=r"^virtual_servers\[1\] declares -t 10.254.0.1:80, which virtual_servers\[0\] also"
    ):
        declared(WEB, {**WEB, "port": "80"})
    with pytest.raises(InputError, match=r"^virtual_servers\[0\].real_servers\[1\] 10.244.0.2:8080 stands already"):
        declared({**WEB, "real_servers": [REAL, {**REAL, "weight": 2}]})


@pytest.mark.parametrize(
    ("networks", "marks", "message"),
    [
        (["10.0.0.1/8"], [], r"scope\[0\] 10.0.0.1/8 has host bits set"),
        (["all"], [], r"scope\[0\] all is not a network"),
        ([], ["1", "5-3"], r"scope_marks\[1\] 5-3 is not a range of marks"),
        ([], ["4294967296"], r"scope_marks\[0\] 4294967296 is not a range of marks"),
    ],
)
def test_bad_scopes_are_named(networks: list[str], marks: list[str], message: str) -> None:
    with pytest.raises(InputError, match="^" + message):
        parse_scope(networks, marks)


def test_scope() -> None:
    held = [
        Front("ipv4", "tcp", "10.254.255.255", 80), Front("ipv6", "udp", "fd00::1", 53), Front("ipv6", mark=100),
    ]  # fmt: skip
    others = [Front("ipv4", "tcp", "10.255.0.0", 80), Front("ipv6", "udp", "fd01::1", 53), Front("ipv4", mark=101)]
    assert [SCOPE.holds(front) for front in held + others] == [True] * 3 + [False] * 3
    assert not any(Scope().holds(front) for front in held)


ONE = "-A -t 10.0.0.1:80 -s rr\n-a -t 10.0.0.1:80 -r 10.0.0.2:80 -m -w 2\n-a -t 10.0.0.1:80 -r 10.0.0.3:80 -m -w 1\n"
NAMES = {
    NEW_SERVICE: "new", SET_SERVICE: "set", DEL_SERVICE: "delete",
    NEW_DEST: "new", SET_DEST: "set", DEL_DEST: "delete",
}  # fmt: skip


def spelled(changes: tuple[Change, ...]) -> list[str]:
    return [
        "%s %s"
        % (NAMES[change.command], change.real.address[-1:] + "w%d" % change.real.weight if change.real else "it")
        for change in changes
    ]


PLANS: dict[str, tuple[str, str, dict[str, bool], list[str], list[str], list[str]]] = {
    "nothing": ("", "", {}, [], [], []),
    "the same": (ONE, ONE, {}, [], [], []),
    "all new": ("", ONE, {}, ["new it", "new 2w2", "new 3w1"], [], []),
    "all gone": (ONE, "", {}, ["delete it"], [], []),
    "all gone, drained": (
        ONE, "", {"drain": True}, ["set 2w0", "set 3w0"], ["delete 2w2", "delete 3w1"], ["delete it"],
    ),
    "an empty one gone": (ONE[:24], "", {"drain": True}, ["delete it"], [], []),
    "another scheduler": (ONE, ONE.replace("rr", "lc"), {}, ["set it"], [], []),
    "another weight": (ONE, ONE.replace("-w 2", "-w 5"), {}, ["set 2w5"], [], []),
    "another way": (ONE, ONE.replace("2:80 -m", "2:80 -g"), {}, ["set 2w2"], [], []),
    "a threshold": (ONE, ONE.replace("-w 2", "-w 2 -x 9"), {}, ["set 2w2"], [], []),
    "one for another": (ONE, ONE.replace("0.3:", "0.4:"), {}, ["new 4w1", "delete 3w1"], [], []),
    "one for another, drained": (
        ONE, ONE.replace("0.3:", "0.4:"), {"drain": True}, ["new 4w1", "set 3w0"], ["delete 3w1"], [],
    ),
    "weight 0 already": (ONE.replace("-w 1", "-w 0"), ONE[:65], {"drain": True}, [], ["delete 3w0"], []),
    "udp is not drained": (
        ONE.replace("-t", "-u"), ONE[:65].replace("-t", "-u"), {"drain": True}, ["delete 3w1"], [], [],
    ),
    "weights preserved": (ONE.replace("-w 2", "-w 7"), ONE, {"preserve_weights": True}, [], [], []),
    "weights preserved, the rest not": (
        ONE.replace("-w 2", "-w 7"), ONE.replace("0.3:", "0.4:").replace("-w 2", "-w 2 -x 9"),
        {"preserve_weights": True}, ["new 4w1", "set 2w7", "delete 3w1"], [], [],
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", PLANS)
def test_plan(case: str) -> None:
    before, after, options, changes, draining, last = PLANS[case]
    made = plan(virtuals(before), parse(after), **options)
    assert [spelled(part) for part in (made.changes, made.draining, made.last)] == [changes, draining, last]
    assert made.changed == bool(changes or draining or last)
    if not options.get("preserve_weights"):
        assert made.diff()["after"] == (after if made.changed else "")


def test_diff_shows_what_changes_and_the_weights_that_stay() -> None:
    other = "-A -t 10.0.0.9:80 -s rr\n"
    have = ONE.replace("-w 2", "-w 7")
    made = plan(virtuals(have + other), parse(ONE.replace("rr", "lc") + other), preserve_weights=True)
    assert (made.diff()["before"], made.diff()["after"]) == (have, have.replace("rr", "lc"))


REALS = st.builds(
    RealServer,
    st.sampled_from(["10.0.0.2", "10.0.0.3", "10.0.0.4"]),
    st.just(80),
    st.sampled_from(["masquerade", "direct"]),
    st.integers(0, 2),
    st.integers(0, 1),
)
SERVERS = st.builds(
    lambda address, scheduler, timeout, reals: VirtualServer(
        Front("ipv4", "tcp", address, 80), scheduler, timeout=timeout, real_servers=tuple(sorted(reals))
    ),
    st.sampled_from(["10.0.1.1", "10.0.1.2", "10.0.1.3"]),
    st.sampled_from(["rr", "lc"]),
    st.sampled_from([0, 60]),
    st.lists(REALS, max_size=3, unique_by=lambda real: real.address),
)
STATES = st.lists(SERVERS, max_size=3, unique_by=lambda virtual: virtual.front).map(
    lambda servers: {virtual.front: virtual for virtual in servers}
)


def carried_out(made: Plan) -> dict[Front, VirtualServer]:
    """The state of a kernel, which refuses to add existing and to delete missing entries."""
    state = {front: {real[:2]: real for real in virtual.real_servers} for front, virtual in made.have.items()}
    options = {front: virtual._replace(real_servers=()) for front, virtual in made.have.items()}
    for command, virtual, real in (*made.changes, *made.draining, *made.last):
        front = virtual.front
        assert (front in state) == (command != NEW_SERVICE)
        if command in (NEW_SERVICE, SET_SERVICE):
            options[front] = virtual._replace(real_servers=())
            state.setdefault(front, {})
        elif command == DEL_SERVICE:
            del state[front], options[front]
        else:
            assert real is not None
            assert (real[:2] in state[front]) == (command != NEW_DEST)
            if command == DEL_DEST:
                del state[front][real[:2]]
            else:
                state[front][real[:2]] = real
    return {
        front: options[front]._replace(real_servers=tuple(sorted(reals.values()))) for front, reals in state.items()
    }


@given(STATES, STATES, st.booleans())
def test_any_plan_leads_to_the_declared_state(
    have: dict[Front, VirtualServer], want: dict[Front, VirtualServer], drain: bool
) -> None:
    made = plan(have, want.values(), drain)
    assert carried_out(made) == want == made.then
    assert not plan(want, want.values(), drain).changed
    kept = {front: {real[:2]: real.weight for real in virtual.real_servers} for front, virtual in have.items()}
    for virtual in plan(have, want.values(), preserve_weights=True).then.values():
        for real in virtual.real_servers:
            assert real.weight == kept.get(virtual.front, {}).get(real[:2], real.weight)
