# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The change of a node's iptables rules: a declared state for one address family or both."""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

from .._balancer.model import Boot, DataPlane, joined
from .._common.systemd import exec_start
from .._services import conntrack
from .fronts import fronts_in
from .node import Iptables
from .plan import Plan, apply_plan, boot_text, make_plan, undo, unjump_commands
from .rules import Wanted, declares


class Declaration(NamedTuple):
    """The whole declared state of one family.

    proven -- this project made the rules, not a user
    fronts -- where services answer by UDP
    """

    tool: Iptables
    prefix: str
    wanted: Wanted
    proven: bool = False
    fronts: conntrack.Fronts | None = None

    def boot(self, plan: Plan, file: str) -> Boot:
        """What a boot loads from a file. The rules are in the kernel's spelling, which needs no resolver."""
        if not declares(self.wanted):
            return Boot()
        # Values of ExecStart= (systemd.service(5)): a command that may fail begins with a hyphen.
        jumps = [exec_start(argv, may_fail=True) for argv in unjump_commands(self.tool, plan.canonical)]
        load = exec_start([*self.tool.restore_command, file])
        return Boot([*jumps, load], {file: boot_text(plan.canonical)})


class Change(DataPlane):
    """The changes of all families: planned before the first family is touched, undone together.

    exact -- whether to find the exact outcome, as check mode and a diff need it
    """

    def __init__(self, declarations: list[Declaration], exact: bool) -> None:
        self._declarations = declarations
        self._planners = [
            functools.partial(make_plan, d.tool, d.prefix, d.wanted, exact, d.proven) for d in declarations
        ]
        self._plans = [make() for make in self._planners]

    @property
    def warnings(self) -> list[str]:
        return [warning for d in self._declarations for warning in _warnings(d.tool)]

    @property
    def changed(self) -> bool:
        return any(plan.changed for plan in self._plans)

    def diff(self) -> list[dict[str, str]]:
        return [_diff(d, plan) for d, plan in zip(self._declarations, self._plans) if plan.changed]

    def boot(self, folder: str) -> Boot:
        files = ["%s/rules.%s" % (folder, {"ipv4": "v4", "ipv6": "v6"}[d.tool.family]) for d in self._declarations]
        return joined([self.boot_from(file, i) for i, file in enumerate(files)])

    def boot_from(self, file: str, index: int = 0) -> Boot:
        """What a boot loads from a file for the rules of one declaration."""
        return self._declarations[index].boot(self._plans[index], file)

    def result(self) -> dict[str, Any]:
        return {
            "iptables": [d.tool.name for d in self._declarations if d.tool.name],
            "backend": self._declarations[0].tool.backend,
        }

    def apply(self) -> None:
        """Change the rules. When a later family fails, the earlier ones are restored."""
        done: list[Plan] = []
        try:
            for d, plan, planner in zip(self._declarations, self._plans, self._planners):
                done.append(apply_plan(d.tool, plan, d.prefix, d.wanted, planner) if plan.changed else plan)
        except Exception:
            self._undo(done)
            raise
        self._plans = done

    def undo(self) -> None:
        self._undo(self._plans)

    def _undo(self, done: list[Plan]) -> None:
        for d, plan in zip(self._declarations, done):
            if plan.changed:
                undo(d.tool, plan, d.prefix)

    def forget_stale(self, check_mode: bool) -> list[conntrack.Forgotten]:
        return [
            conntrack.forget_stale(d.tool.family, fronts_in(plan.have, d.prefix), d.fronts or {}, check_mode)
            for d, plan in zip(self._declarations, self._plans)
        ]


def _diff(declaration: Declaration, plan: Plan) -> dict[str, str]:
    name = declaration.tool.command + "-save"
    return {**plan.diff(), "before_header": name, "after_header": name}


def _warnings(tool: Iptables) -> list[str]:
    rules, unshown = tool.rules_elsewhere()
    if not rules and not unshown:
        return []
    other = {"nft": "legacy", "legacy": "nft"}[tool.backend]
    holds = ["%d rules or policies" % rules] if rules else []
    holds += ["the table %s, which it cannot show (see `nft list table %s`)" % (t, tool.nft_name(t)) for t in unshown]
    return [
        "%s was used, but the %s backend of this node holds %s too, and packets pass through both: "
        "see %s-save, and move them to one backend" % (tool.name, other, " and ".join(holds), tool.command_of(other))
    ]
