# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The interface of a data plane: iptables, IPVS or nftables, as the rest of a load balancer sees it."""

from __future__ import annotations

import abc
from typing import Any, Mapping, NamedTuple, Sequence

from .._services.conntrack import Forgotten


class Boot(NamedTuple):
    """What a boot loads to restore the declared state.

    commands -- values of ExecStart= of a systemd unit, in order
    files -- the files that the commands read: paths and contents
    """

    commands: Sequence[str] = ()
    files: Mapping[str, str | bytes] = {}


def joined(parts: Sequence[Boot]) -> Boot:
    """What a boot loads, one part after the other."""
    files = {path: content for part in parts for path, content in part.files.items()}
    return Boot([command for part in parts for command in part.commands], files)


class DataPlane(abc.ABC):
    """The rules, sets and virtual servers that carry the declared services on this node.

    The constructor plans: it reads the node, and raises InputError, NodeError or NotInstalledError (with the missing
    packages) for everything that can be refused. It changes nothing. A real run then calls, each at most once:

    1. apply(), after undeclared addresses have been removed from their links, and before new ones are added;
    2. boot(), and finish(), after all other parts of the node are in place;
    3. forget_stale().

    If a later part of the node fails, undo() is called. Afterwards a second instance, made from the same options, reads
    the node again, and must find nothing to change. `changed` and diff() describe the plan. They are the same in
    check mode and in a real run, before and after apply().
    """

    @property
    def warnings(self) -> Sequence[str]:
        """Faults of the node that do not prevent the change."""
        return ()

    @property
    @abc.abstractmethod
    def changed(self) -> bool:
        """Whether the node differs from the declaration."""

    @abc.abstractmethod
    def diff(self) -> list[dict[str, str]]:
        """The changes: one part for each tool that has any, with its `before`, `after` and both headers.

        Two parts never have the same header.
        """

    @abc.abstractmethod
    def boot(self, folder: str) -> Boot:
        """What a boot loads from files in the folder. Empty commands and files if nothing is declared."""

    @abc.abstractmethod
    def result(self) -> dict[str, Any]:
        """Further values of the module's result, such as the version of the tool."""

    @abc.abstractmethod
    def apply(self) -> None:
        """Make the changes. If one fails, undo those before it, and raise."""

    @abc.abstractmethod
    def undo(self) -> None:
        """Restore the state that the constructor read. Called only after apply() has returned."""

    def finish(self) -> list[str]:
        """The changes that come last, because they wait for clients. Returns warnings.

        undo() must be possible when this raises.
        """
        return []

    def forget_stale(self, check_mode: bool) -> list[Forgotten]:
        """Delete the connection tracking entries that the changes have made stale, or count them in check mode."""
        return []


class NoDataPlane(DataPlane):
    """In place of a data plane whose programs are not installed.

    changed -- whether a real run would change something, after the programs have been installed
    """

    changed = False

    def __init__(self, changed: bool) -> None:
        self.changed = changed

    def diff(self) -> list[dict[str, str]]:
        return []

    def boot(self, folder: str) -> Boot:
        return Boot()

    def result(self) -> dict[str, Any]:
        return {}

    def apply(self) -> None:
        """Nothing is there to change."""

    def undo(self) -> None:
        """Nothing has changed."""
