# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The body of the module nftables_table: one declared table, and the file that restores it at boot."""

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
    """A declared table. None as its content stands for no table."""

    family: str
    name: str
    content: str | None

    def text(self) -> str:
        """The transaction that replaces the table by the text of the user."""
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
        # In check mode an earlier task may only have predicted that it creates the folder.
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
    """Raise InputError for a table that belongs to iptables, ip6tables, arptables or ebtables."""
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
    """Make all changes of a plan or none, and read the table back. Returns the plan that was carried out, and warnings.

    If nft refuses a transaction, or the table differs afterwards, another program may have changed the table meanwhile.
    The change is then planned again, with interval sets emptied and filled. The last attempt replaces the table by the
    text of the user, as the first one does if there is no table.
    """
    warnings: list[str] = []
    said = ""
    for attempt in range(_ATTEMPTS):
        last = attempt == _ATTEMPTS - 1
        commands = declared.text() if plan.want and (last or not plan.seen) else plan.commands
        if last and plan.want and plan.seen:
            warnings = [
                "nft refused the smaller changes (%s), so the whole table %s was replaced: its counters, and elements "
                "that packets had added, are lost" % (said, declared.name)
            ]
        done = node.load(commands)
        again = _read_and_plan(declared, plan.want, refill=True)
        if not again.changed:
            return plan, warnings
        refused = done.rc != 0
        said = node.reason(done.err) if refused else "the table differs from the declared one after the change"
        plan = again if refused else again._replace(seen=plan.seen)
    raise NodeError(
        "the table %s %s cannot be brought to its declared state: %s" % (declared.family, declared.name, said)
    )
