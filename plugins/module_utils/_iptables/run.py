# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The body of the module iptables_chains: rules of one address family, and a file that keeps them."""

from __future__ import annotations

from typing import Any, Callable

from .._common import files
from .._common.command import CommandError
from .._common.errors import InputError, NodeError, NotInstalledError
from .._common.module import Module
from .change import Change, Declaration

COMMON_ARGUMENTS: dict[str, dict[str, Any]] = {
    "backend": {"type": "str", "choices": ["auto", "nft", "legacy"], "default": "auto"},
    "wait": {"type": "int", "default": 30},
}


def run_module(module: Module, declare: Callable[[dict[str, Any]], Declaration]) -> None:
    """The body of a module: declare the wanted state from its options, converge, and report."""
    result: dict[str, Any] = {}
    try:
        file = module.params["save_to"] or ""
        result = converge(declare(module.params), file, module.check_mode, module._diff)
    except NotInstalledError as error:
        if not module.check_mode or module.params["state"] == "absent":
            module.fail_json(msg=str(error))
        # An earlier task would install the tool: in check mode only the options can be checked.
        module.warn("%s. Nothing more can be predicted" % error)
        result = {"changed": True, "iptables": [], "backend": "", "boot": []}
    except (InputError, NodeError, CommandError, OSError) as error:
        module.fail_json(msg=str(error))
    for warning in result.pop("warnings", []):
        module.warn(warning)
    module.exit_json(**result)


def converge(declaration: Declaration, file: str, check_mode: bool, diff: bool) -> dict[str, Any]:
    """Bring the node to the declared state and return the module's result.

    file -- for the next boot; an empty string for none
    """
    change = Change([declaration], exact=check_mode or diff)
    kept = _kept(change, file)
    if not check_mode:
        for each in kept:
            if each.changed and each.after is not None:
                files.refuse_missing_folder("save_to", file)
        change.apply()
        kept = _kept(change, file)
        try:
            for each in kept:
                each.write()
        except OSError:
            change.undo()
            raise
    changed = [each for each in kept if each.changed]
    result = {"changed": change.changed or bool(changed), **change.result(), "warnings": change.warnings}
    result["boot"] = list(change.boot_from(file).commands) if file else []
    return {**result, "diff": change.diff() + [each.diff() for each in changed]} if diff else result


def _kept(change: Change, file: str) -> list[files.FileEdit]:
    return [files.edit(file, change.boot_from(file).files.get(file))] if file else []
