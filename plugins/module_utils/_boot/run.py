# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Make a boot restore a declaration, or remove that again."""

from __future__ import annotations

import contextlib
import os
from typing import Any, NamedTuple, Sequence

from .._common import files
from .._common.command import CommandError, run
from .._common.errors import InputError, NodeError
from .._sysctls.node import normal, ordered, show
from . import folder, units
from .units import Restored

BOOTED = "/run/systemd/system"  # exists where systemd runs, see sd_booted(3)


class Part(NamedTuple):
    """A part of a change. It is made, or undone, as a whole.

    edits -- files to write or remove, in this order
    makes_folder, removes_folder -- the folder of the declaration is created first, or removed last if it is empty
    disables, enables -- units of systemd
    reloads -- whether systemd must read its units again
    """

    edits: Sequence[files.FileEdit] = ()
    makes_folder: bool = False
    removes_folder: bool = False
    disables: Sequence[str] = ()
    enables: Sequence[str] = ()
    reloads: bool = False


class Change:
    """The change of what a boot restores, planned when it is constructed.

    It has three parts, so that a boot after an interrupted run never adds an address without its rules.
    """

    def __init__(self, want: Restored, present: bool) -> None:
        self._want = want
        self._found = folder.look(want.path, want.name)
        self._back = contextlib.ExitStack()
        self._batch = files.FileEdit("", None, None)
        if present:
            refuse_no_boot(want.path)
            self._found.refuse_others()
        self._first, self._last = self._plan_present() if present else (Part(), self._plan_absent())

    def _plan_present(self) -> tuple[Part, Part]:
        want, found = self._want, self._found
        self._batch = files.edit(want.batch_file, want.serving()[want.batch_file])
        first = [found.owner_file, *_edits(want.protecting())]
        last = _edits(want.serving())
        if want.rules is not None:
            kept = {edit.path for edit in [*first, *last]}
            last = [*found.removals(kept), *last]
        states = unit_states(want.units)
        stale = any(needs_reload == "yes" for state, needs_reload in states.values())
        parts = []
        for unit, edits in zip(want.units, (first, last)):
            enables = [unit] if states.get(unit, ("", ""))[0] != "enabled" else []
            changed = _changed(edits)
            reloads = bool(enables) or stale or any(edit.path.startswith(units.UNITS) for edit in changed)
            parts.append(Part(changed, enables=enables, reloads=reloads))
            stale = False
        return parts[0]._replace(makes_folder=not os.path.isdir(found.path)), parts[1]

    def _plan_absent(self) -> Part:
        """Remove the units and our files. In a network namespace of a machine they are the machine's, and stay."""
        if folder.named_namespace():
            return Part()
        want, ours = self._want, self._found.ours
        there = [unit for unit in want.units if os.path.lexists("%s/%s" % (units.UNITS, unit))]
        paths = ["%s/%s" % (units.UNITS, unit) for unit in there] + [want.modules_file]
        edits = _changed([files.edit(path, None) for path in paths])
        removals = self._found.removals() if ours else []
        return Part(edits + removals, removes_folder=ours, disables=there, reloads=bool(there))

    @property
    def changed(self) -> bool:
        return any(self._first) or any(self._last)

    def diff(self) -> list[dict[str, str]]:
        parts = [edit.diff() for edit in [*self._first.edits, *self._last.edits]]
        before, after = self._last.disables, [*self._first.enables, *self._last.enables]
        if before or after:
            header = "enabled units"
            enabled = {"before": "".join(map("{}\n".format, before)), "after": "".join(map("{}\n".format, after))}
            parts.append({"before_header": header, "after_header": header, **enabled})
        return parts

    def withdraw(self) -> None:
        """Let a boot add only addresses that stay."""
        if self._batch.changed and self._batch.before is not None:
            wanted = (self._batch.after or b"").splitlines(keepends=True)
            had = self._batch.before.splitlines(keepends=True)
            shorter = self._batch._replace(after=b"".join(line for line in wanted if line in had))
            self._make(Part([shorter] if shorter.changed else []))

    def protect(self) -> None:
        """Let a boot load the kernel modules, the rules and the kernel parameters."""
        self._make(self._first)

    def serve(self) -> None:
        """Let a boot add the addresses, or restore nothing any more."""
        self._make(self._last)

    def undo(self) -> None:
        """Undo all parts that were made."""
        self._back.close()

    def _make(self, part: Part) -> None:
        with contextlib.ExitStack() as back:
            if part.reloads:
                back.callback(_systemctl, "daemon-reload")
            if part.disables:
                back.callback(_systemctl, "enable", *part.disables)
                _systemctl("disable", "--now", *part.disables)
            if part.makes_folder:
                back.callback(self._found.remove_empty)
                os.makedirs(self._found.path, mode=0o755)
            for edit in part.edits:
                mode = 0o600 if os.path.dirname(edit.path) == self._found.path else 0o644
                edit.write(mode)
                back.callback(edit.reversed().write, mode)
            if part.enables:
                back.callback(_systemctl, "--no-reload", "disable", *part.enables)
                _systemctl("--no-reload", "enable", *part.enables)
            if part.reloads:
                _systemctl("daemon-reload")
            if part.removes_folder:
                back.callback(os.makedirs, self._found.path, mode=0o755, exist_ok=True)
                self._found.remove_empty()
            self._back.callback(back.pop_all().close)


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


def _edits(contents: units.Contents) -> list[files.FileEdit]:
    return [files.edit(path, text) for path, text in contents.items()]


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


def _systemctl(*words: str) -> None:
    run(["systemctl", *words])


def converge(options: dict[str, Any], check_mode: bool) -> dict[str, Any]:
    """Bring the node to the declared state, or only say how; the module's result."""
    sysctls = {name: normal(value) for name, value in options["sysctls"].items()}
    want = Restored(
        options["name"],
        options["path"],
        options["kernel_modules"],
        options["commands"],
        options["addresses"],
        show(ordered(sysctls)),
    )
    change = Change(want, options["state"] == "present")
    if not check_mode:
        try:
            change.withdraw()
            change.protect()
            change.serve()
        except (OSError, CommandError):
            change.undo()
            raise
    return {"changed": change.changed, "units": list(want.units), "diff": change.diff()}
