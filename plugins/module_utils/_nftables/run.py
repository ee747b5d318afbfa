# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module nftables_table: one declared table, and the file that brings it back at boot, carried out in one go."""

from __future__ import annotations

from typing import Any, NamedTuple

from .._common import files
from .._common.errors import InputError, NodeError
from .._common.systemd import exec_start
from . import node
from .model import Table
from .plan import Plan, anew, make_plan

_ATTEMPTS = 3
_OF_IPTABLES = ("filter", "nat", "mangle", "raw", "security", "broute")
_BUILT_IN = {"INPUT", "FORWARD", "OUTPUT", "PREROUTING", "POSTROUTING"}


class Declaration(NamedTuple):
    """A declared table; no content stands for no table."""

    family: str
    name: str
    content: str | None

    def text(self) -> str:
        """The transaction that makes the whole table, as the user has written it."""
        content = self.content or ""
        return anew(self.family, self.name, node.wrapped(self.family, self.name, content))


def converge(declared: Declaration, save_to: str, check_mode: bool, diff: bool) -> dict[str, Any]:
    """Bring the node to the declared state and return the module's result.

    save_to -- the file for the next boot; an empty string for none
    """
    want = None if declared.content is None else node.try_out(declared.family, declared.name, declared.content)
    plan = _read_and_plan(declared, want)
    saved = declared.content is not None and bool(save_to)
    kept = [files.edit(save_to, declared.text() if saved else None)] if save_to else []
    to_write = [file for file in kept if file.changed]
    warnings: list[str] = []
    if not check_mode:
        # In check mode, a task before this one may only have said that it would make the folder.
        if to_write and saved:
            files.refuse_missing_folder("save_to", save_to)
        if plan.changed:
            plan, warnings = apply_plan(declared, plan)
        for file in to_write:
            file.write()
    result: dict[str, Any] = {
        "changed": plan.changed or bool(to_write),
        "boot": [exec_start(["nft", "-f", save_to])] if saved else [],
        "warnings": warnings,
    }
    if diff:
        header = "nft -s list table %s %s" % (declared.family, declared.name)
        shown = {**plan.diff(), "before_header": header, "after_header": header}
        result["diff"] = [*([shown] if plan.changed else []), *(file.diff() for file in to_write)]
    return result


def _read_and_plan(declared: Declaration, want: Table | None, refill: bool = False) -> Plan:
    have = node.read(declared.family, declared.name)
    if have:
        _refuse_iptables(have, want)
    return make_plan(have, want, refill)


def _refuse_iptables(have: Table, want: Table | None) -> None:
    """The tables that iptables and its kin work with are theirs."""
    if have.family == "inet" or have.name not in _OF_IPTABLES:
        return
    found = [name for kind, name in have.blocks if kind == "chain" and name in _BUILT_IN]
    declared = want.blocks if want else {}
    theirs = [name for name in found if ("chain", name) not in declared]
    if theirs:
        raise InputError(
            "name %s is a table of iptables on this node, with the chain %s: choose another name"
            % (have.name, theirs[0])
        )


def apply_plan(declared: Declaration, plan: Plan) -> tuple[Plan, list[str]]:
    """Carry a plan out, all of it or none, and read it back. Returns the plan that was carried out, and warnings.

    What is refused, or reads otherwise, may be due to somebody who changed the table in the meantime, so it is planned
    again, with sets of intervals filled anew. The last attempt puts the user's own text in the place of the table, as
    the first does where there is none.
    """
    warnings: list[str] = []
    said = ""
    for attempt in range(_ATTEMPTS):
        last = attempt == _ATTEMPTS - 1
        commands = declared.text() if plan.want and (last or not plan.seen) else plan.commands
        if last and plan.want and plan.seen:
            warnings = [
                "nft refused the smaller changes (%s), so the whole table %s was put in place anew: what packets had "
                "added and counted is lost" % (said, declared.name)
            ]
        done = node.load(commands)
        again = _read_and_plan(declared, plan.want, refill=True)
        if not again.changed:
            return plan, warnings
        refused = done.rc != 0
        said = node.reason(done.err) if refused else "it reads otherwise than it was written"
        plan = again if refused else again._replace(seen=plan.seen)
    raise NodeError(
        "the table %s %s cannot be brought to its declared state: %s" % (declared.family, declared.name, said)
    )
