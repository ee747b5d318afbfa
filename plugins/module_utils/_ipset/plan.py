# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Bring a node's ipsets to a declared state atomically, touching only sets that are ours.

The kernel may spell an entry differently than declared: a range becomes addresses, `http` becomes 80. Entries that
are in the set word for word need no comparison. All others are loaded into a set with the same options in a throw-away
network namespace and saved from there, which also refuses bad entries before the node is touched.
"""

from __future__ import annotations

from typing import NamedTuple, Sequence

from .._common.errors import InputError, NodeError
from . import node as tool
from .model import LIST, TEMPORARY, Edits, Set, Sets, Wanted, carry_over, edits, element, listed_in, shown
from .trial import Trial

__all__ = ["Plan", "Wanted", "apply_plan", "boot_text", "make_plan", "undo"]

_ATTEMPTS = 3


class Plan(NamedTuple):
    """Our sets before and after, and the lines that make the change."""

    have: Sets
    then: Sets
    edits: Edits
    wanted: Sequence[Wanted]
    prefix: str
    unused: bool

    @property
    def changed(self) -> bool:
        return bool(self.edits.lines)

    def diff(self) -> dict[str, str]:
        """Every changed set before and after, in the syntax of `ipset save`, without remaining times and counters."""
        declared = {want.name: want.create for want in self.wanted}
        names = sorted(self.edits.names)
        return {
            "before_header": "ipset save",
            "after_header": "ipset save",
            "before": _show(self.have, names, declared),
            "after": _show(self.then, names, declared),
        }


def _show(sets: Sets, names: list[str], declared: dict[str, str]) -> str:
    lines = []
    for name in names:
        if name in sets:
            entries = list(sets[name].entries) if sets[name].is_list else sorted(sets[name].entries)
            lines.append("create %s %s\n" % (name, shown(sets[name].header, declared.get(name, ""))))
            lines += ["add %s %s\n" % (name, entry) for entry in entries]
    return "".join(lines)


def make_plan(wanted: Sequence[Wanted], prefix: str = "", exact: bool = True, unused: bool = False) -> Plan:
    """Read the node and plan the changes to the declared state.

    prefix -- sets whose names begin with it are ours; undeclared ones are removed
    exact -- also find the canonical spelling of new sets: a diff shows it, a change does not need it
    unused -- the caller itself ends the use of removed sets before the plan is carried out
    """
    live = tool.headers()
    names = {want.name for want in wanted}
    ours = {name for name in live if name in names or name.startswith((prefix or TEMPORARY, TEMPORARY))}
    have = tool.read({name: live[name] for name in live if name in ours})
    kept = [want for want in wanted if want.mode != "gone" and (want.mode != "remove" or want.name in have)]
    others = {name: live[name] for name in live if name not in ours}
    trial = Trial(kept, have, others)
    entries = trial.entries(exact)
    then: Sets = {}
    for want in kept:
        new = Set(trial.headers[want.name], entries[want.name])
        then[want.name] = _merge(have[want.name], new, want) if want.name in have else new
    if not unused:
        _refuse_use(have, then, others)
    return Plan(have, then, edits(have, then, trial.same), wanted, prefix, unused)


def _merge(old: Set, new: Set, want: Wanted) -> Set:
    """The future state of an existing set."""
    merged = _merged(old, new, want)
    # A set of others may evict entries by itself when it is full.
    if len(merged.entries) > new.room and not (want.mode == "add" and " forceadd" in new.header):
        raise InputError(
            "%s: %d entries do not fit into the set %s, which has room for %d: increase its %s"
            % (want.where, len(merged.entries), want.name, new.room, "size" if new.is_list else "maxelem")
        )
    return merged


def _merged(old: Set, new: Set, want: Wanted) -> Set:
    entries = carry_over(old, new.header, new.entries)
    if want.mode == "whole":
        return Set(new.header, entries)
    declared = {element(entry) for entry in entries}
    theirs = {entry: moves for entry, moves in old.entries.items() if element(entry) not in declared}
    if want.mode == "remove":
        return Set(new.header, theirs)
    known = {element(entry): entry for entry in entries}
    kept = {known.pop(element(entry), entry): moves for entry, moves in old.entries.items()}
    return Set(new.header, {**kept, **{entry: entries[entry] for entry in known.values()}})


def _refuse_use(have: Sets, then: Sets, others: Sets) -> None:
    """Refuse to remove a set that is in use, or to change its type."""
    for name, old in have.items():
        new = then.get(name)
        if not old.references or (new and old.kind == new.kind):
            continue
        ours = [owner for owner in listed_in(have, name) if owner not in listed_in(then, name)]
        if old.references == len(ours):
            continue
        lists = tool.read({owner: live for owner, live in others.items() if live.is_list})
        holders = ["the list %s" % owner for owner in listed_in({**have, **lists}, name) if owner not in ours]
        users = ["the rule " + rule for rule in tool.rules_with(name)] + holders
        raise InputError(
            "the set %s cannot %s, because it is in use by %s: remove it there first"
            % (
                name,
                "become %s" % new.header.split(" ")[0] if new else "go",
                " and ".join(users) or "a part of the kernel that no list of rules shows (tc, for instance)",
            )
        )


def apply_plan(plan: Plan) -> Plan:
    """Carry a plan out atomically, and return the plan that was carried out in the end.

    A refusal may come from another program that used, read or changed a set in the meantime, so the change is planned
    again, with exact=True, so that the error names a declared entry that is refused.
    """
    for attempt in range(_ATTEMPTS):
        done = tool.restore(plan.edits.lines)
        if done.rc == 0:
            return plan
        undo(plan)
        if attempt < _ATTEMPTS - 1:
            plan = make_plan(plan.wanted, plan.prefix, exact=True, unused=plan.unused)
    raise NodeError("ipset refused the change, and nothing was changed: %s" % tool.reason(done.err))


def undo(plan: Plan) -> None:
    """Restore our sets as they were when the plan was made."""
    live = tool.headers()
    now = tool.read({name: live[name] for name in live if name in plan.edits.names or name.startswith(TEMPORARY)})
    before = {name: plan.have[name] for name in plan.have if name in plan.edits.names}
    same = [name for name in before if name in now and shown(now[name].header, "") == shown(before[name].header, "")]
    back = edits(now, before, same)
    done = tool.restore(back.lines)
    if done.rc != 0:
        raise NodeError(
            "ipset failed during the change, and also failed to undo it (%s). To undo it, run: %s"
            % (tool.reason(done.err), "; ".join(back.lines))
        )


def boot_text(wanted: Sequence[Wanted]) -> str:
    """The declared state for `ipset -exist restore`, on a node that has just booted or already has the sets."""
    kept = [want for want in wanted if want.mode in ("whole", "add")]
    lines = []
    for want in sorted(kept, key=lambda want: want.create.startswith(LIST)):  # a list comes after its members
        lines.append("create %s %s\n" % (want.name, want.create))
        lines += ["add %s %s\n" % (want.name, entry) for entry in want.entries]
    return "".join(lines)
