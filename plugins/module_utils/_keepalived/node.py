# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Read keepalived's configuration on a node, let keepalived test the new one, and write it."""

from __future__ import annotations

import os
import tempfile
from typing import Any

from .._common import files
from .._common.command import CommandError, run
from .._common.errors import InputError
from .._ipvs import kernel as ipvs_kernel
from .._virtual_address.node import read_state
from .plan import FILE, UNREAD, Files, Want, diff, for_test, plan, refuse_links, render


def converge(want: Want | None, config: str, check_mode: bool) -> dict[str, Any]:
    """Bring the configuration to the declared state, or only report the changes; return the result with its warnings.

    want -- None removes everything of ours
    config -- keepalived's main configuration
    """
    config = os.path.realpath(config)
    folder = os.path.dirname(config)
    paths, unread = (config, os.path.join(folder, FILE)), os.path.join(folder, UNREAD)
    have = Files(*map(_read, paths))
    ours = None
    if want is not None:
        links = read_state(want.interface).links
        refuse_links(want, links)
        if want.check:
            ipvs_kernel.require()
        ours = render(want, links[want.interface])
    todo = plan(have, ours, paths[1])
    installed = is_installed()
    warnings = []
    if installed:
        _test(todo, paths)
    elif ours is not None:
        if not check_mode:
            raise InputError("keepalived is not installed on this node: install the package keepalived")
        warnings.append("keepalived is not installed yet, so it could not be asked whether it takes its configuration")
    if have != todo and not check_mode:
        files.write(unread, "")
        _write(have, todo, paths)
    return {
        "changed": have != todo,
        "diff": diff(have, todo, paths),
        "files": [path for path, old, new in zip(paths, have, todo) if old != new],
        "unread": unread if have != todo or os.path.exists(unread) else "",
        "installed": installed,
        "configured": todo.main is not None,
        "vips": want.vips if want else [],
        "warnings": warnings,
    }


def is_installed() -> bool:
    """Whether the node has keepalived."""
    try:
        return run(["keepalived", "--version"], check=False).rc == 0
    except CommandError:
        return False


def _read(path: str) -> str | None:
    try:
        with open(path, encoding="utf-8", newline="") as file:
            return file.read()
    except FileNotFoundError:
        return None
    except UnicodeDecodeError as error:
        raise InputError("%s is not UTF-8 text, so it would not stay as it is: convert it" % path) from error


def _test(todo: Files, paths: tuple[str, str]) -> None:
    """Raise InputError with keepalived's own message when it refuses the new configuration."""
    if todo.ours is None or todo.main is None:
        return
    with tempfile.TemporaryDirectory(prefix="keepalived-test-") as folder:
        drafts = (os.path.join(folder, "main"), os.path.join(folder, "ours"))
        main = for_test(todo.main, os.path.dirname(paths[0]), paths[1], drafts[1])
        for draft, text in zip(drafts, (main, todo.ours)):
            files.write(draft, text)
        tested = run(["keepalived", "--config-test", "--use-file", drafts[0]], check=False)
    if tested.rc != 0:
        said = (tested.err + tested.out).strip().replace(drafts[0], paths[0]).replace(drafts[1], paths[1])
        raise InputError("keepalived refuses the configuration, and nothing was changed: %s" % said)


def _write(have: Files, todo: Files, paths: tuple[str, str]) -> None:
    """Write our file before the main file, which includes it; when the main file cannot be written, restore ours."""
    if todo.ours is None:
        _put(paths[0], have.main, todo.main)
        _put(paths[1], have.ours, None)
        return
    _put(paths[1], have.ours, todo.ours)
    try:
        _put(paths[0], have.main, todo.main)
    except OSError:
        _put(paths[1], todo.ours, have.ours)
        raise


def _put(path: str, old: str | None, new: str | None) -> None:
    """Write a file that differs. An administrator's file keeps its owner and mode."""
    if old == new:
        return
    was = os.stat(path) if old is not None else None
    files.write(path, new)
    if was is not None and new is not None:
        os.chown(path, was.st_uid, was.st_gid)
        os.chmod(path, was.st_mode)
