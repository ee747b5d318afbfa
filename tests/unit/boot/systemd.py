# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A stand-in for systemd, with files in a temporary folder. Molecule and the tests of nodes use the real one."""

from __future__ import annotations

import contextlib
import re
from pathlib import Path
from typing import Iterator, Sequence
from unittest import mock

from ansible_collections.homelab.loadbalancer.plugins.module_utils._boot import folder, run, units
from ansible_collections.homelab.loadbalancer.plugins.module_utils._common.command import Completed


class Systemctl:
    """Stands in for systemctl: it knows which units are enabled, and keeps its commands."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.enabled: set[str] = set()
        self.stale = False
        self.said: list[str] = []

    def __call__(self, argv: Sequence[str], check: bool = True) -> Completed:
        assert argv[0] == "systemctl"
        words = [word for word in argv[1:] if not word.startswith("-")]
        if words[0] == "show":
            return Completed(tuple(argv), 0, "\n".join(map(self.show, words[1:])), "")
        self.said.append(words[0])
        if words[0] == "enable":
            assert all((self.path / unit).exists() for unit in words[1:])
            self.enabled |= set(words[1:])
        elif words[0] == "disable":
            self.enabled -= set(words[1:])
        return Completed(tuple(argv), 0, "", "")

    def show(self, unit: str) -> str:
        state = ("enabled" if unit in self.enabled else "disabled") if (self.path / unit).exists() else ""
        return "Id=%s\nUnitFileState=%s\nNeedDaemonReload=%s\n" % (unit, state, "yes" if self.stale else "no")

    def starts(self) -> list[str]:
        """The commands of the enabled units, in the order of a boot."""
        texts = [(self.path / unit).read_text(encoding="ascii") for unit in sorted(self.enabled, reverse=True)]
        return [command for text in texts for command in re.findall(r"^ExecStart=(.*)$", text, re.MULTILINE)]


@contextlib.contextmanager
def standing_in(path: Path) -> Iterator[Systemctl]:
    """Let the modules of this process write the files of systemd into a folder, also from a network namespace."""
    for name in ("units", "modules"):
        (path / name).mkdir(exist_ok=True)
    systemctl = Systemctl(path / "units")
    with contextlib.ExitStack() as stack:
        replaced = [
            (units, "UNITS", str(path / "units")),
            (units, "MODULES", str(path / "modules")),
            (folder, "NAMESPACES", str(path / "netns")),
            (run, "BOOTED", str(path)),
            (run, "run", systemctl),
        ]
        for module, name, value in replaced:
            stack.enter_context(mock.patch.object(module, name, value))
        yield systemctl
