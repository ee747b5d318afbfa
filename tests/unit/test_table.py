# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The filter that sets tables for the terminal."""

from __future__ import annotations

from ansible_collections.homelab.loadbalancer.plugins.filter.table import WIDTH, table


def test_rows_are_set_below_their_headings() -> None:
    lines = table([["ping", "no answer"], ["curl", "Hello"]], ["from a", "seen"]).splitlines()
    assert [line.strip("│ ").split() for line in lines if "│" in line] == [
        ["from", "a", "│", "seen"],
        ["ping", "│", "no", "answer"],
        ["curl", "│", "Hello"],
    ]


def test_long_text_stays_within_the_width() -> None:
    lines = table([["word " * 60, "x" * 200]], ["one", "two"]).splitlines()
    assert max(map(len, lines)) <= WIDTH
    assert "".join(lines).count("x") == 200


def test_a_hostile_node_cannot_write_to_the_terminal() -> None:
    text = table([["\x1b]0;owned\x07\x1b[2J", "[red]not markup[/red]"]], ["from", "seen"])
    assert text.isprintable() or set(text) - {"\n"} == {c for c in text if c.isprintable()}
    assert r"\x1b]0;owned\x07" in text.replace("\n", "")
    assert "[red]not markup[/red]" in text
