# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Plan the smallest nft transaction that turns one table into another. Pure.

Unchanged rules, with their counters, and elements that packets have added stay in the kernel. Rules and elements that
refer to a re-created block are deleted and added again in the same transaction, with their state.
"""

from __future__ import annotations

import re
from typing import NamedTuple, Sequence

from .edits import Edit, edit_rules, with_state
from .model import Block, Blocks, Element, Key, Table, render, unexpired, words

_HOOK = re.compile(r"type \w+ (hook .*priority [^;]+)")
# The end of a quota's limit, and the used part of it, which nft omits if it is zero.
_USED = re.compile(r"(?<=bytes)(| used \d+ \w+)\Z")
# The order of deletions: a block goes before the blocks that it refers to.
_KINDS = ("map", "set", "chain", "flowtable")
# The lines of a set that may change without changing the type of its elements.
_PLACE = ("size ", "timeout ", "gc-interval ", "comment ", "policy ", "flags ")


class Plan(NamedTuple):
    """The table as read, the wanted table, and the transaction that turns one into the other.

    seen -- the table as read, without the undeclared elements that stay
    commands -- the transaction; empty if nothing changes
    """

    seen: Table | None
    want: Table | None
    commands: str

    @property
    def changed(self) -> bool:
        return bool(self.commands)

    def diff(self) -> dict[str, str]:
        """The changed blocks before and after, as `nft -s list table` shows them."""
        return {"before": _show(self.seen, self.want), "after": _show(self.want, self.seen)}


def _show(table: Table | None, other: Table | None) -> str:
    if table is None:
        return ""
    others = other.blocks if other else {}
    differing = [block for key, block in table.blocks.items() if key not in others or not block.same(others[key])]
    return render(table, differing)


def make_plan(have: Table | None, want: Table | None, refill: bool = False) -> Plan:
    """Plan the change of a table; None stands for no table.

    refill -- for nft 0.9.8: empty and fill interval sets that lose and gain elements, because it refuses a new interval
        that overlaps one that is deleted in the same transaction; and chains that gain rules, because it crashes at
        a rule that looks up a verdict map of the same transaction
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
    """The table without the undeclared elements that stay, and those elements by set."""
    if have is None:
        return None, {}
    blocks, kept = dict(have.blocks), {}
    for key, block in have.blocks.items():
        model = want.blocks.get(key) if want else block._replace(elements={})
        if model and block.elements != model.elements:
            seen, kept[key] = _settled(block, model)
            blocks[key] = block._replace(elements=seen)
    return have._replace(blocks=blocks), kept


def _settled(block: Block, model: Block) -> tuple[dict[str, Element], list[Element]]:
    """The elements of a set to compare with the declared ones, and the undeclared ones that stay."""
    seen, kept = {}, []
    for key, element in block.elements.items():
        wanted = model.elements.get(key)
        if wanted is None and _keeps(model, block, element):
            kept.append(element)
        elif wanted and "dynamic" in model.flags and wanted.data == element.data:
            seen[key] = element._replace(text=wanted.text)  # a packet may have changed its timeout
        else:
            seen[key] = element
    return seen, kept


def _keeps(block: Block, old: Block, element: Element) -> bool:
    """Whether packets or programs may have added an element, and it fits into the wanted set."""
    added = "dynamic" in block.flags or block.default_timeout or element.for_a_time
    return added and (block.timed or not element.for_a_time) and _same_place(block, old)


def replacement(want: Table, have: Blocks, kept: dict[Key, list[Element]]) -> str:
    """The transaction that replaces the whole table and carries its state over."""
    blocks = [_with_state(block, have.get(key), kept.get(key, [])) for key, block in want.blocks.items()]
    return anew(want.family, want.name, render(want, blocks, full=True))


def anew(family: str, name: str, text: str) -> str:
    """The transaction that creates a table in place of an existing one, if any."""
    return f"add table {family} {name}\ndelete table {family} {name}\n{text}"


def _with_state(block: Block, old: Block | None, kept: list[Element]) -> Block:
    """A created block with the state of the block that it replaces."""
    if old is None:
        old = Block(block.kind, block.name, (), (), "", (), {})
    elements = _elements_with_state(block, old, list(block.elements.values()))
    elements += [_fitting(one, block, old) for one in kept]
    return block._replace(
        full=_lines_with_state(block, old),
        rules=tuple(rule._replace(full=full) for rule, full in zip(block.rules, with_state(block.rules, old.rules))),
        elements={element.key: element for element in elements},
    )


def _elements_with_state(block: Block, old: Block, elements: Sequence[Element]) -> list[Element]:
    """Elements added to a set, with the counters and remaining times of equal elements of the old set."""
    result = []
    for element in elements:
        found = old.elements.get(element.key)
        same = found and found.text == element.text
        result.append(_fitting(found, block, old) if found and same else _unexpired(element))
    return result


def _fitting(element: Element, block: Block, old: Block) -> Element:
    """An element without its remaining time if the set allows none, or has another timeout by default."""
    anew_ = not element.for_a_time and (not block.default_timeout or block.default_timeout != old.default_timeout)
    return _unexpired(element) if anew_ else element


def _unexpired(element: Element) -> Element:
    full = unexpired(element.full)
    return element if full is element.full else element._replace(full=full)


def _same_place(block: Block, old: Block) -> bool:
    """Whether elements of the old set fit into the new one."""
    own, theirs = ([line for line in one.lines if not line.startswith(_PLACE)] for one in (block, old))
    return own == theirs


def _lines_with_state(block: Block, old: Block) -> tuple[str, ...]:
    """The lines of a counter or quota, with the count of the old one."""
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
    """The commands that turn one table into another with the same flags and comment."""

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
        # No version of nft can insert a rule with an inner chain, so all rules of its chain are written again.
        self._written = [
            key for key, edit in edits.items() if any(refill or "{\n" in text for dummy, text in edit.added)
        ]
        self._edits = {key: edit for key, edit in edits.items() if key not in self._written}

    def _edit(self, key: Key) -> Edit:
        return edit_rules(self._have[key].rules, self._want[key].rules, self._dead)

    def _overlaps(self, key: Key) -> bool:
        gone, come = self._differing(key, self._have, self._want), self._differing(key, self._want, self._have)
        return bool(gone and come and "interval" in self._want[key].flags)

    def text(self) -> str:
        """The transaction, in an order that never deletes a block in use."""
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
        """The elements that the other state of a set lacks, and those that refer to deleted blocks."""
        known = other[key].elements
        if known == one[key].elements and not self._dead:
            return []
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
    """Chains to create again: of several chains at one hook and priority, the last one created sees packets first."""
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
