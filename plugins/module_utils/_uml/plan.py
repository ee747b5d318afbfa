# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The changes from the current state to the declared nodes, in order. Pure."""

from __future__ import annotations

from typing import Mapping, NamedTuple

from .._netns import plan as netns_plan
from .._netns.node import Have as Wires
from .model import Nodes, command_of, files_of, ssh_config


class Have(NamedTuple):
    """The current state of the machine.

    wires -- the lab's network namespaces
    running -- the command line of each node's running kernel
    keys -- whether the lab's SSH keys exist
    files -- the text of the lab's own files, except disks, keys and consoles, by their path in its folder
    folders -- the folders of nodes
    """

    wires: Wires
    running: Mapping[str, tuple[str, ...]]
    keys: bool
    files: Mapping[str, str]
    folders: tuple[str, ...]


class Plan(NamedTuple):
    """The changes in the order in which they are made.

    stop -- nodes to shut down and start again with another command line
    remove -- nodes to remove with their disks
    keys -- make new SSH keys
    write -- texts of files by their path in the lab's folder; None removes one
    start -- the command line of each node that is started
    """

    wires: netns_plan.Plan
    stop: tuple[str, ...]
    remove: tuple[str, ...]
    keys: bool
    write: Mapping[str, str | None]
    start: Mapping[str, tuple[str, ...]]
    # No node is declared: the lab's folder is removed.
    absent: bool
    before: str
    after: str

    @property
    def changed(self) -> bool:
        """Whether anything changes."""
        return bool(self.wires.changed or self.stop or self.remove or self.keys or self.write or self.start)


def files_in_folder(lab: Nodes) -> dict[str, str]:
    """The declared files, by their path in the lab's folder."""
    files = {"ssh_config": ssh_config(lab)}
    for node in lab.nodes:
        files.update({"%s/files/%s" % (node.name, path): text for path, text in files_of(node, lab).items()})
    return files


def plan(have: Have, lab: Nodes, present: bool = True, prefix: str = "") -> Plan:
    """The changes that start, update or remove the nodes."""
    if not present:
        lab = lab._replace(nodes=())
    wanted = {node.name: command_of(node, lab, files_of(node, lab)) for node in lab.nodes}
    keys = bool(wanted) and not have.keys
    stop = tuple(name for name, command in have.running.items() if name in wanted and (keys or command != wanted[name]))
    remove = tuple(sorted(name for name in {*have.running, *have.folders} if name not in wanted))
    start = {name: command for name, command in wanted.items() if name in stop or name not in have.running}
    files = files_in_folder(lab) if wanted else {}
    write: dict[str, str | None] = {path: text for path, text in files.items() if have.files.get(path) != text}
    gone = [path for path in have.files if path not in files and path.partition("/")[0] not in remove]
    write.update(dict.fromkeys(gone))
    wires = netns_plan.plan(have.wires, lab.wires, present, prefix)
    return Plan(
        wires=wires,
        stop=stop,
        remove=remove,
        keys=keys,
        write=write,
        start=start,
        absent=not wanted,
        before=wires.before + render(have.running, have.keys, have.files),
        after=wires.after + render(wanted, bool(wanted), files),
    )


def render(running: Mapping[str, tuple[str, ...]], keys: bool, files: Mapping[str, str]) -> str:
    """The nodes as text, one fact a line."""
    lines = ["SSH keys"] if keys else []
    for name in sorted(running):
        lines.append("%s: %s" % (name, " ".join(running[name])))
    for path in sorted(files):
        lines += ["%s: %s" % (path, line) for line in files[path].splitlines()]
    return "".join(line + "\n" for line in lines)
