# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Read firewalld's zones, try the declared values, and make changes, with firewalld's own commands."""

from __future__ import annotations

import os
import shutil
import tempfile
from typing import Any, Mapping, Sequence

from .._common.command import CommandError, run
from .._common.errors import InputError
from . import plan as model

CONFIG = "/etc/firewalld"
# Exit codes of firewall-cmd from firewall-cmd(1), and the one for a command that is not installed. There is no D-Bus
# while an image is built.
RUNNING, NO_BUS, STOPPED, MISSING = 0, 36, 252, 127

OFFLINE = ("firewall-offline-cmd",)
# The command for each configuration. While firewalld runs, only the daemon may write the permanent configuration.
COMMANDS: dict[int, dict[str, tuple[str, ...]]] = {
    RUNNING: {"permanent": ("firewall-cmd", "--permanent"), "running": ("firewall-cmd",)},
    STOPPED: {"permanent": OFFLINE},
    NO_BUS: {"permanent": OFFLINE},
}
STATES = {RUNNING: "running", STOPPED: "stopped", NO_BUS: "stopped", MISSING: "missing"}


def converge(
    zones: Sequence[Mapping[str, Any]], present: bool, check_mode: bool, where: str = "zones"
) -> dict[str, Any]:
    """Add the declared values to the zones, or remove them, and return the module's result.

    where -- the name of the list of zones in messages

    Raises InputError for a declared value that firewalld rejects, before anything changes, and CommandError for any
    other failure.
    """
    state, have = _read()
    if state == MISSING:
        return {"changed": False, "firewalld": STATES[state], "diff": []}
    commands = COMMANDS[state]
    entries = model.parse_entries(zones, where)
    known = set.intersection(*(set(there) for there in have.values()))
    model.check_zones(zones, known, where)
    want = _canonical(entries, known, list(commands.values()), have)
    if present:
        for there in have.values():
            model.check_sources(entries, there)
    changes = {name: model.plan(have[name], want, present) for name in commands}
    diff = [_difference(name, have[name], changes[name]) for name in commands if changes[name]]
    if not check_mode:
        _apply([(commands[name], change) for name in commands for change in changes[name]])
    return {"changed": bool(diff), "firewalld": STATES[state], "diff": diff}


def _read() -> tuple[int, dict[str, model.Zones]]:
    """Whether firewalld is running, stopped or not installed, and its zones by configuration."""
    try:
        running = run(["firewall-cmd", "--list-all-zones"], check=False)
    except CommandError as error:
        return error.completed.rc, {}  # which is MISSING
    if running.rc not in COMMANDS:
        raise CommandError(running)
    have = {"permanent": model.read_zones(_say(COMMANDS[running.rc]["permanent"], "--list-all-zones"))}
    if running.rc == RUNNING:
        have["running"] = model.read_zones(running.out)
    return running.rc, have


def _canonical(
    entries: Sequence[model.Entry],
    known: set[str],
    commands: Sequence[Sequence[str]],
    have: Mapping[str, model.Zones],
) -> list[model.Item]:
    """The declared items in firewalld's own spelling. Only items that it does not list literally are tried."""
    listed = [
        entry.item
        for entry in entries
        if any(entry.item.value in there[entry.item.zone][entry.item.kind] for there in have.values())
    ]
    untried = [entry for entry in entries if entry.item not in listed]
    if untried:
        _check_names(untried, commands)
    return listed + (_try(untried, known) if untried else [])


def _try(entries: Sequence[model.Entry], known: set[str]) -> list[model.Item]:
    """The entries as firewalld lists them after adding them to a copy of its configuration with empty zones."""
    with tempfile.TemporaryDirectory() as folder:
        copy = os.path.join(folder, "firewalld")
        shutil.copytree(CONFIG, copy)
        for zone in known:
            path = os.path.join(copy, "zones", zone + ".xml")
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with open(path, "w", encoding="ascii") as file:
                file.write("<zone/>\n")
        trial = (*OFFLINE, "--system-config=" + copy)
        for zone, kind in dict.fromkeys(entry.item[:2] for entry in entries):
            _try_together(trial, [entry for entry in entries if entry.item[:2] == (zone, kind)])
        return model.items_of(model.read_zones(_say(trial, "--list-all-zones")))


def _try_together(trial: Sequence[str], entries: Sequence[model.Entry]) -> None:
    """Add entries of one kind to a zone of the copy. If that fails or prints a message, add them one by one."""
    adding = [model.Change("add", entry.item).options() for entry in entries]
    together = run([*trial, adding[0][0], *(option for dummy, option in adding)], check=False)
    if together.rc == 0 and not together.err:
        return
    for entry, options in zip(entries, adding):
        alone = run([*trial, *options], check=False)
        if alone.rc != 0:
            said = (alone.err or alone.out).strip().replace("Error: ", "", 1)
            raise InputError("%s was rejected by firewalld: %s" % (entry, said))


def _check_names(entries: Sequence[model.Entry], commands: Sequence[Sequence[str]]) -> None:
    """Refuse services, ipsets and ICMP types that firewalld does not have."""
    known: dict[str, set[str]] = {}
    for entry in entries:
        for what, name in model.names_used(entry.item):
            option = model.NAMED[what][0]
            if what not in known:
                known[what] = set.intersection(*(set(_say(command, option).split()) for command in commands))
            if name not in known[what]:
                raise InputError(
                    "%s: %s is not a %s of firewalld: check `firewall-cmd %s`. A new one is unknown until "
                    "`firewall-cmd --reload`, which with firewalld 1.3 removes all rules of iptables"
                    % (entry, name, what, option)
                )


def _apply(changes: list[tuple[Sequence[str], model.Change]]) -> None:
    """Make the changes. If one fails, undo the earlier ones."""
    done = []
    try:
        for command, change in changes:
            run([*command, *change.options(command == OFFLINE)])
            done.append((command, change))
    except CommandError:
        for command, change in reversed(done):
            run([*command, *change.inverse().options(command == OFFLINE)], check=False)
        raise


def _difference(name: str, have: model.Zones, changes: list[model.Change]) -> dict[str, str]:
    zones = list(dict.fromkeys(change.item.zone for change in changes))
    return {
        "before_header": "firewalld, " + name,
        "after_header": "firewalld, " + name,
        "before": model.show(have, zones),
        "after": model.show(model.planned(have, changes), zones),
    }


def _say(command: Sequence[str], option: str) -> str:
    return run([*command, option]).out
