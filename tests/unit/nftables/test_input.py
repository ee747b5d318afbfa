# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Options that are refused before nft runs, and refusals of nft with the line of the user's text."""

from __future__ import annotations

import pytest

from ansible_collections.homelab.loadbalancer.plugins.module_utils._common.errors import InputError
from ansible_collections.homelab.loadbalancer.plugins.module_utils._nftables.input import parse_content, parse_name
from ansible_collections.homelab.loadbalancer.plugins.module_utils._nftables.node import reason, refusal

GOOD = """\
# include "nothing" }
define nets = { 10.0.0.0/8, \\
                192.0.2.0/24 }
set s { type ipv4_addr; flags interval; elements = $nets; comment "} include table" }
set owner { type mark; flags constant; }
chain flush-table { ip saddr @s drop comment "#"; }  # }
"""
BAD = {
    "another table": (
        "chain a { }\n}\ntable ip other {\nchain b { }\n",
        "content line 2 closes a brace that it did not open: write the content of one table",
    ),
    "another table after a comment": ("# {\n}", "content line 2 closes a brace"),
    "a brace in quotes": ('chain a { accept comment "{" }\n}', "content line 2 closes a brace"),
    "the table itself": (
        "table inet site {\n}",
        "content line 1 has the command `table`: write only the text between the braces of one table",
    ),
    "flush": ("chain a { }\nflush ruleset", "content line 2 has the command `flush`"),
    "include": ('set s {\n type ipv4_addr\n include\t"x" }', "content line 3 includes a file: write its text here"),
    "include at once": ('include"/etc/passwd"', "content line 1 includes a file"),
    "owner": ("flags dormant, owner\n", "content line 1 has the flag owner"),
    "owner and more": ("flags owner,\n  persist\n", "content line 1 has the flag owner"),
    "an open brace": ("chain a {", "content ends before a brace is closed: 1 are open"),
    "an open quote": ('chain a { accept comment "x\n" }', "content line 1 has a quoted text that does not end there"),
    "a control character": ("chain a {\n\x1b[2J }", "content line 2 holds the control character '\\x1b': remove it"),
    "a zero": ("chain a {\0 }", "content line 1 holds the control character '\\x00'"),
}


def test_content_of_one_table_is_accepted() -> None:
    assert parse_content(GOOD) == GOOD
    assert parse_content("") == ""


@pytest.mark.parametrize("case", BAD)
def test_content_beyond_one_table_is_refused(case: str) -> None:
    content, said = BAD[case]
    with pytest.raises(InputError) as caught:
        parse_content(content)
    assert str(caught.value).startswith(said)


@pytest.mark.parametrize("name", ["", "1a", "a b", "a{", "a;flush ruleset", "x" * 65, "a\n", "-a"])
def test_invalid_name_is_refused(name: str) -> None:
    with pytest.raises(InputError, match="is not the name of a table"):
        parse_name(name)


SAID = {
    "/dev/stdin:3:11-20: Error: Could not resolve hostname: Name or service not known\n  ip saddr\n  ^^\n": (
        "content line 2 `ip saddr x drop` is refused by nft: Could not resolve hostname: Name or service not known "
        "(column 11)"
    ),
    "/dev/stdin:4:1-1: Error: syntax error, unexpected end of file\n": (
        "content is refused by nft at its end: syntax error, unexpected end of file"
    ),
    "/dev/stdin:1:12-15: Error: syntax error, unexpected ip\n": (
        "name ip or the content as a whole is refused by nft: syntax error, unexpected ip"
    ),
    "Error: something else\n": "content is refused by nft: something else",
    "": "content is refused by nft: it gives no reason",
}


@pytest.mark.parametrize("said", SAID)
def test_refusal_of_nft_names_the_line(said: str) -> None:
    assert str(refusal("ip", "chain a {\n  ip saddr x drop", said)) == SAID[said]


def test_missing_kernel_module_is_named_as_a_possible_cause() -> None:
    said = "/dev/stdin:2:1-5: Error: Could not process rule: No such file or directory\n"
    assert "kernel-modules-extra on Fedora" in str(refusal("t", "flowtable f { }", said))


def test_repeated_reasons_are_reported_once() -> None:
    assert reason("x:1:1-1: Error: a\n  ^\nx:2:2-2: Error: b\nx:3:2-2: Error: a\n") == "a; b"
