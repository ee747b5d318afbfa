# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Load rules in an empty network namespace, to learn the kernel's spelling and which rule is refused."""

from __future__ import annotations

import re
from typing import Callable, NamedTuple

from .._common.errors import InputError
from .node import Iptables
from .rules import NO_TABLE, TABLES, Ruleset, Table, Wanted, WantedTable, render, target, unquoted

_SET = re.compile(r"--(?:match|add|del|map)-set(?:\s+|=)(\S+)")
# The messages of the nft variant, and of the legacy one.
_NO_MODULE = re.compile(r"missing kernel module|No chain/target/match by that name")
_LINE = re.compile(r"line:? (\d+)")


class _Line(NamedTuple):
    """A line for iptables-restore, and its rule's table, chain and number; -1 for a line that is no rule."""

    text: str
    table: str
    chain: str = ""
    number: int = -1


def try_out(tool: Iptables, have: Ruleset, wanted: Wanted, asked: Wanted) -> Ruleset:
    """Load the rules in `asked` into a temporary namespace and return them as saved from there.

    have -- the node; rules may jump to its chains
    wanted -- the whole declaration; rules may jump to its chains
    asked -- the part of it to try

    Raises InputError, which names the first refused rule.
    """
    lines = [line for name in asked for line in _table_lines(name, have, wanted, asked[name])]
    sets = _describe_sets(tool, lines, asked)
    with tool.scratch(sets) as lock_file:
        done = tool.restore(_text(lines), lock_file)
        if done.rc == 0:
            return tool.save()
    raise _refusal(tool, lines, sets, asked, done.err)


def rehearse(tool: Iptables, have: Ruleset, wanted: Wanted) -> None:
    """Refuse rules that the kernel accepts alone, but not together with the chains of others above or below them.

    Whether the kernel accepts a target such as DNAT depends on all hooks that lead to it. InputError names the entry.
    If the chains of others cannot be loaded in a trial, nothing is refused.
    """
    theirs: list[_Line] = []
    lines: list[_Line] = []
    for name, content in wanted.items():
        own = _table_lines(name, have, wanted, content)
        foreign = _foreign_lines(name, have.get(name, NO_TABLE), content)
        known = {line.text for line in own}
        heads = [line for line in foreign if line.text.startswith(":") and line.text not in known]
        rules = [line for line in foreign if not line.text.startswith(":")]
        theirs += [*heads, *(line for line in own if line.number < 0), *rules]
        first = sum(line.number < 0 for line in own)
        lines += [*heads, *own[:first], *rules, *own[first:]]
    if not any(line.text.startswith("-A ") for line in theirs):
        return
    try:
        sets = _describe_sets(tool, lines, wanted)
    except InputError:
        return
    for loaded in (theirs, lines):
        with tool.scratch(sets) as lock_file:
            done = tool.restore(_text(loaded), lock_file)
        if done.rc != 0 and loaded is lines:
            error = _refusal(tool, lines, sets, wanted, done.err)
            raise InputError("%s, together with the chains of others that lead there or that it leads to" % error)
        if done.rc != 0:
            return


def _foreign_lines(name: str, table: Table, content: WantedTable) -> list[_Line]:
    """The chains of others that are connected with ours, and their rules: all below ours, all paths to our jumps."""
    built_in = TABLES[name]
    leads = {chain: {target(rule) for rule in rules} & set(table.chains) for chain, rules in table.chains.items()}
    others = set(table.chains) - set(content.chains) - set(built_in)
    below = {target(rule) for rules in content.chains.values() for rule in rules} & others
    above = {chain for chain, jumps in content.jumps.items() if jumps} & others
    _close(below, lambda chain: leads[chain] & others)
    _close(above, lambda chain: {host for host, led in leads.items() if chain in led and host not in content.chains})
    lines = [_Line(":%s - [0:0]" % chain, name) for chain in sorted((below | above) - set(built_in))]
    for chain in [*built_in, *sorted(others)]:
        for rule in table.chains.get(chain, []) if chain in below | above else []:
            # Below our chains every target counts; above them, only the path to our jumps.
            if target(rule) in above or (chain in below and target(rule) not in {"", *content.chains}):
                lines.append(_Line("-A %s %s" % (chain, rule), name))
    return lines


def _close(chains: set[str], following: Callable[[str], set[str]]) -> None:
    """Add to `chains` every chain that follows from one of them, directly or indirectly."""
    left = list(chains)
    while left:
        more = following(left.pop()) - chains
        chains |= more
        left += more


def _describe_sets(tool: Iptables, lines: list[_Line], asked: Wanted) -> str:
    known: dict[str, str] = {}
    for line in lines:
        for name in _SET.findall(unquoted(line.text)) if "-set" in line.text else ():
            if name not in known:
                try:
                    known[name] = tool.describe_set(name)
                except InputError as error:
                    raise InputError("%s: %s" % (_entry(asked, line), error)) from error
    return "".join(known.values())


def _table_lines(name: str, have: Ruleset, wanted: Wanted, content: WantedTable) -> list[_Line]:
    chains = {chain: [jump.rule for jump in jumps] for chain, jumps in content.jumps.items()}
    chains.update(content.chains)
    # A chain that a rule jumps to must exist; its content does not matter here.
    known = {*wanted[name].chains, *have.get(name, NO_TABLE).chains}
    targets = {target(rule) for rules in chains.values() for rule in rules}
    named = ({*chains} | (targets & known)) - set(TABLES[name])
    lines = [_Line(":%s - [0:0]" % chain, name) for chain in sorted(named)]
    for chain, rules in chains.items():
        lines += [_Line("-A %s %s" % (chain, rule), name, chain, i) for i, rule in enumerate(rules)]
    return lines


def _text(lines: list[_Line]) -> str:
    tables: dict[str, list[str]] = {}
    for line in lines:
        tables.setdefault(line.table, []).append(line.text)
    return render(tables.items())


def _refusal(tool: Iptables, lines: list[_Line], sets: str, asked: Wanted, said: str) -> InputError:
    bad = _line_named(lines, said)
    if bad is None:
        # The kernel refuses a table as a whole: find the rule by loading fewer and fewer rules.
        good, count = 0, len(lines)
        while count - good > 1:
            middle = (good + count) // 2
            with tool.scratch(sets) as lock_file:
                done = tool.restore(_text(lines[:middle]), lock_file)
            if done.rc == 0:
                good = middle
            else:
                count, said = middle, done.err
        bad = lines[count - 1]
    return InputError("%s is refused by %s: %s%s" % (_entry(asked, bad), tool.name, reason(said), kernel_hint(said)))


def _line_named(lines: list[_Line], said: str) -> _Line | None:
    """The line that iptables-restore names in its error, if it is a rule."""
    found = _LINE.search(said)
    number = int(found.group(1)) if found else 0
    at = 0
    for i, line in enumerate(lines):
        if i == 0 or line.table != lines[i - 1].table:
            at += 1 if i == 0 else 2  # the table's own line, and the COMMIT before it
        at += 1
        if at == number and line.number >= 0:
            return line
    return None


def _entry(asked: Wanted, line: _Line) -> str:
    if line.number < 0:
        return "tables.%s" % line.table
    content = asked[line.table]
    kind = "chains" if line.chain in content.chains else "jumps"
    rule = line.text.split(" ", 2)[2]
    return "tables.%s.%s.%s[%d] `%s`" % (line.table, kind, line.chain, line.number, rule)


def kernel_hint(said: str) -> str:
    """The remedy if iptables finds no kernel module for a match or target; else empty."""
    if not _NO_MODULE.search(said):
        return ""
    return (
        ". If the rule is right, this kernel lacks a module: install the package with its extra modules "
        "(kernel-modules-extra on Fedora and RHEL)"
    )


def reason(said: str) -> str:
    """iptables' message without its program name, our line numbers and hints to other commands."""
    noise = re.compile(r"^(ip6?tables(-\w+)?-restore( v\S+( \(\w+\))?)?: ?)?(line \d+: )?")
    lines = [noise.sub("", line) for line in said.splitlines()]
    kept = [line.strip() for line in lines if line.strip() and not line.startswith(("Error occurred", "Try `"))]
    return "; ".join(kept) or "it gives no reason"
