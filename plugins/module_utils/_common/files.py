# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Small files of a node: atomic writes that happen only on a change, and lists in files."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import tempfile
from typing import Any, Mapping, NamedTuple, Sequence

from .errors import InputError


class FileEdit(NamedTuple):
    """A file and its wanted content. None stands for no file."""

    path: str
    before: bytes | None
    after: bytes | None

    @property
    def changed(self) -> bool:
        return self.before != self.after

    def diff(self) -> dict[str, str]:
        """Before and after, as Ansible shows it."""
        return {
            "before_header": self.path,
            "after_header": self.path,
            "before": _shown(self.before),
            "after": _shown(self.after),
        }

    def write(self, mode: int = 0o600) -> None:
        """Write or remove the file if that changes it."""
        if self.changed:
            write(self.path, self.after, mode)

    def reversed(self) -> FileEdit:
        """The edit that takes this one back."""
        return self._replace(before=self.after, after=self.before)


def edit(path: str, text: str | bytes | None) -> FileEdit:
    """The edit that gives a file the text; its folder need not exist yet."""
    try:
        with open(path, "rb") as file:
            before: bytes | None = file.read()
    except FileNotFoundError:
        before = None
    return FileEdit(path, before, None if text is None else _bytes(text))


def with_files(diff: dict[str, str], files: Sequence[FileEdit]) -> dict[str, str] | list[dict[str, str]]:
    """A module's diff, with the diffs of changed files added."""
    changed = [file.diff() for file in files if file.changed]
    return [diff, *changed] if changed else diff


def _shown(content: bytes | None) -> str:
    if content is None:
        return ""
    try:
        return content.decode()
    except UnicodeDecodeError:
        return "%d bytes that are no text, SHA-256 %s\n" % (len(content), hashlib.sha256(content).hexdigest())


def differs(path: str, text: str | bytes | None) -> bool:
    """Whether a file does not hold the text. None stands for no file."""
    try:
        with open(path, "rb") as file:
            return text is None or file.read() != _bytes(text)
    except FileNotFoundError:
        return text is not None


def refuse_missing_folder(option: str, path: str) -> None:
    """Raise InputError if the folder of a file does not exist."""
    folder = os.path.dirname(os.path.abspath(path))
    if not os.path.isdir(folder):
        raise InputError("%s: the folder %s does not exist on this node: create it first" % (option, folder))


def read_list(options: Mapping[str, Any], name: str) -> list[Any]:
    """The entries of the option `name`, and of the JSON file that the option `name`_file names; not yet checked."""
    entries: list[Any] = options[name]
    path = options[name + "_file"]
    if path:
        with open(path, encoding="utf-8") as file:
            try:
                entries = entries + json.load(file)
            except (ValueError, TypeError) as error:
                raise InputError("%s_file %s is not a JSON list: %s" % (name, path, error)) from error
    return entries


def write(path: str, text: str | bytes | None, mode: int = 0o600) -> None:
    """Replace the file atomically, by default readable only by root, or remove it.

    The folder must exist.
    """
    if text is None:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)
        return
    folder, name = os.path.split(os.path.abspath(path))
    handle, draft = tempfile.mkstemp(dir=folder, prefix="." + name)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(_bytes(text))
            os.fchmod(file.fileno(), mode)
            file.flush()
            os.fsync(file.fileno())
        os.replace(draft, path)
    except BaseException:
        os.unlink(draft)
        raise


def _bytes(text: str | bytes) -> bytes:
    return text.encode() if isinstance(text, str) else text
