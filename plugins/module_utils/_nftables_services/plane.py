# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The data plane nftables: one table of a node, changed by one transaction."""

from __future__ import annotations

from typing import Any, Sequence

from .._balancer.model import Boot, DataPlane, NoDataPlane
from .._common.errors import InputError, NotInstalledError, named
from .._common.systemd import exec_start
from .._nftables import node
from .._nftables.elements import read_maps
from .._nftables.model import Table, parse_table, render
from .._nftables.plan import Plan, make_plan
from .._nftables.run import Declaration, apply_plan
from .._services import conntrack
from .._services.model import Service
from .._services.planes import NFTABLES_FAMILY as FAMILY
from .._services.planes import NFTABLES_MARK, has_nftables
from . import clients, fronts, guards, memory
from .canonical import Declared, declared
from .input import parse_name, parse_options
from .layout import Options, client_maps
from .places import FAMILIES, IP

_ATTEMPTS = 3


class Planner:
    """Plans the change of the table to the declared services.

    The declared table is worked out once, for a change and for its verification.
    """

    def __init__(self) -> None:
        self._known: tuple[Any, Declared, str] = (None, Declared(None, {}, {}), "")

    def __call__(self, services: Sequence[Service], options: dict[str, Any], exact: bool) -> DataPlane:
        name, parsed = parse_name(options["prefix"]), parse_options(options)
        try:
            version = node.version()
            want, text = self._declared(name, services, parsed)
            return Nftables(services, name, version, want, text)
        except NotInstalledError:
            if services or parsed.isolate or has_nftables(name):
                raise
            return NoDataPlane(changed=False)
        except InputError as error:
            raise InputError(named(error, {"name": "prefix", "content": "the table"})) from error

    def _declared(self, name: str, services: Sequence[Service], options: Options) -> tuple[Declared, str]:
        asked = name, services, options
        if self._known[0] != asked:
            want = declared(name, services, options)
            self._known = asked, want, _text(want.table)
        return self._known[1:]


class Nftables(DataPlane):
    """The declared services of a node, as one table."""

    def __init__(self, services: Sequence[Service], name: str, version: str, want: Declared, text: str) -> None:
        """Plan.

        name -- of the table
        version -- of nft
        text -- of the declared table
        """
        self._services = services
        self._version = version
        self._name = name
        self._declared = want
        self._want = want.table
        self._text = text
        self._generation, self._have = self._read()
        _refuse_foreign(name, self._have)
        self._plan = make_plan(self._have, self._want)
        self._warnings = self._guards()
        self._said: list[str] = []  # warnings of the change itself

    def _read(self) -> tuple[int, Table | None]:
        """The table and the generation of the ruleset, 0 if it moved on meanwhile.

        The table comes from the memory if that equals the kernel's state. Rules in the memory have no handles, and
        clients are not in it, so the kernel is read if rules are to change. If only elements may have changed, they
        are read by netlink.
        """
        self._sure = False
        known = memory.recall(self._name)
        if known:
            have = self._want if known.text == self._text else _parse(known.text)
            if _same_rules(have, self._want):
                self._sure = True
                return known.generation, have
        have = None
        for by_netlink in (True, False):
            before = memory.current()
            have = self._read_kernel(by_netlink)
            if before == memory.current():
                return before, have
        return 0, have

    def _read_kernel(self, by_netlink: bool) -> Table | None:
        rules = node.read_rules(FAMILY, self._name) if by_netlink else None
        if rules and _same_rules(rules, self._want):
            return node.fill(rules, self._declared.protocols)
        return node.read(FAMILY, self._name)

    def _guards(self) -> list[str]:
        """Warnings about other programs that drop the packets of services."""
        families = {IP[service.family] for service in self._services if service.endpoints}
        if not families:
            return []
        return guards.warnings(node.list_chains(), families, lambda chain: node.list_chain(*chain))

    @property
    def changed(self) -> bool:
        return self._plan.changed

    def diff(self) -> list[dict[str, str]]:
        header = "nft -s list table %s %s" % (FAMILY, self._name)
        shown = self._plan._replace(seen=_by_name(self._plan.seen), want=_by_name(_in_order(self._want, self._have)))
        return [{**shown.diff(), "before_header": header, "after_header": header}] if self.changed else []

    def boot(self, folder: str) -> Boot:
        if self._want is None:
            return Boot()
        file = folder + "/rules.nft"
        return Boot([exec_start(["nft", "-f", file])], {file: self._declaration(self._declared.content).text()})

    @property
    def warnings(self) -> list[str]:
        return self._warnings

    def result(self) -> dict[str, Any]:
        return {"nft": self._version}

    def _declaration(self, content: str | None) -> Declaration:
        return Declaration(FAMILY, self._name, content)

    def apply(self) -> None:
        if self.changed:
            memory.forget(self._name)
            self._sure = False
            self._bring(self._want, self._declared.content, self._plan)

    def _bring(self, want: Table | None, content: str, plan: Plan) -> None:
        """Bring the kernel to the wanted table.

        If the transaction is the only one since the plan was made, it has made all of the change. Otherwise the table
        is read back.
        """
        declaration = self._declaration(content if want else None)
        done = node.load(plan.commands if plan.seen or not want else declaration.text())
        if done.rc == 0 and self._generation and memory.current() == self._generation + 1:
            self._generation += 1
            return
        self._generation = 0
        again = make_plan(node.read(FAMILY, self._name), want, refill=True)
        if again.changed:
            dummy, self._said = apply_plan(declaration, again)

    def finish(self) -> list[str]:
        return self._said

    def undo(self) -> None:
        if self.changed:
            now = node.read(FAMILY, self._name)
            self._generation = memory.current()
            self._bring(self._have, _content(self._have), make_plan(now, self._have))

    def forget_stale(self, check_mode: bool) -> list[conntrack.Forgotten]:
        """Delete the connection tracking entries of UDP clients, and former endpoints of clients, that are stale."""
        if not check_mode and not self._sure:
            self._forget_clients()
            if self._want is None:
                memory.forget(self._name)
            elif self._generation == memory.current():
                memory.remember(self._name, self._generation, self._text)
        have = {family: fronts.fronts_in(self._have, family) for family in FAMILIES}
        return [
            conntrack.forget_stale(family, places, conntrack.fronts_of(self._services, family), check_mode)
            for family, places in have.items()
        ]

    def _forget_clients(self) -> None:
        """Lead no client to an endpoint that is gone."""
        sticky = [service for service in self._services if service.affinity and service.endpoints]
        for dummy in range(_ATTEMPTS if sticky else 0):
            commands = self._deletions(sticky)
            if not commands:
                return
            if node.load("".join(commands)).rc == 0:
                self._generation += bool(self._generation)
                return
            # A client has been forgotten by the kernel meanwhile, and nft deletes all of them or none.

    def _deletions(self, sticky: Sequence[Service]) -> list[str]:
        """The commands that delete the clients whose endpoint is gone."""
        maps = read_maps(FAMILY, self._name, [name for service in sticky for name in client_maps(service)])
        gone = [clients.forget(service, {name: maps[name] for name in client_maps(service)}) for service in sticky]
        return [
            "delete element %s %s %s { %s }\n" % (FAMILY, self._name, name, ", ".join(elements))
            for each in gone
            for name, elements in each.items()
            if elements
        ]


def _in_order(table: Table | None, listed: Table | None) -> Table | None:
    """The table with its elements in the order in which nft lists another one, and new elements last."""
    if table is None or listed is None:
        return table
    blocks = dict(table.blocks)
    for key, block in listed.blocks.items():
        if key in blocks:
            wanted = blocks[key].elements
            first = {name: wanted[name] for name in block.elements if name in wanted}
            blocks[key] = blocks[key]._replace(elements={**first, **wanted})
    return table._replace(blocks=blocks)


def _by_name(table: Table | None) -> Table | None:
    """The table with its blocks by name, chains last. nft lists them in the order of their creation."""
    if table is None:
        return None
    return table._replace(
        blocks=dict(sorted(table.blocks.items(), key=lambda block: (block[0][0] == "chain", block[0])))
    )


def _refuse_foreign(name: str, have: Table | None) -> None:
    if have and have.blocks and ("set", NFTABLES_MARK) not in have.blocks:
        raise InputError(
            "prefix %s- names the table %s %s, which exists and belongs to another program: choose another prefix"
            % (name, FAMILY, name)
        )


def _text(table: Table | None) -> str:
    """The table as `nft -a` lists it, with one handle for all rules."""
    if table is None:
        return ""
    blocks = [
        block._replace(rules=tuple(rule._replace(text=rule.text + " # handle 0") for rule in block.rules))
        for block in table.blocks.values()
    ]
    return render(table, blocks)


def _content(table: Table | None) -> str:
    """The text between the braces of a table."""
    return render(table, list(table.blocks.values()), full=True).partition("\n")[2].rpartition("}")[0] if table else ""


def _parse(text: str) -> Table | None:
    return parse_table(text) if text else None


def _same_rules(have: Table | None, want: Table | None) -> bool:
    """Whether two tables differ only in the elements of their sets and maps."""
    if have is None or want is None or have.blocks.keys() != want.blocks.keys():
        return have is None and want is None
    return all(
        block._replace(elements={}).same(want.blocks[key]._replace(elements={})) for key, block in have.blocks.items()
    )
