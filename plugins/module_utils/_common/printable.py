# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Text of others, such as a pod's log, which may be made to be obeyed by the terminal that shows it."""

from __future__ import annotations

from typing import Any


def printable(text: str) -> str:
    """The text, its control and format characters shown as \\x1b and not obeyed; lines stay lines."""
    return "\n".join(line if line.isprintable() else _escaped(line) for line in text.split("\n"))


def _escaped(line: str) -> str:
    return "".join(one if one.isprintable() else "\\x%02x" % ord(one) for one in line)


def printable_diff(diff: Any) -> Any:
    """A diff, or a list of them, with printable texts. A tab stays: it is a part of files, and does no harm."""
    if isinstance(diff, dict):
        return {key: printable_diff(value) for key, value in diff.items()}
    if isinstance(diff, list):
        return [printable_diff(one) for one in diff]
    if isinstance(diff, str):
        return "\t".join(printable(part) for part in diff.split("\t"))
    return diff
