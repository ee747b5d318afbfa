# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run a tool of the node: an argument list, never a shell, always in the C locale."""

from __future__ import annotations

import os
import shutil
import subprocess
from typing import Mapping, NamedTuple, Sequence

INTERRUPTED = "Dump was interrupted"
_READINGS = 20


class Completed(NamedTuple):
    """The result of a command."""

    argv: tuple[str, ...]
    rc: int
    out: str
    err: str


class CommandError(Exception):
    """A required command failed, or is not installed."""

    def __init__(self, completed: Completed) -> None:
        self.completed = completed
        said = (completed.err or completed.out).strip()
        super().__init__("%s: %s (exit code %d)" % (" ".join(completed.argv), said, completed.rc))


def find(program: str) -> str | None:
    """The path of a program, or None if it is not installed."""
    return shutil.which(program, path=_folders())


def _folders() -> str:
    """PATH and the sbin folders, which it may lack."""
    return os.environ.get("PATH", "") + ":/usr/local/sbin:/usr/sbin:/sbin"


def run(
    argv: Sequence[str],
    stdin: str | None = None,
    env: Mapping[str, str] | None = None,
    check: bool = True,
) -> Completed:
    """Run argv to its end and return what it printed.

    argv -- the program and its arguments; found on PATH and in the sbin folders
    stdin -- text for its standard input; nothing is readable there by default
    env -- variables to add to the environment
    check -- raise CommandError for an exit code other than 0 (a missing program raises it always, as 127)
    """
    environment = {**os.environ, "PATH": _folders(), "LC_ALL": "C", **(env or {})}
    try:
        process = subprocess.run(
            list(argv),
            # Search the path here, instead of one exec for each folder, which is slow in a user-mode kernel.
            executable=find(argv[0]),
            input="" if stdin is None else stdin,
            env=environment,
            capture_output=True,
            encoding="utf-8",
            errors="surrogateescape",
            check=False,
        )
    except FileNotFoundError as error:
        raise CommandError(Completed(tuple(argv), 127, "", "not installed on this node")) from error
    completed = Completed(tuple(argv), process.returncode, process.stdout, process.stderr)
    if check and completed.rc != 0:
        raise CommandError(completed)
    return completed


def ask(argv: Sequence[str], stdin: str | None = None) -> str:
    """The output of a listing tool, repeated if the kernel's state changed meanwhile: ip(8) then warns and succeeds."""
    for dummy in range(_READINGS):
        completed = run(argv, stdin)
        if INTERRUPTED not in completed.err:
            return completed.out
    raise CommandError(completed)
