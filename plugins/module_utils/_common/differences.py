# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The differences of a diff, line by line."""

from __future__ import annotations

import difflib
from typing import Any, Iterator, Mapping, Sequence

# What lines are that only the text before has, and those that only the text after has.
DECLARED = ("not declared", "missing")
UNDONE = ("lost", "left over")


def differences(diff: Sequence[Mapping[str, Any]], words: tuple[str, str] = DECLARED) -> list[str]:
    """One sentence for each line that differs."""
    return [line for part in diff for line in _part(part, words)]


def _part(part: Mapping[str, Any], words: tuple[str, str]) -> Iterator[str]:
    header = part.get("after_header") or part.get("before_header") or "the node"
    before, after = (_with_tables(str(part.get(key) or "")) for key in ("before", "after"))
    for line in list(difflib.unified_diff(before, after, n=0, lineterm=""))[2:]:
        if line[0] in "-+":
            table, dummy, text = line[1:].partition("\0")
            yield "%s%s: %s `%s`" % (header, table, words["-+".index(line[0])], text)


def _with_tables(text: str) -> list[str]:
    """The lines, each with its iptables table before it."""
    table, lines = "", []
    for line in map(str.strip, text.splitlines()):
        if line.startswith("*"):
            table = " " + line
        elif line != "COMMIT":
            lines.append("%s\0%s" % (table, line))
    return lines
