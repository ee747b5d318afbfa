# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""iptables rules as data: a node's rules, the wanted rules, and the text that turns the former into the latter.

Everything here is pure. Rules are kept as text without their `-A CHAIN`, in the spelling of iptables-save(8).
"""

from __future__ import annotations

import itertools
import re
from typing import Collection, Dict, Iterable, Iterator, List, NamedTuple

from .._common.errors import InputError

# The built-in chains of each table, in the order of iptables(8).
TABLES = {
    "raw": ("PREROUTING", "OUTPUT"),
    "mangle": ("PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING"),
    "nat": ("PREROUTING", "INPUT", "OUTPUT", "POSTROUTING"),
    "filter": ("INPUT", "FORWARD", "OUTPUT"),
    "security": ("INPUT", "FORWARD", "OUTPUT"),
}
MAX_CHAIN_NAME = 28  # XT_EXTENSION_MAXNAMELEN less its ending zero

# Chain names never begin with a hyphen, so such a "target" is an option, and the option before it is another's text.
_TARGET = re.compile(r"(?:^|\s)(?:-[jg]\s*|--(?:jump|goto)[\s=]\s*)(?!-)(\S+)")
# The prefix of each of our declarations. A host may have several, such as a router's own and a cluster's.
_DECLARATION = re.compile(r"LB[A-Z]*-")
# Quoted text as iptables reads and writes it: single quotes have no meaning.
_QUOTED = re.compile(r'"((?:\\.|[^"\\])*)"', re.DOTALL)
# iptables-nft-save prints this, prints the table as empty or not at all, and succeeds.
_UNSHOWN = re.compile(r"^# Table `([^']+)' is incompatible", re.MULTILINE)
_OTHER_HOOKS = re.compile(r"^# Table `([^']+)' contains incompatible base-chains", re.MULTILINE)

Chains = Dict[str, List[str]]


class Table(NamedTuple):
    """A table of a node: the policies of its built-in chains, and every chain's rules in order."""

    policies: dict[str, str]
    chains: Chains


Ruleset = Dict[str, Table]
NO_TABLE = Table({}, {})


class Jump(NamedTuple):
    """A rule in a chain of others that jumps to one of our chains, and its position there."""

    rule: str
    position: str = "first"  # first | last | before | after
    anchor: str = ""  # with before and after, the chain that the neighbouring rule jumps to


class WantedTable(NamedTuple):
    """The declared content of one table: our chains as a whole, and our jumps in chains of others."""

    chains: Chains
    jumps: dict[str, list[Jump]]


Wanted = Dict[str, WantedTable]
NOTHING_WANTED = WantedTable({}, {})


def declares(wanted: Wanted) -> bool:
    """Whether the declaration contains anything."""
    return any(content.chains for content in wanted.values())


def parse_save(text: str) -> Ruleset:
    """Read the output of iptables-save."""
    ruleset: Ruleset = {}
    chains: Chains = {}
    policies: dict[str, str] = {}
    for line in _lines(text):
        if line.startswith("-A "):
            dummy, chain, rule = (line + " ").split(" ", 2)
            chains[chain].append(rule[:-1])
        elif line.startswith(":"):
            chain, policy, dummy = line[1:].split(" ", 2)
            chains[chain] = []
            if policy != "-":
                policies[chain] = policy
        elif line.startswith("*"):
            policies, chains = {}, {}
            ruleset[line[1:]] = Table(policies, chains)
    return ruleset


def unshown(text: str) -> list[str]:
    """The tables that iptables-save says it cannot show, because they hold rules that only nft can show."""
    return _UNSHOWN.findall(text)


def with_other_hooks(text: str) -> list[str]:
    """The tables with base chains that iptables-save says it leaves out, because they have other hooks than its own."""
    return _OTHER_HOOKS.findall(text)


def _lines(text: str) -> Iterator[str]:
    """Split saved rules into lines; a comment may contain any character, also a newline."""
    begun = ""
    for line in text.split("\n"):
        line = begun + line
        begun = line + "\n" if '"' in unquoted(line) else ""
        if not begun:
            yield line


def unquoted(rule: str) -> str:
    """A rule without its quoted texts, which may contain anything that looks like an option.

    Quoted single words keep their place. An unclosed quote stays.
    """
    if '"' not in rule:
        return rule
    return _QUOTED.sub(lambda text: text.group(1) if re.match(r"[^\s\\]+\Z", text.group(1)) else "_", rule)


def target(rule: str) -> str:
    """The chain or target that a rule jumps to, or an empty string."""
    found = _TARGET.search(unquoted(rule))
    return found.group(1) if found else ""


def place_jumps(rules: list[str], jumps: Iterable[Jump], ours: Iterable[str], where: str) -> list[str]:
    """The whole content of a chain of others, with our jumps at their declared positions.

    The neighbour of a jump is a rule of others, or a jump of ours that is declared first or last. The first jumps of
    several declarations of ours are sorted by prefix, so that none moves another's.

    rules -- the current content of the chain
    jumps -- the wanted jumps, in canonical spelling; jumps with one position keep their order
    ours -- our rules among `rules`, kept only if they are wanted
    """
    left = list(ours)
    foreign = []
    for rule in rules:
        if rule in left:
            left.remove(rule)
        else:
            foreign.append(rule)
    first = [jump.rule for jump in jumps if jump.position == "first"]
    last = [jump.rule for jump in jumps if jump.position == "last"]
    ahead = len(list(itertools.takewhile(lambda rule: first and _precedes(rule, first[0]), foreign)))
    fixed = [*foreign[:ahead], *first, *foreign[ahead:], *last]
    around: dict[int, tuple[list[str], list[str]]] = {}
    for jump in jumps:
        if jump.position in ("before", "after"):
            hits = [i for i, rule in enumerate(fixed) if target(rule) == jump.anchor]
            if not hits:
                raise InputError("%s: no rule there jumps to %s, to stand %s" % (where, jump.anchor, jump.position))
            before, after = around.setdefault(hits[0] if jump.position == "before" else hits[-1], ([], []))
            (before if jump.position == "before" else after).append(jump.rule)
    placed = []
    for i, rule in enumerate(fixed):
        before, after = around.get(i, ([], []))
        placed += [*before, rule, *after]
    return placed


def _precedes(rule: str, jump: str) -> bool:
    """Whether a rule is a jump of another declaration of ours, with a prefix that sorts before our own jump's."""
    other, own = _DECLARATION.match(target(rule)), _DECLARATION.match(target(jump))
    return bool(other and own and other.group() < own.group())


class Edit(NamedTuple):
    """The edit of one table from `have` to `want`: lines for iptables-restore, and the chains that differ."""

    lines: list[str]
    chains: list[str]


def edit_table(have: Table, want: Chains, owned: Iterable[str], unfound: Collection[str] = ()) -> Edit:
    """Plan one table.

    have -- the current table
    want -- the wanted content of all our chains (`owned`), and of chains of others that change
    owned -- the names of our chains, wanted or present; those not in `want` are removed
    unfound -- rules that iptables cannot delete by their text
    """
    new = [name for name in want if have.chains.get(name) != want[name]]
    whole = [name for name in new if name in owned]
    gone = [name for name in have.chains if name in owned and name not in want]
    lines = [":%s - [0:0]" % name for name in whole + gone]
    for name in whole:
        lines += [_append(name, rule) for rule in want[name]]
    for name in new:
        if name not in owned:
            lines += _edit_foreign_chain(name, have.chains.get(name, []), want[name], owned, unfound)
    lines += ["-X " + name for name in gone]
    return Edit(lines, new + gone)


def _append(chain: str, rule: str) -> str:
    return "-A %s %s" % (chain, rule) if rule else "-A " + chain


def _edit_foreign_chain(
    chain: str, have: list[str], want: list[str], owned: Iterable[str], unfound: Collection[str]
) -> list[str]:
    """Remove our jumps and insert the wanted ones, leaving the rules of others and their counters alone.

    Rules are deleted by their text where possible: if another program changed the chain meanwhile, a number would name
    another rule.
    """
    gone = [(i, rule) for i, rule in enumerate(have) if target(rule) in owned]
    # From the last to the first, so that the numbers of earlier rules stay valid.
    deletes = ["-D %s %d" % (chain, i + 1) for i, rule in reversed(gone) if rule in unfound]
    deletes += ["-D %s %s" % (chain, rule) for dummy, rule in gone if rule not in unfound]
    inserts = ["-I %s %d %s" % (chain, i + 1, rule) for i, rule in enumerate(want) if target(rule) in owned]
    return deletes + inserts


def render(tables: Iterable[tuple[str, list[str]]]) -> str:
    """Text for iptables-restore --noflush."""
    parts = []
    for name, lines in tables:
        parts += ["*" + name, *lines, "COMMIT"]
    return "".join(part + "\n" for part in parts)


def show(ruleset: Ruleset, chains: dict[str, list[str]]) -> str:
    """The named chains of each table, in the syntax of iptables-save, for a diff."""
    lines = []
    for table in [name for name in TABLES if name in chains]:
        present = ruleset.get(table, NO_TABLE)
        built_in = [name for name in TABLES[table] if name in chains[table]]
        names = built_in + [name for name in sorted(chains[table]) if name in present.chains and name not in built_in]
        if names:
            lines.append("*" + table)
            lines += [
                ":%s %s" % (name, present.policies.get(name, "ACCEPT" if name in built_in else "-")) for name in names
            ]
            lines += [_append(name, rule) for name in names for rule in present.chains.get(name, [])]
    return "".join(line + "\n" for line in lines)
