# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The body of the module ipset: applies the declared sets and writes the file that restores them at boot."""

from __future__ import annotations

from typing import Any, Sequence

from .._common import files
from .._common.systemd import exec_start
from .plan import Wanted, apply_plan, boot_text, make_plan


def converge(wanted: Sequence[Wanted], prefix: str, save_to: str, check_mode: bool, diff: bool) -> dict[str, Any]:
    """Bring the node to the declared state and return the module's result.

    save_to -- the file for the next boot; an empty string for none
    """
    plan = make_plan(wanted, prefix, exact=check_mode or diff)
    text = (boot_text(wanted) if save_to else "") or None
    kept = [files.edit(save_to, text)] if save_to else []
    to_write = [file for file in kept if file.changed]
    if not check_mode:
        # In check mode the folder may be missing, because an earlier task only reported that it would make it.
        if to_write and text:
            files.refuse_missing_folder("save_to", save_to)
        if plan.changed:
            plan = apply_plan(plan)
        for file in to_write:
            file.write()
    result = {
        "changed": plan.changed or bool(to_write),
        "boot": [exec_start(["ipset", "-exist", "-file", save_to, "restore"])] if text else [],
    }
    if diff:
        result["diff"] = [*([plan.diff()] if plan.changed else []), *(file.diff() for file in to_write)]
    return result
