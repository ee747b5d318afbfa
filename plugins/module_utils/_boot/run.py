# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Make a boot restore a declaration, or remove that again."""

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
    """The changes of a module run.

    edits -- files to write or remove, in this order
    makes_folder, removes_folder -- the folder of the declaration is created first, or removed last if it is empty
    disables, enables -- units of systemd
    reloads -- whether systemd must read its units again
    """

    edits: list[files.FileEdit]
    makes_folder: bool = False
    removes_folder: bool = False
    disables: Sequence[str] = ()
    enables: Sequence[str] = ()
    reloads: bool = False

    @property
    def changed(self) -> bool:
        return any(self)

    def diff(self) -> list[dict[str, str]]:
        return [edit.diff() for edit in self.edits]


def refuse_no_boot(path: str) -> None:
    """Raise an error on a host without systemd, and on a network namespace, whose files are those of its machine."""
    name = folder.named_namespace()
    if name:
        raise InputError(
            "state: this host is the network namespace %s, and %s and the systemd units would be those of its machine, "
            "so nothing can be restored at boot here: switch this off" % (name, path)
        )
    if not os.path.isdir(BOOTED):
        raise NodeError(
            "state: systemd does not run on this node, so nothing can be restored at boot here: switch this off"
        )


def plan_present(found: folder.Folder, want: Restored, part: str) -> Change:
    """Create the folder, or the other files and enabled units, or all of it."""
    makes_folder = part != "units" and not os.path.isdir(found.path)
    owner = [found.owner_file] if part != "units" else []
    if part == "folder":
        return Change(_changed(owner), makes_folder)
    edits = _changed(owner + [files.edit(path, text) for path, text in want.files().items()])
    states = unit_states(want.units)
    enables = [unit for unit in want.units if states.get(unit, ("", ""))[0] != "enabled"]
    stale = any(needs_reload == "yes" for state, needs_reload in states.values())
    reloads = bool(enables) or stale or any(edit.path.startswith(units.UNITS) for edit in edits)
    return Change(edits, makes_folder, enables=enables, reloads=reloads)


def plan_absent(found: folder.Folder, want: Restored) -> Change:
    """Remove the units and our files. In a network namespace of a machine they are the machine's, and stay."""
    if folder.named_namespace():
        return Change([])
    there = [unit for unit in want.units if os.path.lexists("%s/%s" % (units.UNITS, unit))]
    paths = ["%s/%s" % (units.UNITS, unit) for unit in there] + [want.modules_file]
    edits = _changed([files.edit(path, None) for path in paths])
    ours = found.ours
    return Change(edits + (found.removals() if ours else []), False, ours, disables=there, reloads=bool(there))


def _changed(edits: Sequence[files.FileEdit]) -> list[files.FileEdit]:
    return [edit for edit in edits if edit.changed]


def unit_states(names: Sequence[str]) -> dict[str, tuple[str, str]]:
    """The UnitFileState of each unit, and NeedDaemonReload: whether systemd must read its file again."""
    asked = run(["systemctl", "show", "--property=Id,UnitFileState,NeedDaemonReload", *names], check=False)
    if asked.rc != 0:
        raise CommandError(asked)
    blocks = [dict(line.partition("=")[::2] for line in block.splitlines()) for block in asked.out.split("\n\n")]
    return {
        block["Id"]: (block.get("UnitFileState", ""), block.get("NeedDaemonReload", "")) for block in blocks if block
    }


def apply(change: Change, found: folder.Folder) -> None:
    """Make the change. If a step fails, files and units become what they were."""
    _systemctl("disable", "--now", *change.disables)
    if change.makes_folder:
        os.makedirs(found.path, mode=0o755)
    done: list[files.FileEdit] = []
    try:
        for edit in change.edits:
            edit.write(_MODE)
            done.append(edit)
        _systemctl("--no-reload", "enable", *change.enables)
        if change.reloads:
            run(["systemctl", "daemon-reload"])
    except (OSError, CommandError):
        for edit in reversed(done):
            edit.reversed().write(_MODE)
        if change.makes_folder:
            found.remove_empty()
        _systemctl("enable", *change.disables)
        raise
    if change.removes_folder:
        found.remove_empty()


def _systemctl(*words: str) -> None:
    """Run a command on units, unless there are none."""
    if any(word.endswith(".service") for word in words):
        run(["systemctl", *words])


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
