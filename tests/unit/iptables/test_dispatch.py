# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The tree of chains: every service is found, by few rules, and one more of them changes little."""

from __future__ import annotations

import ipaddress
import random
import re
from typing import Iterable

import pytest

from ansible_collections.homelab.loadbalancer.plugins.module_utils._iptables.dispatch import (
    LEAF_RULES,
    STEP,
    Entry,
    dispatch,
)
from ansible_collections.homelab.loadbalancer.plugins.module_utils._iptables.rules import Chains

CHANCE = random.Random(7)
Key = tuple[str, str, int]

KEYS: dict[str, list[Key]] = {
    "none": [],
    "one": [("10.0.0.1", "tcp", 80)],
    "a dense network": [("10.0.%d.%d" % divmod(i, 256), "tcp", 80) for i in range(5000)],
    "far apart": [(str(ipaddress.IPv4Address(i * 4294967)), "udp", 53) for i in range(1000)],
    "at random": [(str(ipaddress.IPv4Address(CHANCE.randrange(1 << 32))), "tcp", 443) for dummy in range(3000)],
    "the ends": [(address, "tcp", 80 + i) for address in ("0.0.0.0", "255.255.255.255") for i in range(200)],
    "one address": [("10.0.0.1", "tcp", port) for port in range(1, 10001)],
    "all ports": [("10.0.0.1", "tcp", port) for port in range(65000, 65536)],
    "two protocols": [("10.0.0.1", name, port) for port in range(1, 400) for name in ("tcp", "udp", "sctp")],
    "ipv6": [(str(ipaddress.IPv6Address((0xFD00 << 112) + i)), "tcp", 80) for i in range(1000)],
    "ipv6 far apart": [(str(ipaddress.IPv6Address(CHANCE.randrange(1 << 128))), "tcp", 80) for dummy in range(1000)],
    "ipv6 bit by bit": [
        (str(ipaddress.IPv6Address((0xFD00 << 112) + (bits << shift))), "tcp", 80)
        for shift in range(0, 111, 3)
        for bits in range(1, 8)
    ],
    "any address": [("", "tcp", port) for port in range(30000, 32768)],
    "both": [("", "tcp", port) for port in range(30000, 30200)] + [("10.0.0.%d" % i, "tcp", 80) for i in range(1, 255)],
}


def build(keys: Iterable[Key], rules: int = 1) -> Chains:
    chains: Chains = {}
    entries = [Entry(*key, ["%s %d" % (" ".join(map(str, key)), i) for i in range(rules)]) for key in keys]
    dispatch(chains, "LB-TOP", entries, "LB-")
    return chains


def takes(match: str, key: Key) -> bool:
    """Whether a jump's match lets a packet to an address, protocol and port through."""
    address, protocol, port = key
    words = match.split()
    for option, value in zip(words[::2], words[1::2]):
        if option == "-d" and ipaddress.ip_address(address) not in ipaddress.ip_network(value):
            return False
        if option == "-p" and value != protocol:
            return False
        if option == "--dport":
            ports = [int(end) for end in value.split(":")]
            if not ports[0] <= port <= ports[-1]:
                return False
    return True


def walk(chains: Chains, key: Key, chain: str = "LB-TOP", to_the_end: bool = True) -> tuple[int, list[str]]:
    """How many rules a packet to a service is held against, and those of them that are the service's own.

    to_the_end -- go on after the service's rules, as a packet does that none of them takes
    """
    packet = (key[0] or "192.0.2.1", *key[1:])
    count = 0
    found: list[str] = []
    for rule in chains[chain]:
        count += 1
        jump = re.fullmatch(r"(.+) -j (LB-NET-\w+)", rule)
        if jump and takes(jump.group(1), packet):
            below, own = walk(chains, key, jump.group(2), to_the_end)
            count, found = count + below, found + own
            if found and not to_the_end:
                break
        elif not jump and rule.startswith("%s %s %d " % key):
            found.append(rule)
    return count, found


@pytest.mark.parametrize("rules", [1, 3])
@pytest.mark.parametrize("kind", KEYS)
def test_every_service_is_found_by_few_rules(kind: str, rules: int) -> None:
    chains = build(KEYS[kind], rules)
    for key in KEYS[kind][:: max(1, len(KEYS[kind]) // 300)]:
        # Addresses that differ in one bit each make the deepest possible tree.
        count, found = walk(chains, key, to_the_end=kind != "ipv6 bit by bit")
        assert found == ["%s %d" % (" ".join(map(str, key)), i) for i in range(rules)]
        assert count <= 200


@pytest.mark.parametrize("kind", KEYS)
def test_chains_are_whole(kind: str) -> None:
    """Every rule is somewhere once, every chain has one jump to it, no chain is empty or too full, names are short."""
    chains = build(KEYS[kind])
    rules = [rule for content in chains.values() for rule in content if " -j LB-NET-" not in rule]
    assert sorted(rules) == sorted("%s %s %d 0" % key for key in KEYS[kind])
    jumps = [rule.split()[-1] for content in chains.values() for rule in content if " -j LB-NET-" in rule]
    assert sorted(jumps) == sorted(set(chains) - {"LB-TOP"})
    assert all(len(name) <= 28 for name in chains)
    if KEYS[kind]:
        assert all(chains.values())
    limit = LEAF_RULES * (2 if kind == "both" else 1)
    assert all(len(content) <= limit for content in chains.values())


@pytest.mark.parametrize("kind", [kind for kind, keys in KEYS.items() if len(keys) > 500])
def test_the_order_of_services_does_not_matter_to_the_tree(kind: str) -> None:
    keys = list(KEYS[kind])
    CHANCE.shuffle(keys)
    one, other = build(KEYS[kind]), build(keys)
    assert {name: sorted(rules) for name, rules in one.items()} == {
        name: sorted(rules) for name, rules in other.items()
    }


@pytest.mark.parametrize("kind", [kind for kind, keys in KEYS.items() if len(keys) > 500])
def test_one_service_less_changes_few_chains(kind: str) -> None:
    keys = KEYS[kind]
    middle = len(keys) // 2
    before, after = build(keys), build(keys[:middle] + keys[middle + 1 :])
    changed = [name for name in {**before, **after} if before.get(name) != after.get(name)]
    assert len(changed) <= 2 + 2**STEP
    assert sum(len(after.get(name, ())) for name in changed) <= 3 * LEAF_RULES


def test_a_service_far_away_leaves_the_chains_of_the_others() -> None:
    keys = KEYS["a dense network"]
    before, after = build(keys), build([*keys, ("192.0.2.1", "tcp", 80)])
    assert [name for name in before if before[name] != after.get(name)] == ["LB-TOP"]
    assert len(set(after) - set(before)) <= 3


def test_an_entry_with_more_rules_than_a_leaf_has_is_kept_together() -> None:
    chains: Chains = {}
    many = ["rule %d" % i for i in range(LEAF_RULES + 5)]
    dispatch(chains, "LB-TOP", [Entry("10.0.0.1", "tcp", 80, many)], "LB-")
    assert chains == {"LB-TOP": many}


def test_several_entries_of_one_place_are_kept_in_order() -> None:
    chains: Chains = {}
    entries = [Entry("10.0.0.1", "tcp", 80, ["rule %d" % i]) for i in range(LEAF_RULES + 5)]
    dispatch(chains, "LB-TOP", entries, "LB-")
    assert chains == {"LB-TOP": ["rule %d" % i for i in range(LEAF_RULES + 5)]}
