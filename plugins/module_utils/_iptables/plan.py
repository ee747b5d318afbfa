# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Bring a node's iptables to a declared state in one transaction, changing only the project's own chains and jumps.

The kernel may print a rule with another spelling than the declared one. Rules that are on the node word for word need
no comparison. All others are loaded into a throw-away network namespace and saved from there, which also refuses bad
rules before the node is touched.
"""

from __future__ import annotations

import re
from typing import Callable, Collection, NamedTuple

from .._common.errors import InputError, NodeError
from .._nftables import table as nft_table
from .hooks import refuse_other_hooks
from .node import Iptables, LockError, empty
from .rules import (
    NO_TABLE,
    NOTHING_WANTED,
    TABLES,
    Chains,
    Edit,
    Ruleset,
    Table,
    Wanted,
    WantedTable,
    edit_table,
    place_jumps,
    render,
    show,
    target,
)
from .trial import reason, rehearse, try_out
from .words import words

_ATTEMPTS = 3


class Plan(NamedTuple):
    """The node's rules as read, the edits that lead to the declared state, and that state.

    canonical -- the declaration in the kernel's spelling
    """

    have: Ruleset
    edits: dict[str, Edit]
    then: Ruleset
    canonical: Wanted

    @property
    def changed(self) -> bool:
        return any(edit.lines for edit in self.edits.values())

    def diff(self) -> dict[str, str]:
        """Every changed chain before and after, in the syntax of iptables-save."""
        chains = {table: edit.chains for table, edit in self.edits.items()}
        return {"before": show(self.have, chains), "after": show(self.then, chains)}


def make_plan(tool: Iptables, prefix: str, wanted: Wanted, exact: bool, proven: bool = False) -> Plan:
    """Read the node and plan the changes to the declared state.

    prefix -- chains whose names begin with it are ours; undeclared ones are removed
    wanted -- the whole content of the tables that contain anything of ours
    exact -- also find the canonical spelling of new chains: a diff shows it, a change does not need it
    proven -- this project made the rules, not a user: new ones need no trial
    """
    have = tool.save(prefix, [name for name, content in wanted.items() if content.chains])
    refuse_other_hooks(tool, wanted)
    # iptables-restore commits table after table, so a user's rules are tried beforehand. If a rule is refused later
    # nevertheless, the change is undone.
    canonical = _canonical(tool, have, wanted, exact, new=exact or not proven)
    edits, then = {}, dict(have)
    for name in {**have, **wanted}:
        table = have.get(name, NO_TABLE)
        content = canonical.get(name, NOTHING_WANTED)
        edit, chains = plan_table(name, table, content, prefix)
        unfound = _unfound(tool, name, edit)
        if unfound:
            edit, chains = plan_table(name, table, content, prefix, unfound)
        edits[name], then[name] = edit, Table(table.policies, chains)
    if not proven and any(edit.lines for edit in edits.values()):
        rehearse(tool, have, canonical)
    return Plan(have, edits, then, canonical)


def _unfound(tool: Iptables, table: str, edit: Edit) -> set[str]:
    """The rules to delete that iptables does not find by the text that it prints for them."""
    deletes = [line.split(" ", 2) for line in edit.lines if line.startswith("-D ")]
    return {rule for dummy, chain, rule in deletes if not tool.finds(table, chain, words(rule))}


def plan_table(
    name: str, table: Table, content: WantedTable, prefix: str, unfound: Collection[str] = ()
) -> tuple[Edit, Chains]:
    """The edit that brings one table to its declared content, and the table's chains after it."""
    owned = {chain for chain in [*table.chains, *content.chains] if chain.startswith(prefix)}
    want: Chains = dict(content.chains)
    for chain in dict.fromkeys([*TABLES.get(name, ()), *content.jumps]):
        jumps = content.jumps.get(chain, [])
        if jumps and chain not in table.chains and chain not in TABLES[name]:
            raise InputError("tables.%s.jumps.%s is not a chain of this node" % (name, chain))
        rules = table.chains.get(chain, [])
        ours = [rule for rule in rules if target(rule) in owned]
        placed = place_jumps(rules, jumps, ours, "tables.%s.jumps.%s" % (name, chain))
        if placed != rules:
            want[chain] = placed
    _refuse_references(name, table, content, owned - set(want), set(want) | owned)
    kept = {chain: rules for chain, rules in table.chains.items() if chain not in owned}
    return edit_table(table, want, owned, unfound), {**kept, **want}


def _refuse_references(name: str, table: Table, content: WantedTable, gone: set[str], known: set[str]) -> None:
    """Refuse to remove a chain while a rule still jumps to it."""
    if not gone:
        return
    for chain, rules in content.chains.items():
        for i, rule in enumerate(rules):
            if target(rule) in gone:
                raise InputError(
                    "tables.%s.chains.%s[%d] `%s` leads to the chain %s, which is not declared: declare it under "
                    "tables.%s.chains, with an empty list if need be" % (name, chain, i, rule, target(rule), name)
                )
    for chain, rules in table.chains.items():
        for i, rule in enumerate(rules):
            if chain not in known and chain not in TABLES[name] and target(rule) in gone:
                raise InputError(
                    "tables.%s cannot lose the chain %s: rule %d of %s, which is not ours, is `%s`; remove that rule, "
                    "or list %s under jumps" % (name, target(rule), i + 1, chain, rule, chain)
                )


def _canonical(tool: Iptables, have: Ruleset, wanted: Wanted, whole: bool, new: bool) -> Wanted:
    """`wanted` in the kernel's spelling.

    whole -- if any rule must be tried, try all: a rule may be valid alone and refused together with others
    new -- also try chains that the node does not have
    """
    asked: Wanted = {}
    for name, content in wanted.items():
        live = have.get(name, NO_TABLE).chains
        chains = {
            chain: rules
            for chain, rules in content.chains.items()
            if live.get(chain) != rules and (new or chain in live)
        }
        jumps = {
            chain: jumps
            for chain, jumps in content.jumps.items()
            if any(jump.rule not in live.get(chain, ()) for jump in jumps)
        }
        if chains or jumps:
            asked[name] = WantedTable(chains, jumps)
    if not asked:
        return wanted
    if whole:
        asked = wanted
    answered = try_out(tool, have, wanted, asked)
    result = {}
    for name, content in wanted.items():
        got, question = answered.get(name, NO_TABLE).chains, asked.get(name, NOTHING_WANTED)
        chains = {chain: got[chain] if chain in question.chains else rules for chain, rules in content.chains.items()}
        jumps = dict(content.jumps)
        for chain, declared in question.jumps.items():
            if len(got[chain]) != len(declared):
                raise InputError("tables.%s.jumps.%s: iptables makes several rules of one jump there" % (name, chain))
            jumps[chain] = [jump._replace(rule=rule) for jump, rule in zip(declared, got[chain])]
        result[name] = WantedTable(chains, jumps)
    return result


def apply_plan(tool: Iptables, plan: Plan, prefix: str, wanted: Wanted, replan: Callable[[], Plan]) -> Plan:
    """Carry a plan out atomically, and return the plan that was carried out in the end.

    If the change is refused but a trial of it is not, another program may have changed the rules between reading and
    writing, so the change is planned again.
    """
    for attempt in range(_ATTEMPTS):
        if _moved(tool, plan):
            plan = replan()
        try:
            done = tool.restore(render((name, edit.lines) for name, edit in plan.edits.items() if edit.lines))
        except LockError:
            undo(tool, plan, prefix)  # the lock is taken again for each table
            raise
        if done.rc == 0:
            try:
                _tidy(tool, [name for name, edit in plan.edits.items() if edit.lines and not _keeps(wanted, name)])
            except Exception:
                undo(tool, plan, prefix)
                raise
            return plan
        undo(tool, plan, prefix)
        try_out(tool, plan.have, wanted, wanted)  # names the refused rule, if a rule is the reason
        if attempt < _ATTEMPTS - 1:
            plan = replan()
    raise NodeError("%s refused the change, and nothing was changed: %s" % (tool.name, reason(done.err)))


def _moved(tool: Iptables, plan: Plan) -> bool:
    """Whether a chain in which the plan deletes a rule by its number has changed since."""
    numbered = [
        (table, line.split(" ")[1])
        for table, edit in plan.edits.items()
        for line in edit.lines
        if re.match(r"-D \S+ \d+\Z", line)
    ]
    now = tool.save() if numbered else {}
    return any(
        now.get(table, NO_TABLE).chains.get(chain) != plan.have[table].chains[chain] for table, chain in numbered
    )


def undo(tool: Iptables, plan: Plan, prefix: str) -> None:
    """Restore our rules as they were when the plan was made."""
    now = tool.save(prefix, [name for name, edit in plan.edits.items() if edit.lines])
    lines = []
    for name in {**plan.have, **now}:
        before, table = plan.have.get(name, NO_TABLE), now.get(name, NO_TABLE)
        owned = {chain for chain in [*table.chains, *before.chains] if chain.startswith(prefix)}
        want = {chain: rules for chain, rules in before.chains.items() if chain in owned}
        for chain in plan.edits[name].chains if name in plan.edits else ():
            if chain not in owned and _ours(before, chain, owned) != _ours(table, chain, owned):
                want[chain] = before.chains.get(chain, [])
        edit = edit_table(table, want, owned)
        lines.append((name, edit_table(table, want, owned, _unfound(tool, name, edit)).lines))
    text = render((name, edits) for name, edits in lines if edits)
    if text:
        try:
            done = tool.restore(text)
            said = reason(done.err) if done.rc != 0 else ""
        except LockError as error:
            said = str(error)
        if said:
            raise NodeError(
                "%s failed during the change, and also failed to undo it (%s). To undo it, run: %s"
                % (tool.name, said, text)
            )
    _tidy(tool, [name for name in now if name not in plan.have])


def _ours(table: Table, chain: str, owned: set[str]) -> list[str]:
    return [rule for rule in table.chains.get(chain, []) if target(rule) in owned]


def _keeps(wanted: Wanted, table: str) -> bool:
    return bool(wanted.get(table, NOTHING_WANTED).chains)


def _tidy(tool: Iptables, left: list[str]) -> None:
    """If we were the last user of an nft table, remove it, as on a node that never had it."""
    if tool.backend != "nft":
        return
    now = tool.save() if left else {}
    for name in left:
        if empty(now, name):
            # Only the nft backend can delete an empty built-in chain (iptables(8), -X).
            for chain in TABLES[name]:
                tool.restore(render([(name, ["-X " + chain])]))  # refused if the chain does not exist or is in use
            nft_table.delete_if_unused(tool.family, name)


def boot_text(wanted: Wanted) -> str:
    """The declared state for iptables-restore --noflush, on a node that has just booted and has no rules yet."""
    tables = []
    for name, content in wanted.items():
        lines = edit_table(NO_TABLE, content.chains, set(content.chains)).lines
        for chain, jumps in content.jumps.items():
            inserts = [jump.rule for jump in jumps if jump.position != "last"]
            lines += ["-I %s %d %s" % (chain, i + 1, rule) for i, rule in enumerate(inserts)]
            lines += ["-A %s %s" % (chain, jump.rule) for jump in jumps if jump.position == "last"]
        tables.append((name, lines))
    return render(tables)


def unjump_commands(tool: Iptables, wanted: Wanted) -> list[list[str]]:
    """Commands that each remove one of our jumps; run them before boot_text, so that it can be loaded twice.

    Before them, commands that make the chains of others that get a jump, in case their owner has not made them yet.
    """
    commands = []
    for name, content in wanted.items():
        table = [tool.command, "--wait", str(tool.wait), "-t", name]
        for chain, jumps in content.jumps.items():
            commands += [[*table, "-N", chain]] if jumps and chain not in TABLES[name] else []
            commands += [[*table, "-D", chain, *words(jump.rule)] for jump in jumps]
    return commands
