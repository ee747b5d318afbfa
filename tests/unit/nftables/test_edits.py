# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Edits of a chain: one leads from any list of rules to any other, and keeps the counters of unchanged rules."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.homelab.loadbalancer.plugins.module_utils._nftables.edits import Edit, edit_rules
from ansible_collections.homelab.loadbalancer.plugins.module_utils._nftables.model import Rule

TEXTS = st.lists(st.sampled_from(["a", "b", "c", "jump d", "counter drop"]), max_size=9)


def rules(texts: list[str], counted: int = 0) -> list[Rule]:
    return [
        Rule(text, text.replace("counter", "counter packets %d" % (counted and counted + at)), at + 1)
        for at, text in enumerate(texts)
    ]


def carried_out(have: list[Rule], edit: Edit) -> list[str]:
    """The rules of the chain after the edit."""
    chain = [(rule.handle, rule.full) for rule in have if rule.handle not in edit.deleted]
    for before, text in edit.added:
        places = [at for at, (handle, dummy) in enumerate(chain) if handle == before] if before else [len(chain)]
        chain.insert(places[0], (0, text))
    return [text for dummy, text in chain]


@given(TEXTS, TEXTS, st.sampled_from([set(), {"d"}]))
def test_any_edit_leads_to_the_wanted_rules(one: list[str], other: list[str], dead: set[str]) -> None:
    have, want = rules(one, counted=100), rules(other)
    edit = edit_rules(have, want, dead)
    made = carried_out(have, edit)
    assert [text.split(" packets")[0] for text in made] == [text.replace(" drop", "") for text in other]
    # A counter is lost only with its rule.
    kept = sum("packets 1" in text for text in made)
    assert kept == min(one.count("counter drop"), other.count("counter drop"))
    if not dead and one == other:
        assert edit == Edit([], [])
    if dead:
        assert {rule.handle for rule in have if rule.text == "jump d"} <= set(edit.deleted)


def test_long_chain_of_other_rules_is_replaced() -> None:
    have, want = rules(["a %d" % i for i in range(2000)]), rules(["b %d" % i for i in range(2000)])
    edit = edit_rules([*rules(["first"]), *have], [*rules(["first"]), *want], set())
    assert len(edit.deleted) == len(edit.added) == 2000
