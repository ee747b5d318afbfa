# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The ipsets of a node as an administrator sees them, and every type of set in odd spellings."""

from __future__ import annotations

import re
from typing import Any, Callable

from ansible_collections.homelab.loadbalancer.plugins.module_utils._common.command import run
from ansible_collections.homelab.loadbalancer.tests.integration.namespaces import module

_ASIDE = re.compile(r"( hashsize \d+| initval \S+)")
_TIME_LEFT = re.compile(r" timeout [1-9]\d*")
_MOVING = re.compile(_TIME_LEFT.pattern + r"| packets \d+ bytes \d+")

# By type: options, entries as users write them, and what the kernel makes of them.
TYPES: dict[str, tuple[dict[str, Any], list[str], list[str]]] = {
    "hash:ip": ({}, ["10.0.0.4-10.0.0.6", "10.0.1.0/31"], ["10.0.0.4", "10.0.0.5", "10.0.0.6", "10.0.1.0", "10.0.1.1"]),
    "hash:ip netmask": ({"netmask": 24, "type": "hash:ip"}, ["10.0.0.7", "10.0.1.9"], ["10.0.0.0", "10.0.1.0"]),
    "hash:ip ipv6": (
        {"family": "ipv6", "type": "hash:ip"},
        ["FD00:0::0007", "fd00::192.0.2.1"],
        ["fd00::7", "fd00::c000:201"],
    ),
    "hash:ip all": (
        {"type": "hash:ip", "timeout": 600, "comment": True, "counters": True, "skbinfo": True, "maxelem": 100},
        ['10.0.0.1 comment "a b"', "10.0.0.2 skbprio 1:10 timeout 6000 skbmark 0x1/0xff", "10.0.0.3 timeout 0"],
        ['10.0.0.1 comment "a b"', "10.0.0.2 skbmark 0x1/0xff skbprio 1:10", "10.0.0.3 timeout 0"],
    ),
    "hash:net": (
        {},
        ["10.1.2.3/8", "192.0.2.0-192.0.2.3", "11.0.0.1/32", "12.0.0.0/8 nomatch"],
        ["10.0.0.0/8", "192.0.2.0/30", "11.0.0.1", "12.0.0.0/8 nomatch"],
    ),
    "hash:net timeout": (
        {"type": "hash:net", "timeout": 0, "counters": True},
        ["10.1.2.3/8 nomatch timeout 90", "11.0.0.0/8"],
        ["10.0.0.0/8 nomatch", "11.0.0.0/8 timeout 0"],
    ),
    "hash:net,net": (
        {},
        ["10.0.0.1/8,11.0.0.0/8", "10.0.0.1,10.0.0.2/32 nomatch"],
        ["10.0.0.0/8,11.0.0.0/8", "10.0.0.1,10.0.0.2 nomatch"],
    ),
    "hash:ip,port": (
        {},
        ["10.0.0.1,http", "10.0.0.2,UDP:53-54", "10.0.0.3,icmp:echo-request", "10.0.0.4,47:0"],
        ["10.0.0.1,tcp:80", "10.0.0.2,udp:53", "10.0.0.2,udp:54", "10.0.0.3,icmp:echo-request", "10.0.0.4,gre:0"],
    ),
    "hash:ip,port ipv6": (
        {"family": "ipv6", "type": "hash:ip,port"},
        ["FD00::1,https", "fd00::2,icmpv6:echo-request"],
        ["fd00::1,tcp:443", "fd00::2,ipv6-icmp:echo-request"],
    ),
    "hash:net,port": (
        {},
        ["10.0.0.1/24,80", "10.1.0.0/16,sctp:5-6"],
        ["10.0.0.0/24,tcp:80", "10.1.0.0/16,sctp:5", "10.1.0.0/16,sctp:6"],
    ),
    "hash:ip,port,ip": ({}, ["10.0.0.1,http,10.0.0.1"], ["10.0.0.1,tcp:80,10.0.0.1"]),
    "hash:ip,port,net": ({}, ["10.0.0.1,http,10.9.9.9/24"], ["10.0.0.1,tcp:80,10.9.9.0/24"]),
    "hash:net,port,net": ({}, ["10.0.0.1/24,http,10.9.9.9/24"], ["10.0.0.0/24,tcp:80,10.9.9.0/24"]),
    "hash:net,iface": (
        {},
        ["10.0.0.1/24,eth0", "0.0.0.0/0,physdev:eth1", "10.3.0.0/16,eth wildcard"],
        ["10.0.0.0/24,eth0", "0.0.0.0/0,physdev:eth1", "10.3.0.0/16,eth wildcard"],
    ),
    "hash:ip,mark": ({}, ["10.0.0.1,16", "10.0.0.2,0x00ff"], ["10.0.0.1,0x00000010", "10.0.0.2,0x000000ff"]),
    "hash:mac": ({}, ["aa:Bb:cc:00:11:22"], ["AA:BB:CC:00:11:22"]),
    "hash:ip,mac": ({}, ["10.0.0.1,aa:Bb:cc:00:11:22"], ["10.0.0.1,AA:BB:CC:00:11:22"]),
    "bitmap:ip": ({"range": "10.0.0.0/24"}, ["10.0.0.1-10.0.0.2", "10.0.0.9"], ["10.0.0.1", "10.0.0.2", "10.0.0.9"]),
    "bitmap:ip,mac": (
        {"range": "10.0.0.0-10.0.0.99"},
        ["10.0.0.1,aa:Bb:cc:00:11:22", "10.0.0.2"],
        ["10.0.0.1,AA:BB:CC:00:11:22", "10.0.0.2"],
    ),
    "bitmap:port": ({"range": "0-1023"}, ["http", "20-22", "udp:domain"], ["20", "21", "22", "53", "80"]),
    "list:set": ({"size": 4}, ["THEIRS", "OTHERS before THEIRS"], ["OTHERS", "THEIRS"]),
}  # fmt: skip


def ipset(line: str, text: str = "") -> str:
    """Run ipset by hand."""
    return run(["ipset", *line.split()], text).out


def lines(counters: bool = False) -> list[str]:
    """What `ipset save` prints, sorted, less what the kernel chooses, the time left and, unless asked, counters."""
    return still(ipset("save"), _TIME_LEFT if counters else _MOVING)


def still(saved: str, moving: re.Pattern[str] = _MOVING) -> list[str]:
    return sorted((_ASIDE if line.startswith("create") else moving).sub("", line) for line in saved.splitlines())


def entries(name: str) -> list[str]:
    """The entries of a set, in the order in which it lists them, less what moves."""
    start = "add %s " % name
    saved = ipset("save " + name).splitlines()
    return [_MOVING.sub("", line[len(start) :]) for line in saved if line.startswith(start)]


def sets(check_mode: bool = False, diff: bool = True, **options: Any) -> dict[str, Any]:
    """Run the module where it has to succeed."""
    result = module("ipset", check_mode, diff, **options)
    assert not result.get("failed"), result["msg"]
    return result


def converge(**options: Any) -> dict[str, Any]:
    """Check, carry out, repeat: check mode changes nothing and predicts the run, which a second run leaves alone."""
    before = lines()
    predicted = sets(check_mode=True, **options)
    assert lines() == before
    result = sets(**options)
    assert result == predicted
    after = lines()
    assert sets(**options) == {**result, "changed": False, "diff": []}
    assert sets(diff=False, **options)["changed"] is False
    assert lines() == after
    assert not [line for line in after if "homelab-lb-new" in line]
    if "save_to" not in options:
        assert result["changed"] == (before != after)
    parts = [diff for diff in result["diff"] if diff["after_header"] == "ipset save"]
    shown = "".join(diff["after"] for diff in parts)
    touched = {line.split()[1] for diff in parts for line in (diff["before"] + diff["after"]).splitlines()}
    assert still(shown) == [line for line in after if line.split()[1] in touched]
    return result


def every_type(*names: str) -> None:
    """A set of each of these types in odd spellings, from nothing, then from another content, then to absent."""
    types = {"LB-%d" % at: name for at, name in enumerate(names)}
    kinds = {name: TYPES[kind] for name, kind in types.items()}

    def each(of: Callable[[list[str], list[str]], list[str]], **options: Any) -> dict[str, Any]:
        """What is declared of them all, with some of the declared or the expected entries."""
        return {
            "sets": [
                {"name": name, "type": types[name], **made, **options, "entries": of(declared, expected)}
                for name, (made, declared, expected) in kinds.items()
            ]
        }

    def in_order(name: str, found: list[str]) -> list[str]:
        """A set of sets has an order, the one in which they are looked at; that of others is the kernel's."""
        return found if types[name] == "list:set" else sorted(found)

    def assert_entries() -> None:
        for name, kind in kinds.items():
            assert in_order(name, entries(name)) == in_order(name, kind[2]), types[name]

    ipset("create THEIRS hash:ip")
    ipset("create OTHERS hash:net")
    foreign = lines()
    several = any(len(kind[1]) > 1 for kind in kinds.values())
    assert converge(**each(lambda declared, dummy: declared))["changed"]
    assert_entries()
    converge(**each(lambda dummy, expected: expected))
    assert converge(**each(lambda declared, dummy: declared[:1]))["changed"] == several
    assert converge(**each(lambda declared, dummy: declared))["changed"] == several
    assert not sets(**each(lambda dummy, expected: expected[1:], append=True))["changed"]
    assert not sets(**each(lambda dummy, expected: [], append=True))["changed"]
    first = each(lambda declared, dummy: declared[:1], append=True)
    assert converge(**first, state="absent")["changed"]
    for one in first["sets"]:
        assert not set(entries(one["name"])) & set(entries_of(one)), one
    assert converge(**first)["changed"]
    assert_entries()
    assert converge(sets=[{"name": name} for name in kinds], state="absent")["changed"]
    assert lines() == foreign


def entries_of(declared: dict[str, Any]) -> list[str]:
    """What the kernel makes of the declared entries, found in a set of its own."""
    result = sets(sets=[{**declared, "name": "LB-PROBE"}])
    assert result["changed"]
    found = entries("LB-PROBE")
    ipset("destroy LB-PROBE")
    return found
