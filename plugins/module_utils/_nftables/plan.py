# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Plan the smallest transaction of nft that leads from a table to another one. Pure.

What stays the same stays in the kernel: rules with their counters, elements that packets have added. Rules and elements
that must go for a moment, because what they refer to is made anew, come back in the same transaction, with their state.
"""

from __future__ import annotations

import re
from typing import NamedTuple, Sequence

from .edits import Edit, edit_rules, with_state
from .model import Block, Blocks, Element, Key, Table, render, unexpired, words

_HOOK = re.compile(r"type \w+ (hook .*priority [^;]+)")
# A quota's limit, and after it what is used of it; nothing where that is nothing.
_USED = re.compile(r"(?<=bytes)(| used \d+ \w+)\Z")
# In which order things go: first those that refer to others.
_KINDS = ("map", "set", "chain", "flowtable")
# Of a set, what may change without making another kind of its elements.
_PLACE = ("size ", "timeout ", "gc-interval ", "comment ", "policy ", "flags ")


class Plan(NamedTuple):
    """A table as it was read, as it shall be, and the transaction that leads there.

    seen -- the table that was read, less what is kept though it is not declared
    commands -- the transaction; empty when there is nothing to do
    """

    seen: Table | None
    want: Table | None
    commands: str

    @property
    def changed(self) -> bool:
        return bool(self.commands)

    def diff(self) -> dict[str, str]:
        """Before and after of all that changes, as `nft -s list table` shows it."""
        return {"before": _show(self.seen, self.want), "after": _show(self.want, self.seen)}


def _show(table: Table | None, other: Table | None) -> str:
    if table is None:
        return ""
    others = other.blocks if other else {}
    differing = [block for key, block in table.blocks.items() if key not in others or not block.same(others[key])]
    return render(table, differing)


def make_plan(have: Table | None, want: Table | None, refill: bool = False) -> Plan:
    """Plan the way from one state of a table to another; None stands for no table.

    refill -- empty and fill sets of intervals of which some go and some come: nft 0.9.8 compares those that come with
        those that go, and refuses what overlaps
    """
    seen, kept = _settle(have, want)
    if have is None or seen is None:
        return Plan(None, want, replacement(want, {}, {}) if want else "")
    if want is None:
        return Plan(seen, None, _command("delete table", have))
    if seen.lines != want.lines:
        return Plan(seen, want, replacement(want, have.blocks, kept))
    return Plan(seen, want, _Transaction(seen, want, kept, refill).text())


def _settle(have: Table | None, want: Table | None) -> tuple[Table | None, dict[Key, list[Element]]]:
    """The table without the elements that stay though they are not declared, and these."""
    if have is None:
        return None, {}
    blocks, kept = dict(have.blocks), {}
    for key, block in have.blocks.items():
        model = want.blocks.get(key) if want else block._replace(elements={})
        if model and block.elements is not model.elements:
            seen, kept[key] = _settled(block, model)
            blocks[key] = block._replace(elements=seen)
    return have._replace(blocks=blocks), kept


def _settled(block: Block, model: Block) -> tuple[dict[str, Element], list[Element]]:
    """The elements of a set that count, and those that stay though the set that it shall be does not declare them."""
    seen, kept = {}, []
    for key, element in block.elements.items():
        wanted = model.elements.get(key)
        if wanted is None and _keeps(model, block, element):
            kept.append(element)
        elif wanted and "dynamic" in model.flags and wanted.data == element.data:
            seen[key] = element._replace(text=wanted.text)  # a packet may have set its time anew
        else:
            seen[key] = element
    return seen, kept


def _keeps(block: Block, old: Block, element: Element) -> bool:
    """Whether an element may be one that packets or programs add, and fits into what becomes of its set."""
    added = "dynamic" in block.flags or block.default_timeout or element.for_a_time
    return added and (block.timed or not element.for_a_time) and _same_place(block, old)


def replacement(want: Table, have: Blocks, kept: dict[Key, list[Element]]) -> str:
    """The whole table anew, in one transaction, with the state of what it had."""
    blocks = [_with_state(block, have.get(key), kept.get(key, [])) for key, block in want.blocks.items()]
    return anew(want.family, want.name, render(want, blocks, full=True))


def anew(family: str, name: str, text: str) -> str:
    """The transaction that puts a table in the place of the one that is there, if one is."""
    return f"add table {family} {name}\ndelete table {family} {name}\n{text}"


def _with_state(block: Block, old: Block | None, kept: list[Element]) -> Block:
    """A block that is made, with the state of the one that it replaces."""
    if old is None:
        old = Block(block.kind, block.name, (), (), "", (), {})
    elements = _elements_with_state(block, old, list(block.elements.values()))
    elements += [_fitting(one, block) for one in kept]
    return block._replace(
        full=_lines_with_state(block, old),
        rules=tuple(rule._replace(full=full) for rule, full in zip(block.rules, with_state(block.rules, old.rules))),
        elements={element.key: element for element in elements},
    )


def _elements_with_state(block: Block, old: Block, elements: Sequence[Element]) -> list[Element]:
    """Elements that are added to a set, with the counts and the time left of those that the old one has."""
    result = []
    for element in elements:
        found = old.elements.get(element.key)
        same = found and found.text == element.text
        result.append(_fitting(found, block) if found and same else element._replace(full=unexpired(element.full)))
    return result


def _fitting(element: Element, block: Block) -> Element:
    """An element without the time that is left, where the set gives it none."""
    endless = not element.for_a_time and not block.default_timeout
    return element._replace(full=unexpired(element.full)) if endless else element


def _same_place(block: Block, old: Block) -> bool:
    """Whether elements of the old set fit into the new one."""
    own, theirs = ([line for line in one.lines if not line.startswith(_PLACE)] for one in (block, old))
    return own == theirs


def _lines_with_state(block: Block, old: Block) -> tuple[str, ...]:
    """The lines of a counter or quota, with what the old one has counted."""
    if block.kind == "counter":
        counts = [[line for line in one.full if line.startswith("packets ")] for one in (old, block)]
        return (*block.lines, *(counts[0] or counts[1]))
    if block.kind == "quota":
        used = [found.group(1) for found in map(_USED.search, old.full) if found]
        return tuple(_USED.sub(lambda found: used[0], line) if used else line for line in block.full)
    return block.full


def _command(verb: str, table: Table, rest: str = "") -> str:
    return "%s %s %s%s\n" % (verb, table.family, table.name, " " + rest if rest else "")


class _Transaction:
    """The commands that turn one table into another one with the same flags and comment."""

    def __init__(self, seen: Table, want: Table, kept: dict[Key, list[Element]], refill: bool) -> None:
        self._have, self._want, self._kept, self._table = seen.blocks, want.blocks, kept, want
        common = [key for key in self._want if key in self._have]
        again = {key for key in common if self._have[key].lines != self._want[key].lines}
        again |= _out_of_order(self._have, self._want, again)
        self._made = [key for key in self._want if key not in self._have or key in again]
        self._gone = [key for key in self._have if key not in self._want or key in again]
        self._dead = {name for dummy, name in self._gone}
        self._stay = [key for key in common if key not in again]
        self._refilled = [key for key in self._stay if refill and self._overlaps(key)]
        edits = {key: self._edit(key) for key in self._stay if key[0] == "chain"}
        # A rule with a chain of its own cannot be inserted, in no version of nft: all rules of its chain are written.
        self._written = [key for key, edit in edits.items() if any("{\n" in text for dummy, text in edit.added)]
        self._edits = {key: edit for key, edit in edits.items() if key not in self._written}

    def _edit(self, key: Key) -> Edit:
        return edit_rules(self._have[key].rules, self._want[key].rules, self._dead)

    def _overlaps(self, key: Key) -> bool:
        gone, come = self._differing(key, self._have, self._want), self._differing(key, self._want, self._have)
        return bool(gone and come and "interval" in self._want[key].flags)

    def text(self) -> str:
        """All of it, in the order in which nothing that is in use goes."""
        lines = [*self._remove_rules(), *self._remove_elements(), *self._remove_blocks()]
        blocks = [_with_state(self._want[key], self._have.get(key), self._kept.get(key, [])) for key in self._made]
        blocks += [_with_state(self._rules(key), self._have[key], []) for key in self._written]
        if blocks:
            lines.append(render(self._table._replace(lines=()), blocks, full=True))
        lines += [*self._change_policies(), *self._add_elements(), *self._add_rules()]
        return "".join(lines)

    def _say(self, verb: str, rest: str) -> str:
        return _command(verb, self._table, rest)

    def _rules(self, key: Key) -> Block:
        return self._want[key]._replace(lines=(), full=(), policy="")

    def _remove_rules(self) -> list[str]:
        lines = [
            self._say("delete rule", "%s handle %d" % (name, handle))
            for (dummy, name), edit in self._edits.items()
            for handle in edit.deleted
        ]
        emptied = [*self._written, *(key for key in self._gone if key[0] == "chain")]
        return lines + [self._say("flush chain", name) for dummy, name in emptied]

    def _differing(self, key: Key, one: Blocks, other: Blocks) -> list[Element]:
        """The elements of a set that stays which the other state of it does not have, or which refer to what goes."""
        known = other[key].elements
        return [
            element
            for element in one[key].elements.values()
            if element.key not in known
            or known[element.key].text != element.text
            or (element.data and self._dead and words(element.data) & self._dead)
        ]

    def _remove_elements(self) -> list[str]:
        lines = [self._say("flush set", name) for dummy, name in self._refilled]
        for key in self._stay:
            gone = self._differing(key, self._have, self._want)
            if gone and key not in self._refilled:
                lines.append(self._elements("delete element", key, [one.plain for one in gone]))
        return lines

    def _add_elements(self) -> list[str]:
        lines = []
        for key in self._stay:
            whole = key in self._refilled
            block, old = self._want[key], self._have[key]
            come = list(block.elements.values()) if whole else self._differing(key, self._want, self._have)
            come = _elements_with_state(block, old, come) + (self._kept.get(key, []) if whole else [])
            if come:
                lines.append(self._elements("add element", key, [one.full for one in come]))
        return lines

    def _elements(self, verb: str, key: Key, elements: Sequence[str]) -> str:
        return self._say(verb, "%s { %s }" % (key[1], ", ".join(elements)))

    def _remove_blocks(self) -> list[str]:
        def order(key: Key) -> int:
            return _KINDS.index(key[0]) if key[0] in _KINDS else len(_KINDS)

        return [self._say("delete " + kind, name) for kind, name in sorted(self._gone, key=order)]

    def _change_policies(self) -> list[str]:
        return [
            self._say("add chain", "%s { policy %s; }" % (key[1], self._want[key].policy))
            for key in self._stay
            if self._have[key].policy != self._want[key].policy
        ]

    def _add_rules(self) -> list[str]:
        lines = []
        for (dummy, name), edit in self._edits.items():
            for before, text in edit.added:
                place = "insert rule" if before else "add rule"
                lines.append(self._say(place, "%s %s%s" % (name, "handle %d " % before if before else "", text)))
        return lines


def _out_of_order(have: Blocks, want: Blocks, again: set[Key]) -> set[Key]:
    """Chains that must be made anew because of several at one place the one that is made last sees packets first."""
    places: dict[str, list[Key]] = {}
    for key, block in want.items():
        found = _HOOK.match(block.lines[0]) if key[0] == "chain" and block.lines else None
        if found:
            places.setdefault(found.group(1), []).append(key)
    wrong: set[Key] = set()
    for keys in places.values():
        stay = [key for key in have if key in keys and key not in again]
        if [*stay, *(key for key in keys if key not in stay)] != keys:
            wrong.update(key for key in keys if key in have)
    return wrong
