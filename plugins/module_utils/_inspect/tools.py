# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run the node's tools for an inspection: none is required, none may hang, none may make the kernel load a module."""

from __future__ import annotations

import os
import re
import shutil
from typing import Any, Callable, Sequence, TypeVar

from .._common.command import INTERRUPTED, CommandError, run

T = TypeVar("T")

_KILLED = (124, 128 + 9)  # the exit codes of timeout(1)
_SURROGATE = re.compile("[\ud800-\udfff]")


class Tools:
    """The tools of a node, and notes about data that they could not read.

    timeout -- the time limit of each tool in seconds
    """

    def __init__(self, timeout: int) -> None:
        self.timeout = timeout
        self.notes: list[str] = []
        self._hung: set[str] = set()
        # crictl is often installed by hand, in a folder that sudo leaves out.
        folders = [os.environ.get("PATH", ""), "/usr/local/sbin", "/usr/sbin", "/sbin", "/usr/local/bin"]
        self.path = ":".join(folder for folder in folders if folder)

    def note(self, sentence: str) -> None:
        """Add a note, unless it was added before."""
        if sentence not in self.notes:
            self.notes.append(sentence)

    def find(self, name: str) -> str:
        """The path of a tool, or an empty string."""
        return shutil.which(name, path=self.path) or ""

    def read(self, argv: Sequence[str], parse: Callable[[str], T], lost: str) -> T | None:
        """The parsed output of a tool; on failure None, and a note with `lost`."""
        text = self.ask(argv, lost)
        if text is None:
            return None
        try:
            return parse(text)
        except (ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
            self.note("the output of %s was not understood (%r): %s" % (argv[0], error, lost))
        return None

    def ask(self, argv: Sequence[str], lost: str) -> str | None:
        """The output of a tool; on failure None, and a note with `lost`."""
        for name in (argv[0], "timeout"):
            if not self.find(name):
                self.note("%s is not installed: %s" % (name, lost))
                return None
        if argv[0] not in self._hung:
            try:
                limited = ["timeout", "-k", "2", str(self.timeout), *argv]
                done = run(limited, env={"PATH": self.path}, check=False)
            except (CommandError, OSError) as error:
                self.note("%s: %s" % (error, lost))
                return None
            if done.rc == 0:
                if INTERRUPTED in done.err:
                    self.note("%s was interrupted by changes: what it lists may not be all" % " ".join(argv))
                return done.out
            if done.rc not in _KILLED:
                said = " ".join((done.err or done.out).split())[-300:]
                self.note("%s failed (%s; exit code %d): %s" % (argv[0], said, done.rc, lost))
                return None
            # Otherwise each further call would wait as long again.
            self._hung.add(argv[0])
        self.note("%s did not answer within %d s: %s" % (argv[0], self.timeout, lost))
        return None


def loaded(module: str) -> bool:
    """Whether a part of the kernel can be used without loading a module: it is present, or the kernel loads none.

    A built-in module is in /sys/module only if it has parameters.
    """
    if not os.path.exists("/proc/modules") or os.path.isdir("/sys/module/" + module):
        return True
    try:
        with open("/lib/modules/%s/modules.builtin" % os.uname().release, encoding="utf-8") as names:
            return any(name.rstrip("\n").endswith("/%s.ko" % module) for name in names)
    except OSError:
        return False


def utf8(value: Any) -> Any:
    """The value with all its text as valid UTF-8.

    Python reads invalid bytes as surrogates, and JSON may contain an unpaired surrogate.
    """
    if isinstance(value, str):
        return _SURROGATE.sub("\ufffd", value)
    if isinstance(value, dict):
        return {utf8(key): utf8(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [utf8(item) for item in value]
    return value
