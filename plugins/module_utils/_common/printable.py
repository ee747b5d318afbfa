# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Untrusted text, such as a pod's log, may contain control sequences for the terminal: these functions escape them."""

from __future__ import annotations

from typing import Any


def printable(text: str) -> str:
    """The text with control and format characters escaped, for instance as \\x1b. Line breaks stay."""
    return "\n".join(line if line.isprintable() else _escaped(line) for line in text.split("\n"))


def _escaped(line: str) -> str:
    return "".join(one if one.isprintable() else "\\x%02x" % ord(one) for one in line)


def printable_diff(diff: Any) -> Any:
    """A diff, or a list of diffs, with printable texts. Tabs stay, because files contain them and they are harmless."""
    if isinstance(diff, dict):
        return {key: printable_diff(value) for key, value in diff.items()}
    if isinstance(diff, list):
        return [printable_diff(one) for one in diff]
    if isinstance(diff, str):
        return "\t".join(printable(part) for part in diff.split("\t"))
    return diff
