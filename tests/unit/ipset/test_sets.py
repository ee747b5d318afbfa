# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Sets as text, and the lines that lead from some to others."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.homelab.loadbalancer.plugins.module_utils._ipset.model import (
    Set,
    carry_over,
    edits,
    parse_headers,
    parse_save,
    same_options,
    temporary,
)

A, B, L = temporary("A"), temporary("B"), temporary("L")


def made(header: str, *entries: str) -> Set:
    return Set(header, dict.fromkeys(entries, ""))


MANY = [str(i) for i in range(40)]
CASES: dict[str, tuple[dict[str, Set], dict[str, Set], list[str]]] = {
    "nothing": ({"A": made("hash:ip", "1")}, {"A": made("hash:ip", "1")}, []),
    "new": (
        {},
        {"A": made("hash:ip", "1")},
        ["create %s hash:ip" % A, "add %s 1" % A, "rename %s A" % A],
    ),
    "small": (
        {"A": made("hash:ip", *MANY)},
        {"A": made("hash:ip", *MANY[1:], "x")},
        ["add A x", "del A 0"],
    ),
    "another comment": (
        {"A": made("hash:ip", "1", "2 comment x")},
        {"A": made("hash:ip", "1", "2 comment y")},
        ["add A 2 comment y"],
    ),
    "large": (
        {"A": made("hash:ip", *MANY)},
        {"A": made("hash:ip", "x")},
        ["create %s hash:ip" % A, "add %s x" % A, "swap %s A" % A, "destroy " + A],
    ),
    "no room beside": (
        {"A": made("hash:ip maxelem 2", "1", "2")},
        {"A": made("hash:ip maxelem 2", "1", "3")},
        ["create %s hash:ip maxelem 2" % A, "add %s 1" % A, "add %s 3" % A, "swap %s A" % A, "destroy " + A],
    ),
    "another type": (
        {"A": made("hash:ip")},
        {"A": made("hash:net")},
        ["create %s hash:net" % A, "destroy A", "rename %s A" % A],
    ),
    "another type, taken out of a list": (
        {"A": made("hash:ip"), "L": made("list:set size 8", "A")},
        {"A": made("hash:net"), "L": made("list:set size 8")},
        [
            "create %s hash:net" % A,
            "create %s list:set size 8" % L,
            "swap %s L" % L,
            "destroy " + L,
            "destroy A",
            "rename %s A" % A,
        ],
    ),
    "another order in a list": (
        {"L": made("list:set size 8", "A", "B")},
        {"L": made("list:set size 8", "B", "A")},
        ["create %s list:set size 8" % L, "add %s B" % L, "add %s A" % L, "swap %s L" % L, "destroy " + L],
    ),
    "members first, lists last": (
        {},
        {"L": made("list:set", "A"), "A": made("hash:ip")},
        ["create %s hash:ip" % A, "rename %s A" % A, "create %s list:set" % L, "add %s A" % L, "rename %s L" % L],
    ),
    "gone": (
        {"A": made("hash:ip"), "L": made("list:set", "A")},
        {},
        ["destroy L", "destroy A"],
    ),
    "left over": (
        {A: made("hash:ip"), B: made("list:set", "A"), "A": made("hash:ip")},
        {"A": made("hash:ip")},
        ["destroy " + B, "destroy " + A],
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_edits(case: str) -> None:
    have, want, expected = CASES[case]
    same = [name for name in want if name in have and have[name].header == want[name].header]
    assert edits(have, want, same).lines == expected


def test_output_of_ipset_save_is_parsed() -> None:
    text = (
        "create A hash:ip family inet timeout 9 counters comment\n"
        'add A 10.0.0.1 timeout 5 packets 1 bytes 2 comment "a timeout 7"\n'
        "add A 10.0.0.2 timeout 0 nomatch packets 0 bytes 0\n"
        "create B hash:ip family inet\n"
        "create C hash:ip comment\n"
        'add C 10.0.0.1 comment "two\nlines"\n'
    )
    assert parse_save(text) == {
        "A": Set(
            "hash:ip family inet timeout 9 counters comment",
            {
                '10.0.0.1 comment "a timeout 7"': " timeout 5 packets 1 bytes 2",
                "10.0.0.2 timeout 0 nomatch": " packets 0 bytes 0",
            },
        ),
        "B": Set("hash:ip family inet", {}),
        "C": Set("hash:ip comment", {'10.0.0.1 comment "two\nlines"': ""}),
    }


def test_output_of_ipset_list_is_parsed() -> None:
    text = "Name: A\nType: hash:ip\nRevision: 6\nHeader: family inet\nReferences: 3\n\n"
    text += "Name: L\nType: list:set\nHeader: size 8\n"
    assert parse_headers(text) == {"A": Set("hash:ip family inet", {}, 3), "L": Set("list:set size 8", {})}
    assert parse_headers("") == {}


@pytest.mark.parametrize(
    ("live", "want", "declared", "same"),
    [
        ("hash:ip hashsize 64 initval 0x1", "hash:ip hashsize 1024 initval 0x2", "hash:ip", True),
        ("hash:ip hashsize 2048", "hash:ip hashsize 1024", "hash:ip hashsize 1000", True),
        ("hash:ip hashsize 512", "hash:ip hashsize 1024", "hash:ip hashsize 1000", False),
        ("hash:ip maxelem 5", "hash:ip maxelem 6", "hash:ip maxelem 6", False),
        ("hash:ip timeout 5", "hash:ip", "hash:ip", False),
    ],
)
def test_values_chosen_by_the_kernel_are_no_difference(live: str, want: str, declared: str, same: bool) -> None:
    assert same_options(live, want, declared) == same


@pytest.mark.parametrize(
    ("header", "entry", "kept"),
    [
        ("hash:ip timeout 9 counters", "1", " timeout 5 packets 1 bytes 2"),
        ("hash:ip timeout 9", "1", " timeout 5"),
        ("hash:ip counters", "1", " packets 1 bytes 2"),
        ("hash:ip", "1", ""),
        ("hash:ip timeout 9 counters", "1 timeout 0", " packets 1 bytes 2"),
        ("hash:ip timeout 9 counters", "2", ""),
    ],
)
def test_timeouts_and_counters_are_carried_over_to_a_replaced_set(header: str, entry: str, kept: str) -> None:
    old = Set("hash:ip timeout 9 counters", {"1": " timeout 5 packets 1 bytes 2"})
    new: dict[str, Any] = {entry: ""}
    assert carry_over(old, header, new) == {entry: kept}
