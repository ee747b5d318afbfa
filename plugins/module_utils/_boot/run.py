# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Make a boot restore a declaration, or not any more."""

from __future__ import annotations

import os
from typing import Any, NamedTuple, Sequence

from .._common import files
from .._common.command import CommandError, run
from .._common.errors import InputError, NodeError
from . import folder, units
from .units import Restored

BOOTED = "/run/systemd/system"  # exists where systemd runs, see sd_booted(3)
_MODE = 0o644


class Change(NamedTuple):
    """What a module run changes: the files in their order, and commands of systemctl(1) before and after them."""

    edits: list[files.FileEdit]
    before: list[list[str]]
    after: list[list[str]]
    makes_folder: bool = False

    @property
    def changed(self) -> bool:
        return self.makes_folder or bool(self.edits or self.before or self.after)

    def diff(self) -> list[dict[str, str]]:
        return [edit.diff() for edit in self.edits]


def refuse_no_boot(path: str) -> None:
    """Raise an error on a host without systemd, and on a network namespace, whose files are those of its machine."""
    name = folder.named_namespace()
    if name:
        raise InputError(
            "state: this host is the network namespace %s, and %s and the systemd units would be those of its machine. "
            "Nothing can be restored at boot here" % (name, path)
        )
    if not os.path.isdir(BOOTED):
        raise NodeError("state: systemd does not run on this node. Nothing can be restored at boot here")


def plan_folder(found: folder.Folder) -> Change:
    """Only the folder, which other modules save to."""
    edits = [found.owner_file]
    return Change([edit for edit in edits if edit.changed], [], [], not os.path.isdir(found.path))


def plan_units(want: Restored) -> Change:
    """The files but for that of the folder's owner, and enabled units."""
    edits = [edit for edit in (files.edit(path, text) for path, text in want.files().items()) if edit.changed]
    states = unit_states(want.units)
    disabled = [unit for unit in want.units if states.get(unit, ("", ""))[0] != "enabled"]
    after = [["--no-reload", "enable", *disabled]] if disabled else []
    stale = any(reload == "yes" for state, reload in states.values())
    if after or stale or any(edit.path.startswith(units.UNITS) for edit in edits):
        after.append(["daemon-reload"])
    return Change(edits, [], after)


def plan_present(found: folder.Folder, want: Restored, part: str) -> Change:
    """The wanted part of it all."""
    made = plan_folder(found) if part != "units" else Change([], [], [])
    kept = plan_units(want) if part != "folder" else Change([], [], [])
    return made._replace(edits=made.edits + kept.edits, after=kept.after)


def plan_absent(found: folder.Folder, want: Restored) -> Change:
    """No units, and none of our files. What a namespace of a machine sees there is the machine's."""
    if folder.named_namespace():
        return Change([], [], [])
    there = [unit for unit in want.units if os.path.lexists("%s/%s" % (units.UNITS, unit))]
    paths = ["%s/%s" % (units.UNITS, unit) for unit in there] + [want.modules_file]
    edits = [edit for edit in (files.edit(path, None) for path in paths) if edit.changed]
    before = [["disable", "--now", *there]] if there else []
    return Change(edits + (found.removals() if found.ours else []), before, [["daemon-reload"]] if there else [])


def unit_states(names: Sequence[str]) -> dict[str, tuple[str, str]]:
    """Of each unit that systemd knows: its UnitFileState, and whether it must be loaded anew."""
    asked = run(["systemctl", "show", "--property=Id,UnitFileState,NeedDaemonReload", *names], check=False)
    if asked.rc != 0:
        raise CommandError(asked)
    blocks = [dict(line.partition("=")[::2] for line in block.splitlines()) for block in asked.out.split("\n\n")]
    return {
        block["Id"]: (block.get("UnitFileState", ""), block.get("NeedDaemonReload", "")) for block in blocks if block
    }


def apply(change: Change, found: folder.Folder) -> None:
    """Make the change. When a file cannot be written, those before it get their former content back."""
    for words in change.before:
        run(["systemctl", *words])
    if change.makes_folder:
        found.make()
    done: list[files.FileEdit] = []
    try:
        for edit in change.edits:
            files.write(edit.path, edit.after, _MODE)
            done.append(edit)
        for words in change.after:
            run(["systemctl", *words])
    except (OSError, CommandError):
        for edit in reversed(done):
            files.write(edit.path, edit.before, _MODE)
        if change.makes_folder:
            found.remove_empty()
        raise
    if any(edit.after is None for edit in change.edits):
        found.remove_empty()


def converge(options: dict[str, Any], check_mode: bool) -> dict[str, Any]:
    """Bring the node to the declared state, or only say how; the module's result."""
    want = Restored(
        options["name"], options["path"], options["kernel_modules"], options["commands"], options["addresses"]
    )
    found = folder.look(want.path, want.name)
    if options["state"] == "absent":
        change = plan_absent(found, want)
    else:
        refuse_no_boot(want.path)
        found.refuse_others()
        change = plan_present(found, want, options["part"])
    if not check_mode:
        apply(change, found)
    return {"changed": change.changed, "units": list(want.units), "diff": change.diff()}
