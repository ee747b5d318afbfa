# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Find the rules to delete and to add that turn one list of rules into another. Pure."""

from __future__ import annotations

import difflib
from typing import NamedTuple, Sequence

from .model import Rule, words

# With more pairs, finding the common rules costs more than writing all rules again.
_PAIRS = 1_000_000


class Edit(NamedTuple):
    """The rules to delete and to add.

    deleted -- handles
    added -- each rule, with the handle of the rule that it precedes; 0 for the end of the chain
    """

    deleted: list[int]
    added: list[tuple[int, str]]


def edit_rules(have: Sequence[Rule], want: Sequence[Rule], dead: set[str]) -> Edit:
    """Keep as many rules as possible.

    dead -- names of deleted and re-created blocks: rules that refer to them cannot stay
    """
    # A name in a comment counts too; such a rule is deleted and added again unchanged.
    texts = ["" if dead and words(rule.text) & dead else rule.text for rule in have]
    pairs = dict(_common(texts, [rule.text for rule in want]))
    stays = {there: have[here].handle for here, there in pairs.items()}
    gone = [rule for here, rule in enumerate(have) if here not in pairs]
    full = with_state([rule for there, rule in enumerate(want) if there not in stays], gone)
    added: list[tuple[int, str]] = []
    before = 0
    for there in reversed(range(len(want))):
        if there in stays:
            before = stays[there]
        else:
            added.append((before, full.pop()))
    return Edit([rule.handle for rule in gone], added[::-1])


def with_state(want: Sequence[Rule], old: Sequence[Rule]) -> list[str]:
    """The full texts of added rules, with the counters of deleted rules that have the same text."""
    left: dict[str, list[str]] = {}
    for rule in reversed(old):
        left.setdefault(rule.text, []).append(rule.full)
    return [left[rule.text].pop() if left.get(rule.text) else rule.full for rule in want]


def _common(one: Sequence[str], other: Sequence[str]) -> list[tuple[int, int]]:
    """The indices of the items that both lists have in common, in order."""
    shorter = min(len(one), len(other))
    start = 0
    while start < shorter and one[start] == other[start]:
        start += 1
    end = 0
    while end < shorter - start and one[-1 - end] == other[-1 - end]:
        end += 1
    pairs = [(at, at) for at in range(start)]
    a, b = one[start : len(one) - end], other[start : len(other) - end]
    if len(a) * len(b) <= _PAIRS:
        for block in difflib.SequenceMatcher(None, a, b, autojunk=False).get_matching_blocks():
            pairs += [(start + block.a + at, start + block.b + at) for at in range(block.size)]
    return pairs + [(len(one) - end + at, len(other) - end + at) for at in range(end)]
