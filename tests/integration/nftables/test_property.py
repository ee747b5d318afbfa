# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Random sequences of declared tables, with foreign changes between them: after each the node is as declared.

The expected state comes from nft itself, which loads the same text into an empty network namespace.
"""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from ansible_collections.homelab.loadbalancer.plugins.module_utils._common.command import run
from ansible_collections.homelab.loadbalancer.tests.integration.namespaces import fresh_network
from ansible_collections.homelab.loadbalancer.tests.integration.nftables.tables import (
    FOREIGN,
    blocks,
    converge,
    listing,
    load,
    try_table,
)
from ansible_collections.homelab.loadbalancer.tests.integration.random_examples import try_examples

EXAMPLES = 10
ADDRESSES = ["10.0.0.1", "10.0.0.2", "10.0.0.77", '192.0.2.1 comment "a, b }"', "0x0a000009"]
NETWORKS = ["10.0.0.0/24", "10.0.1.0/24", "10.0.2.0-10.0.3.255", "10.0.4.1", "10.0.4.2", "10.0.4.3", "192.0.2.7"]
OVERLAPPING = [*NETWORKS, "10.0.0.0/23", "10.0.0.128/25", "10.0.4.0/30"]
# Each way to make a block, with the elements that it may have.
SETS = {
    "s": [
        ("set s { type ipv4_addr; %s }", ADDRESSES),
        ("set s { type ipv4_addr; counter; %s }", ADDRESSES[:3]),
        ("set s { type ipv4_addr; flags interval; %s }", NETWORKS),
        ("set s { type ipv4_addr; flags interval; auto-merge; %s }", OVERLAPPING),
        ("set s { type ipv4_addr; flags timeout; %s }", ["10.0.0.1", "10.0.0.2 timeout 1h", "10.0.0.3 timeout 60m"]),
    ],
    "d": [
        ("map d { type ipv4_addr : ipv4_addr; %s }", ["10.0.0.1 : 10.9.0.1", "10.0.0.2 : 10.9.0.1"]),
        ("map d { type ipv4_addr : ipv4_addr; size 99; %s }", ["10.0.0.1 : 10.9.0.2", "10.0.0.3 : 10.9.0.3"]),
        (
            "map d { type ipv4_addr : ipv4_addr; flags interval; %s }",
            ["10.0.0.0/8 : 10.9.0.1", "11.0.0.0/9 : 10.9.0.2"],
        ),
    ],
    "v": [
        ("map v { type inet_service : verdict; %s }", ["80 : accept", "81 : jump one", "http-alt : goto two"]),
        ('map v { type inet_service : verdict; comment "x"; %s }', ["80 : jump two", "81 : drop", "82 : jump one"]),
    ],
}
OBJECTS = {
    "web": ["counter web { }", 'counter web { comment "x"; }'],
    "month": ["quota month { over 5 mbytes; }", "quota month { over 6 mbytes; }"],
}
HEADS = {
    "one": ["", 'comment "one"'],
    "two": [""],
    "entry": ["type filter hook input priority " + more for more in ("0; policy drop", "0", "5", "5; policy drop")],
    "way": ["type filter hook forward priority 0", "type filter hook input priority filter + 5"],
}
RULES = [
    "ip saddr @s counter drop",
    "ip daddr @s accept",
    "tcp dport vmap @v",
    'counter name "web"',
    'quota name "month" drop comment "jump one"',
    "counter",
    "counter accept",
    "ip saddr { 10.0.0.9, 10.0.0.8 } counter accept",
    "tcp dport vmap { ssh : jump two, 23 : drop }",
    "iif lo accept",
    "meta mark set ip saddr map { 10.0.0.1 : 1, 10.0.0.2 : 2 }",
    "limit rate 10/second accept",
]
BY_HAND = [
    "flush chain inet site entry",
    "add rule inet site entry counter packets 3 bytes 4 drop",
    "insert rule inet site entry ip saddr 10.0.0.1 accept",
    "add rule inet site one jump two",
    "delete chain inet site way",
    "add chain inet site more",
    "add element inet site s { 10.0.0.55 }",
    "delete element inet site s { 10.0.0.1 }",
    "flush set inet site s",
    "add element inet site v { 99 : jump two }",
    "delete element inet site v { 80 }",
    "add set inet site t { type mark; }",
    "add chain inet site entry { policy accept; }",
    "delete table inet site",
    "add rule ip site c counter accept",
]


@st.composite
def contents(draw: st.DrawFn) -> str:
    lines = [draw(st.sampled_from(ways)) for ways in OBJECTS.values()]
    for ways in SETS.values():
        way, pool = draw(st.sampled_from(ways))
        chosen = draw(st.lists(st.sampled_from(pool), unique=True, max_size=5))
        # An undeclared element with a timeout would stay, so all of them are declared.
        chosen = list(dict.fromkeys([*(one for one in pool if " timeout " in one), *chosen]))
        lines.append(way % ("elements = { %s };" % ", ".join(chosen) if chosen else ""))
    for name, heads in HEADS.items():
        # The targets of jumps are always declared, and jump to no other chain.
        rules = [rule for rule in RULES if name not in ("one", "two") or not ("jump" in rule or "vmap" in rule)]
        chosen = draw(st.lists(st.sampled_from(rules), max_size=5))
        if name in ("one", "two") or draw(st.booleans()):
            lines.append("chain %s {\n%s\n%s\n}" % (name, draw(st.sampled_from(heads)), "\n".join(chosen)))
    if draw(st.booleans()):
        lines.append("chain nat { type nat hook prerouting priority dstnat; dnat ip to ip daddr map @d; }")
    if draw(st.integers(0, 5)) == 0:
        lines.insert(0, 'comment "a table"')
    return "\n".join(draw(st.permutations(lines)))


STEPS = st.fixed_dictionaries(
    {"content": contents(), "by_hand": st.lists(st.sampled_from(BY_HAND), max_size=4), "absent": st.integers(0, 9)}
)


def loaded_alone(content: str) -> list[str]:
    """The blocks of the table after nft has loaded it into an empty network namespace."""
    with fresh_network():
        load("table inet site {\n%s\n}\n" % content)
        return blocks(listing())


def take_step(step: dict[str, Any]) -> None:
    """Change the table by hand, then declare a state and compare the node with it."""
    for line in step["by_hand"]:
        run(["nft", *line.split()], check=False)  # nft refuses it if the chain or set is missing now
    if step["absent"] == 0:
        try_table(state="absent")
        assert listing() == ""
    assert "warnings" not in converge(step["content"])
    assert blocks(listing()) == loaded_alone(step["content"])


def test_any_sequence_of_states_is_reached() -> None:
    def sequence(states: list[dict[str, Any]]) -> None:
        with fresh_network():
            load(FOREIGN)
            for step in states:
                take_step(step)

    try_examples(EXAMPLES, st.lists(STEPS, min_size=1, max_size=4), sequence)
