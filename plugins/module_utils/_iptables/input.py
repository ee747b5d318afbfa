# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The options of the iptables modules: checked, and converted to the planners' types."""

from __future__ import annotations

import re
from typing import Any

from .._common.errors import InputError
from .._common.values import parse_list, value_or
from .._services.options import parse_isolate, parse_mark, parse_pod_cidr
from .layout import MAX_PREFIX, Options
from .rules import MAX_CHAIN_NAME, TABLES, Jump, Wanted, WantedTable, target
from .words import respell

_POSITIONS = ("first", "last")
_CHAIN = re.compile(r"[A-Za-z0-9_.+/-]{1,%d}\Z" % MAX_CHAIN_NAME)


def parse_prefix(raw: str, longest: int = MAX_CHAIN_NAME - 1) -> str:
    """Check the name prefix of all owned chains."""
    if not re.match(r"[A-Za-z0-9_][A-Za-z0-9_.-]{1,%d}\Z" % (longest - 1), raw):
        raise InputError("prefix %r cannot begin chain names: use 2 to %d letters, digits and hyphens" % (raw, longest))
    for chain in {chain for table in TABLES.values() for chain in table}:
        if chain.startswith(raw):
            raise InputError("prefix %s would own the built-in chain %s: choose another, such as LB-" % (raw, chain))
    return raw


def parse_tables(raw: Any, prefix: str) -> Wanted:
    """Check the option `tables` of iptables_chains.

    raw -- {table: {chains: {name: [rule]}, jumps: {chain: [{rule, position | before | after}]}}}
    prefix -- the name prefix of all owned chains
    """
    wanted: Wanted = {}
    for table, content in _mapping(raw, "tables").items():
        where = "tables.%s" % table
        if table not in TABLES:
            raise InputError("%s is not a table of iptables: choose one of %s" % (where, ", ".join(TABLES)))
        content = _known(content, ("chains", "jumps"), where)
        chains = {
            chain: _rules(prefix, chain, rules, "%s.chains.%s" % (where, chain))
            for chain, rules in _mapping(content.get("chains"), where + ".chains").items()
        }
        jumps = {}
        for chain, entries in _mapping(content.get("jumps"), where + ".jumps").items():
            if chain.startswith(prefix):
                raise InputError("%s.jumps.%s is a chain of ours: its rules go under chains" % (where, chain))
            jumps[chain] = [
                _jump(entry, chains, table, "%s.jumps.%s[%d]" % (where, chain, i))
                for i, entry in enumerate(_sequence(entries, "%s.jumps.%s" % (where, chain)))
            ]
        wanted[table] = WantedTable(chains, jumps)
    return wanted


def _rules(prefix: str, chain: str, raw: Any, where: str) -> list[str]:
    if not chain.startswith(prefix):
        raise InputError("%s does not begin with the prefix %s, so it is not ours" % (where, prefix))
    if not _CHAIN.match(chain):
        raise InputError("%s is not a chain name: use %d letters, digits and hyphens at most" % (where, MAX_CHAIN_NAME))
    return [_rule(rule, "%s[%d]" % (where, i)) for i, rule in enumerate(_sequence(raw, where))]


def _rule(raw: Any, where: str) -> str:
    if not isinstance(raw, str):
        raise InputError("%s is not a rule: write text such as -p tcp --dport 80 -j ACCEPT" % where)
    rule = raw.strip()  # a YAML block ends with a newline
    if any(character in rule for character in "\n\r\0"):
        raise InputError("%s is more than one line: write one rule an entry, and a long one after >- in YAML" % where)
    try:
        return respell(rule)
    except ValueError as error:
        raise InputError("%s `%s` %s" % (where, rule, error)) from error


def _jump(raw: Any, chains: dict[str, list[str]], table: str, where: str) -> Jump:
    raw = _known(raw, ("rule", "position", "before", "after"), where)
    rule = _rule(raw.get("rule"), where + ".rule")
    if target(rule) not in chains:
        raise InputError("%s.rule `%s` does not jump to a chain under tables.%s.chains" % (where, rule, table))
    given = [key for key in ("position", "before", "after") if raw.get(key) is not None]
    if len(given) > 1:
        raise InputError("%s has both %s and %s: give only one of them" % (where, given[0], given[1]))
    if given and given[0] != "position":
        other = raw[given[0]]
        if not isinstance(other, str) or not other:
            raise InputError(
                "%s.%s %r is not the name of a chain: write the target of the neighbouring "
                "jump" % (where, given[0], other)
            )
        return Jump(rule, given[0], other)
    position = value_or(raw, "position", "first")
    if position not in _POSITIONS:
        raise InputError("%s.position %s is neither first nor last; or write before or after" % (where, position))
    return Jump(rule, position)


def parse_options(params: dict[str, Any]) -> dict[str, Options]:
    """The options of iptables_services that apply to all services, for each family."""
    mark, isolate = parse_mark(params["masquerade_mark"]), parse_isolate(params["isolate"])
    prefix = parse_prefix(params["prefix"], MAX_PREFIX)
    return {
        family: Options(prefix, params["layout"], params["masquerade"], mark, cidr, isolate)
        for family, cidr in parse_pod_cidr(params["pod_cidr"]).items()
    }


def _mapping(raw: Any, where: str) -> dict[str, Any]:
    if raw is None:
        return {}
    if not isinstance(raw, dict):
        raise InputError("%s must be a mapping, not %s" % (where, type(raw).__name__))
    return {str(key): value for key, value in raw.items()}


def _sequence(raw: Any, where: str) -> list[Any]:
    return [] if raw is None else parse_list(raw, where)


def _known(raw: Any, keys: tuple[str, ...], where: str) -> dict[str, Any]:
    content = _mapping(raw, where)
    for key in content:
        if key not in keys:
            raise InputError("%s.%s is not a known key: the keys are %s" % (where, key, ", ".join(keys)))
    return content
