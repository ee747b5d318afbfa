# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The words of a rule: users quote as in a shell, but iptables-restore knows only double quotes.

Only quotes and backslashes have a shell's meaning: `$`, `*` and `|` stand for themselves. Between double quotes a
backslash also escapes a single quote, as iptables-save writes it.
"""

from __future__ import annotations

import re

_PIECE = re.compile(
    r"(?P<space>\s+)|'(?P<single>[^']*)'|\"(?P<double>(?:\\.|[^\"\\])*)\"|\\(?P<escaped>.)|(?P<plain>[^\s'\"\\]+)",
    re.DOTALL,
)


def split(rule: str) -> list[tuple[str, bool]]:
    """A rule's words, each with whether a part of it was quoted. ValueError describes a wrong quote."""
    words: list[tuple[str, bool]] = []
    inside, at = False, 0
    while at < len(rule):
        found = _PIECE.match(rule, at)
        if not found:
            raise ValueError("ends with a backslash" if rule[at:] == "\\" else "has a quote that is not closed")
        at = found.end()
        kind, text = found.lastgroup, found.group(found.lastgroup or 0)
        if kind == "double":
            text = re.sub(r"\\([\"\\'$`])", r"\1", text)
        if kind != "space":
            before, quoted = words.pop() if inside else ("", False)
            words.append((before + text, quoted or kind != "plain"))
        inside = kind != "space"
    return words


def words(rule: str) -> list[str]:
    """A rule's arguments for a program that is started without a shell."""
    return [word for word, dummy in split(rule)]


def respell(rule: str) -> str:
    """A rule with a shell's quoting, rewritten for iptables-restore. ValueError describes a wrong quote."""
    if not re.search(r"['\"\\]", rule):
        return rule
    return " ".join(_quote(word) if quoted else word for word, quoted in split(rule))


def _quote(word: str) -> str:
    """Quote a text as iptables-save does."""
    return word if re.match(r"[\w-]+\Z", word, re.ASCII) else '"%s"' % re.sub(r"([\"\\'])", r"\\\1", word)
