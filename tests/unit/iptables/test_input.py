# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The options of the iptables modules, and the messages for wrong ones."""

from __future__ import annotations

import socket
from typing import Any

import pytest

from ansible_collections.homelab.loadbalancer.plugins.module_utils._common.errors import InputError
from ansible_collections.homelab.loadbalancer.plugins.module_utils._iptables.input import (
    parse_options,
    parse_prefix,
    parse_tables,
)
from ansible_collections.homelab.loadbalancer.plugins.module_utils._iptables.rules import Jump, WantedTable

OPTIONS: dict[str, Any] = {
    "prefix": "LB-",
    "layout": "auto",
    "masquerade": True,
    "masquerade_mark": "0x1000",
    "pod_cidr": [],
    "isolate": [],
}


@pytest.mark.parametrize("prefix", ["LB-", "lb", "A_", "x.y-", "A" * 27])
def test_prefixes(prefix: str) -> None:
    assert parse_prefix(prefix) == prefix


@pytest.mark.parametrize("prefix", ["", "L", "-L", ".L", "L B", "LB\n", "LB-*", "A" * 28])
def test_invalid_prefixes_are_refused(prefix: str) -> None:
    with pytest.raises(InputError) as refused:
        parse_prefix(prefix)
    assert str(refused.value) == (
        "prefix %r cannot begin chain names: use 2 to 27 letters, digits and hyphens" % prefix
    )


def test_a_prefix_of_a_built_in_chain_is_refused() -> None:
    with pytest.raises(InputError, match=r"^prefix PRE would own the built-in chain PREROUTING: choose another"):
        parse_prefix("PRE")


def test_tables() -> None:
    raw = {
        "nat": {
            "chains": {"LB-A": ["  -j DROP ", "", '-m comment --comment "a \\"b\\" -j" -j RETURN'], "LB-B": None},
            "jumps": {
                "OUTPUT": [
                    {"rule": "-j LB-A"},
                    {"rule": "-g LB-B", "position": "last"},
                    {"rule": "-p tcp   -j  LB-A", "before": "DOCKER"},
                    {"rule": "--jump LB-A", "after": "ACCEPT", "position": None},
                ],
                "DOCKER-USER": None,
            },
        },
        "raw": None,
        "filter": {"chains": None},
    }
    nothing = WantedTable({}, {})
    assert parse_tables(raw, "LB-") == {
        "nat": WantedTable(
            {"LB-A": ["-j DROP", "", '-m comment --comment "a \\"b\\" -j" -j RETURN'], "LB-B": []},
            {
                "OUTPUT": [
                    Jump("-j LB-A"),
                    Jump("-g LB-B", "last"),
                    Jump("-p tcp   -j  LB-A", "before", "DOCKER"),
                    Jump("--jump LB-A", "after", "ACCEPT"),
                ],
                "DOCKER-USER": [],
            },
        ),
        "raw": nothing,
        "filter": nothing,
    }
    assert parse_tables({}, "LB-") == {}


@pytest.mark.parametrize(
    ("written", "taken"),
    [
        ("-i 'lo' -j DROP", "-i lo -j DROP"),
        ("-m string --algo bm --string 'wp-login.php'", '-m string --algo bm --string "wp-login.php"'),
        ("-m comment --comment 'two words'", '-m comment --comment "two words"'),
        ("-m comment --comment two\\ words", '-m comment --comment "two words"'),
        ("-m comment --comment 'say \"hi\"'", '-m comment --comment "say \\"hi\\""'),
        ("-m comment --comment 'it'\\''s'", '-m comment --comment "it\\\'s"'),
        ('-m comment --comment "it\\\'s"', '-m comment --comment "it\\\'s"'),  # as iptables-save prints it
        ("-m comment --comment 'a\\b'", '-m comment --comment "a\\\\b"'),
        ('-m comment --comment "a\\d"', '-m comment --comment "a\\\\d"'),
        ("-m comment --comment '$HOME %i'", '-m comment --comment "$HOME %i"'),
        ("-p 'tcp' --dport=\"80\"", '-p tcp "--dport=80"'),
        ("-m comment --comment ''", '-m comment --comment ""'),
        ("-p tcp\n", "-p tcp"),  # a YAML block
    ],
)
def test_quotes_are_those_of_a_shell(written: str, taken: str) -> None:
    raw = {"filter": {"chains": {"LB-A": [written]}, "jumps": {"INPUT": [{"rule": "-j 'LB-A' " + written}]}}}
    table = parse_tables(raw, "LB-")["filter"]
    assert table.chains["LB-A"] == [taken]
    assert table.jumps["INPUT"] == [Jump("-j LB-A " + taken)]


def jumps(entry: Any) -> dict[str, Any]:
    return {"nat": {"chains": {"LB-A": []}, "jumps": {"OUTPUT": [{"rule": "-j LB-A"}, entry]}}}


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (["nat"], "tables must be a mapping, not list"),
        (
            {"broute": {}},
            "tables.broute is not a table of iptables: choose one of raw, mangle, nat, filter, security",
        ),
        ({"nat": ["LB-A"]}, "tables.nat must be a mapping, not list"),
        ({"nat": {"rules": {}}}, "tables.nat.rules is not a known key: the keys are chains, jumps"),
        ({"nat": {"chains": ["LB-A"]}}, "tables.nat.chains must be a mapping, not list"),
        (
            {"nat": {"chains": {"OUTPUT": []}}},
            "tables.nat.chains.OUTPUT does not begin with the prefix LB-, so it is not ours",
        ),
        (
            {"nat": {"chains": {"LB-" + "A" * 26: []}}},
            "tables.nat.chains.LB-%s is not a chain name: use 28 letters, digits and hyphens at most" % ("A" * 26),
        ),
        (
            {"nat": {"chains": {"LB-A B": []}}},
            "tables.nat.chains.LB-A B is not a chain name: use 28 letters, digits and hyphens at most",
        ),
        ({"nat": {"chains": {"LB-A": "-j DROP"}}}, "tables.nat.chains.LB-A must be a list, not str"),
        (
            {"nat": {"chains": {"LB-A": ["", {"rule": "-j DROP"}]}}},
            "tables.nat.chains.LB-A[1] is not a rule: write text such as -p tcp --dport 80 -j ACCEPT",
        ),
        (
            {"nat": {"chains": {"LB-A": ["-j DROP\n-j ACCEPT"]}}},
            "tables.nat.chains.LB-A[0] is more than one line: write one rule an entry, and a long one after >- in YAML",
        ),
        (
            {"nat": {"chains": {"LB-A": ['-m comment --comment "a b -j DROP']}}},
            'tables.nat.chains.LB-A[0] `-m comment --comment "a b -j DROP` has a quote that is not closed',
        ),
        (
            {"nat": {"chains": {"LB-A": ["-i 'lo -j DROP"]}}},
            "tables.nat.chains.LB-A[0] `-i 'lo -j DROP` has a quote that is not closed",
        ),
        (
            {"nat": {"chains": {"LB-A": ["-j DROP \\"]}}},
            "tables.nat.chains.LB-A[0] `-j DROP \\` ends with a backslash",
        ),
        ({"nat": {"jumps": {"LB-A": []}}}, "tables.nat.jumps.LB-A is a chain of ours: its rules go under chains"),
        ({"nat": {"jumps": {"OUTPUT": {"rule": "-j LB-A"}}}}, "tables.nat.jumps.OUTPUT must be a list, not dict"),
        (jumps("-j LB-A"), "tables.nat.jumps.OUTPUT[1] must be a mapping, not str"),
        (
            jumps(None),
            "tables.nat.jumps.OUTPUT[1].rule is not a rule: write text such as -p tcp --dport 80 -j ACCEPT",
        ),
        (
            jumps({"rule": "-j LB-A", "at": 1}),
            "tables.nat.jumps.OUTPUT[1].at is not a known key: the keys are rule, position, before, after",
        ),
        (
            jumps({"rule": "-j DROP"}),
            "tables.nat.jumps.OUTPUT[1].rule `-j DROP` does not jump to a chain under tables.nat.chains",
        ),
        (
            jumps({"rule": '-m comment --comment "-j LB-A"'}),
            'tables.nat.jumps.OUTPUT[1].rule `-m comment --comment "-j LB-A"` does not jump to a chain under '
            "tables.nat.chains",
        ),
        (
            jumps({"rule": "-j LB-A", "before": "DOCKER", "after": "DOCKER"}),
            "tables.nat.jumps.OUTPUT[1] has both before and after: give only one of them",
        ),
        (
            jumps({"rule": "-j LB-A", "position": 1}),
            "tables.nat.jumps.OUTPUT[1].position 1 is neither first nor last; or write before or after",
        ),
    ],
)
def test_each_mistake_is_named(raw: Any, message: str) -> None:
    with pytest.raises(InputError) as refused:
        parse_tables(raw, "LB-")
    assert str(refused.value) == message


def test_options_of_services() -> None:
    link = socket.if_nameindex()[0][1]
    parsed = parse_options(
        {
            **OPTIONS,
            "masquerade_mark": 4096,
            "pod_cidr": ["10.244.0.0/16", "fd00:244::/56"],
            "isolate": [{"from": link, "to": link}],
        }
    )
    assert {family: options.pod_cidr for family, options in parsed.items()} == {
        "ipv4": "10.244.0.0/16",
        "ipv6": "fd00:244::/56",
    }
    assert parsed["ipv4"]._replace(pod_cidr="") == parsed["ipv6"]._replace(pod_cidr="")
    assert parsed["ipv4"].isolate == ((link, link),)
    assert 0x1000 in parsed["ipv4"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"prefix": "TOO-LONG-"}, "prefix 'TOO-LONG-' cannot begin chain names: use 2 to 8 letters, digits and "),
        ({"masquerade_mark": "0x3000"}, "masquerade_mark 0x3000 is not a single bit of 32: write for instance 0x1000"),
        ({"masquerade_mark": "0"}, "masquerade_mark 0 is not a single bit of 32: write for instance 0x1000"),
        ({"masquerade_mark": "0x100000000"}, "masquerade_mark 0x100000000 is not a single bit of 32"),
        ({"masquerade_mark": "mark"}, "masquerade_mark mark is not a single bit of 32: write for instance 0x1000"),
        ({"pod_cidr": ["10.0.0.300"]}, "pod_cidr[0] 10.0.0.300"),
        (
            {"pod_cidr": ["10.1.0.0/16", "10.2.0.0/16"]},
            "pod_cidr[1] 10.2.0.0/16 is a second network of its address family: remove one of them",
        ),
        (
            {"isolate": [{"from": "lo", "to": "nowhere0"}]},
            "isolate[0].to nowhere0 is not an interface of this node: it has ",
        ),
    ],
)
def test_each_mistake_in_options_of_services_is_named(change: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError) as refused:
        parse_options({**OPTIONS, **change})
    assert str(refused.value).startswith(message)
