# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The body of the iptables modules: apply a declared state for one address family or both."""

from __future__ import annotations

import functools
from typing import Any, Callable, NamedTuple

from .._common import files
from .._common.command import CommandError
from .._common.errors import InputError, NodeError, NotInstalledError, named
from .._common.module import Module
from .._common.systemd import exec_start
from .._services import conntrack
from .fronts import fronts_in
from .node import Iptables
from .plan import Plan, apply_plan, boot_text, make_plan, undo, unjump_commands
from .rules import Wanted, declares

COMMON_ARGUMENTS: dict[str, dict[str, Any]] = {
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    "backend": {"type": "str", "choices": ["auto", "nft", "legacy"], "default": "auto"},
    "wait": {"type": "int", "default": 30},
    "variables": {"type": "dict", "default": {}},
}


class Declaration(NamedTuple):
    """The whole declared state of one family, and the file for the next boot (an empty path for none).

    proven -- this project made the rules, not a user
    fronts -- where services answer by UDP; None for rules that are not services
    """

    tool: Iptables
    prefix: str
    wanted: Wanted
    boot_file: str = ""
    proven: bool = False
    fronts: conntrack.Fronts | None = None

    def boot_content(self, plan: Plan) -> str | None:
        """The boot file in the kernel's spelling, which needs no resolver and equals the node's rules."""
        return boot_text(plan.canonical) if declares(self.wanted) else None


def run_module(module: Module, declare: Callable[[dict[str, Any]], list[Declaration]]) -> None:
    """The body of a module: declare the wanted state from its options, converge, and report."""
    result: dict[str, Any] = {}
    try:
        result = converge(declare(module.params), module.check_mode, module._diff)
    except NotInstalledError as error:
        if not module.check_mode or module.params["state"] == "absent":
            module.fail_json(msg=str(error))
        # An earlier task would install the tool: in check mode only the options can be checked.
        module.warn("%s. Nothing more can be predicted" % error)
        result = {"changed": True, "iptables": [], "backend": "", "boot": []}
        if "services" in module.params:
            result = with_forgotten({**result, "warnings": []}, [])
    except (InputError, NodeError, CommandError, OSError) as error:
        module.fail_json(msg=named(error, module.params["variables"]))
    for warning in result.pop("warnings", []):
        module.warn(warning)
    module.exit_json(**result)


def converge(declarations: list[Declaration], check_mode: bool, diff: bool) -> dict[str, Any]:
    """Bring the node to the declared state and return the module's result."""
    change = Change(declarations, exact=check_mode or diff)
    if not check_mode:
        change.refuse_folders()
        change.apply()
        change.save()
    result = {**change.result(), **({"diff": change.diff()} if diff else {})}
    return with_forgotten(result, change.forget_stale(check_mode)) if declarations[0].fronts is not None else result


def with_forgotten(result: dict[str, Any], forgotten: list[conntrack.Forgotten]) -> dict[str, Any]:
    """A module's result with the deleted entries of connection tracking, and at most one warning."""
    warnings = [each.warning for each in forgotten if each.warning]
    count = sum(each.deleted for each in forgotten)
    return {**result, "conntrack_deleted": count, "warnings": result["warnings"] + warnings[:1]}


class Change:
    """The changes of all families: planned before the first family is touched, undone together.

    exact -- whether to find the exact outcome, as check mode and a diff need it
    """

    def __init__(self, declarations: list[Declaration], exact: bool) -> None:
        self._declarations = declarations
        self._planners = [
            functools.partial(make_plan, d.tool, d.prefix, d.wanted, exact, d.proven) for d in declarations
        ]
        self._plans = [make() for make in self._planners]
        self._kept = self._boot_files()

    @property
    def changed(self) -> bool:
        return any(plan.changed for plan in self._plans) or any(file.changed for file in self._kept)

    def _boot_files(self) -> list[files.FileEdit]:
        """The files for a boot."""
        both = zip(self._declarations, self._plans)
        return [files.edit(d.boot_file, d.boot_content(plan)) for d, plan in both if d.boot_file]

    def refuse_folders(self) -> None:
        """In check mode the folder may be missing, because an earlier task only reported that it would make it."""
        for file in self._kept:
            if file.changed and file.after is not None:
                files.refuse_missing_folder("save_to", file.path)

    def apply(self) -> None:
        """Change the rules; when a later family fails, the earlier ones are restored."""
        done: list[Plan] = []
        try:
            for d, plan, planner in zip(self._declarations, self._plans, self._planners):
                done.append(apply_plan(d.tool, plan, d.prefix, d.wanted, planner) if plan.changed else plan)
        except Exception:
            self._undo(done)
            raise
        self._plans = done
        self._kept = self._boot_files()

    def undo(self) -> None:
        """Undo apply()."""
        self._undo(self._plans)

    def _undo(self, done: list[Plan]) -> None:
        for d, plan in zip(self._declarations, done):
            if plan.changed:
                undo(d.tool, plan, d.prefix)

    def save(self) -> None:
        """Write the files that restore the rules at boot."""
        for file in self._kept:
            file.write()

    def forget_stale(self, check_mode: bool) -> list[conntrack.Forgotten]:
        """Delete the connection tracking entries that the new rules have made stale."""
        return [
            conntrack.forget_stale(
                d.tool.family, fronts_in(plan.have, d.prefix), d.fronts or {}, check_mode
            )
            for d, plan in zip(self._declarations, self._plans)
        ]  # fmt: skip

    def diff(self) -> list[dict[str, str]]:
        rules = [_diff(d, plan) for d, plan in zip(self._declarations, self._plans) if plan.changed]
        return rules + [file.diff() for file in self._kept if file.changed]

    def result(self) -> dict[str, Any]:
        """The module's result without the diff."""
        saved = [(d, p) for d, p in zip(self._declarations, self._plans) if d.boot_file and declares(d.wanted)]
        return {
            "changed": self.changed,
            "iptables": [d.tool.name for d in self._declarations if d.tool.name],
            "backend": self._declarations[0].tool.backend,
            "boot": [command for d, plan in saved for command in _boot(d, plan)],
            "warnings": [warning for d in self._declarations for warning in _warnings(d.tool)],
        }


def _boot(declaration: Declaration, plan: Plan) -> list[str]:
    """Commands as values of ExecStart (systemd.service(5)): one that may fail begins with a hyphen."""
    jumps = [exec_start(argv, may_fail=True) for argv in unjump_commands(declaration.tool, plan.canonical)]
    return [*jumps, exec_start([*declaration.tool.restore_command, declaration.boot_file])]


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
