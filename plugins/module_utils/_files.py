# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Small files of a node, written whole, and only when they change."""

from __future__ import annotations

import contextlib
import os
import tempfile


def differs(path: str, text: str | bytes | None) -> bool:
    """Whether a file does not hold the text. None stands for no file."""
    try:
        with open(path, "rb") as file:
            return text is None or file.read() != _bytes(text)
    except FileNotFoundError:
        return text is not None


def folder_missing(path: str) -> str:
    """The folder that a file would be in, where there is none; otherwise an empty string."""
    folder = os.path.dirname(os.path.abspath(path))
    return "" if os.path.isdir(folder) else folder


def write(path: str, text: str | bytes | None) -> None:
    """Put the text there at one stroke, readable by root alone, or remove the file. Its folder must exist."""
    if text is None:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)
        return
    folder, name = os.path.split(os.path.abspath(path))
    handle, draft = tempfile.mkstemp(dir=folder, prefix="." + name)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(_bytes(text))
            file.flush()
            os.fsync(file.fileno())
        os.replace(draft, path)
    except BaseException:
        os.unlink(draft)
        raise


def _bytes(text: str | bytes) -> bytes:
    return text.encode() if isinstance(text, str) else text
