# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Sets as `ipset save` prints them, and the `ipset restore` lines that turn some sets into others."""

from __future__ import annotations

import base64
import hashlib
import re
from typing import Collection, Dict, NamedTuple, Sequence

from .._common.set_list import set_facts, set_header

TEMPORARY = "homelab-lb-new-"
LIST = "list:set"

# An entry's text -> the parts that change by themselves (remaining time, counters).
Entries = Dict[str, str]

_FLAGS = r"((?: nomatch| wildcard)*)"
_MOVING = re.compile(r"(\S+%s)( timeout \d+)?%s( packets \d+ bytes \d+)?(.*)\Z" % (_FLAGS, _FLAGS), re.DOTALL)
_CHOSEN_BY_THE_KERNEL = ("hashsize", "initval")


class Set(NamedTuple):
    """A set: its header (the text after its name in `create`), its entries, and how many rules and lists use it."""

    header: str
    entries: Entries
    references: int = 0

    @property
    def kind(self) -> str:
        """Type and family: two sets can be swapped only when they are the same."""
        return self.header.split(" ")[0] + option(self.header, "family")

    @property
    def is_list(self) -> bool:
        return self.header.startswith(LIST)

    @property
    def room(self) -> int:
        """The maximum number of entries; for a bitmap, the size of its range."""
        return int(option(self.header, "size" if self.is_list else "maxelem") or 1 << 32)


Sets = Dict[str, Set]


class Wanted(NamedTuple):
    """A declared set.

    where -- the set's name in messages: `sets[2]`
    create -- the text after its name in `ipset create`: type and options
    entries -- as `ipset add` takes them, options included
    mode -- `whole`: the set has exactly these entries; `add`, `remove`: they are to be in the set, or not to be, and
        other entries stay; `gone`: the set is removed
    """

    where: str
    name: str
    create: str = ""
    entries: Sequence[str] = ()
    mode: str = "whole"

    def line_of(self, number: int) -> str:
        return "%s.entries[%d] `%s`" % (self.where, number, self.entries[number])


def option(header: str, name: str) -> str:
    """The value of an option in a header; an empty string where there is none."""
    found = re.search(r" %s (\S+)" % name, header)
    return found.group(1) if found else ""


def shown(header: str, declared: str) -> str:
    """A header without the options that the kernel chooses and changes by itself, unless they are declared."""
    for name in _CHOSEN_BY_THE_KERNEL:
        if not option(declared, name):
            header = re.sub(r" %s \S+" % name, "", header)
    return header


def same_options(live: str, want: str, declared: str) -> bool:
    """Whether a set's options are as declared. The kernel doubles the size of a hash as it fills."""
    if option(declared, "hashsize") and int(option(live, "hashsize") or 0) > int(option(want, "hashsize") or 0):
        want = re.sub(r" hashsize \d+", " hashsize " + option(live, "hashsize"), want)
    return shown(live, declared) == shown(want, declared)


def parse_save(text: str) -> Sets:
    """Sets from the output of `ipset save`."""
    sets: Sets = {}
    for block in re.split(r"^create ", text, flags=re.MULTILINE)[1:]:
        first, dummy, rest = block.partition("\n")
        name, dummy, header = first.rstrip().partition(" ")
        add = "add %s " % name
        # A comment may contain a newline, so look at how the next line begins.
        lines = rest[len(add) :].rstrip("\n").split("\n" + add) if rest else []
        moves = " timeout " in header or " counters" in header
        sets[name] = Set(header, dict(map(_split, lines)) if moves else dict.fromkeys(lines, ""))
    return sets


def _split(line: str) -> tuple[str, str]:
    found = _MOVING.match(line)
    if not found:
        return line, ""
    entry, dummy, timeout, flags, counters, rest = (part or "" for part in found.groups())
    # An entry with timeout 0 stays until it is changed.
    for_ever = timeout if timeout == " timeout 0" else ""
    return entry + for_ever + flags + rest, ("" if for_ever else timeout) + counters


def parse_headers(text: str) -> Sets:
    """Sets without their entries from the output of `ipset list -terse`."""
    return {
        name: Set(set_header(facts), {}, int(facts.get("References", 0))) for name, facts in set_facts(text).items()
    }


def element(entry: str) -> str:
    """The first word of an entry, which identifies it in its set."""
    return entry.split(" ", 1)[0]


def carry_over(old: Set, header: str, entries: Entries) -> Entries:
    """The entries, with the remaining time and the counters that they had in the old set."""
    if not any(old.entries.values()):
        return entries
    moving = {element(entry): moves for entry, moves in old.entries.items()}
    result = {}
    for entry, moves in entries.items():
        kept = moving.get(element(entry), moves)
        found = re.match(r"( timeout \d+)?(.*)", kept)
        timeout, counters = (found.group(1) or "", found.group(2)) if found else ("", "")
        if not option(header, "timeout") or " timeout 0" in entry:
            timeout = ""
        result[entry] = timeout + (counters if " counters" in header else "")
    return result


def temporary(name: str) -> str:
    """The name of the temporary set that is filled and then swapped with another: the same in every run."""
    return TEMPORARY + base64.b32encode(hashlib.sha256(name.encode()).digest()).decode()[:16].lower()


def listed_in(sets: Sets, name: str) -> list[str]:
    """The lists that contain a set."""
    return [owner for owner, each in sets.items() if each.is_list and name in map(element, each.entries)]


class Edits(NamedTuple):
    """Lines for `ipset restore`, and the names of the sets that they change."""

    lines: list[str]
    names: list[str]


def edits(have: Sets, want: Sets, same: Collection[str] = ()) -> Edits:
    """The lines that turn the sets in `have` into those in `want`.

    have, want -- all sets of ours, before and after
    same -- the names of sets with unchanged options

    A rule never sees an empty or missing set: a temporary set is filled, then swapped with the live one. A set is
    removed only after everything that refers to it: lists before their members. A set whose type changes cannot be
    swapped; the caller has checked that nothing uses such a set.
    """
    steps = _Steps([], [], [], [], [], [], [])
    names = []
    for name, new in want.items():
        old = have.get(name)
        if old and name in same and _equal(old, new):
            continue
        names.append(name)
        if old and name in same and not new.is_list and not _large(old, new):
            adds, dels = _small(name, old, new)
            steps.fill.extend(adds)
            steps.remove.extend(dels)
        else:
            _replace(steps, name, old, new, bool(listed_in(have, name)))
    for name, old in have.items():
        if name not in want:
            names.append(name)
            left_over = name.startswith(TEMPORARY)
            step = (steps.left_lists if old.is_list else steps.left_over) if left_over else steps.destroy
            step.insert(0 if old.is_list else len(step), "destroy " + name)
    return Edits([line for step in steps for line in step], names)


class _Steps(NamedTuple):
    """Lines, grouped by the order in which they must run."""

    left_lists: list[str]
    left_over: list[str]
    fill: list[str]
    switch: list[str]
    lists: list[str]
    remove: list[str]
    destroy: list[str]


def _replace(steps: _Steps, name: str, old: Set | None, new: Set, listed: bool) -> None:
    """Fill a temporary set, then swap it with the existing set or give it the name.

    listed -- whether a list contains the old set; it no longer does once the lists are done
    """
    aside = temporary(name)
    made = ["create %s %s" % (aside, new.header), *_adds(aside, new.entries)]
    place, clear = ["rename %s %s" % (aside, name)], []
    if old and old.kind == new.kind:
        place, clear = ["swap %s %s" % (aside, name)], ["destroy " + aside]
    elif old:
        place.insert(0, "destroy " + name)
    if new.is_list:
        steps.lists.extend(made + place + clear)
        return
    steps.fill.extend(made)
    (steps.remove if old and old.kind != new.kind and listed else steps.switch).extend(place)
    steps.destroy.extend(clear)


def _equal(old: Set, new: Set) -> bool:
    if new.is_list:
        return list(old.entries) == list(new.entries)  # in order: the kernel looks into one member after the other
    return old.entries.keys() == new.entries.keys()


def _large(old: Set, new: Set) -> bool:
    """Whether to fill a new set: measured, that costs a half to a third, an entry, of changes to a set that is there.

    And an addition may need room that only a removal makes.
    """
    added = len(new.entries.keys() - old.entries.keys())
    removed = len(old.entries.keys() - new.entries.keys())
    return 2 * (added + removed) > len(new.entries) + 16 or len(old.entries) + added > new.room


def _small(name: str, old: Set, new: Set) -> tuple[list[str], list[str]]:
    """Additions, including entries with changed options, and removals."""
    added = {entry: moves for entry, moves in new.entries.items() if entry not in old.entries}
    stay = {element(entry) for entry in added}
    gone = [element(entry) for entry in old.entries if entry not in new.entries]
    return _adds(name, added), ["del %s %s" % (name, each) for each in gone if each not in stay]


def _adds(name: str, entries: Entries) -> list[str]:
    add = "add %s " % name
    return [add + entry + moves for entry, moves in entries.items()]
