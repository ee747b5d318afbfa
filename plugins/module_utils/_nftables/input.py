# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The options of nftables_table, checked for what nft itself would take: more than the one table that is declared."""

from __future__ import annotations

import re
from typing import Iterator

from .._common.errors import InputError

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,63}\Z")
_TOKEN = re.compile(r'(?P<space>[ \t\n]+|\\\n|#[^\n]*)|(?P<text>"[^"\n]*")|(?P<word>[\w./-]+)|(?P<sign>.)', re.DOTALL)


def parse_name(raw: str) -> str:
    """Check the name of a table."""
    if not _NAME.match(raw):
        raise InputError("name %r is not the name of a table: use letters, digits, hyphens and dots" % raw)
    return raw


def parse_content(content: str) -> str:
    """Check what stands between the braces of a table: one table's content, from no other file."""
    depth, before = 0, ""
    for line, kind, text in _tokens(content):
        where = "content line %d" % line
        if kind == "sign" and text == '"':
            raise InputError("%s: a quoted text does not end on its line" % where)
        if kind == "sign" and not text.isprintable():
            raise InputError("%s holds the control character %r: remove it" % (where, text))
        depth += {"{": 1, "}": -1}.get(text, 0)
        if depth < 0:
            raise InputError(
                "%s closes a brace that it did not open: write the content of one table, without `table` and its "
                "braces" % where
            )
        if kind == "word":
            _refuse_word(text, before, depth, where)
        before = text
    if depth:
        raise InputError("content ends before a brace is closed: %d are open" % depth)
    return content


def _refuse_word(word: str, before: str, depth: int, where: str) -> None:
    """Words that lead beyond the table."""
    if word == "include":
        raise InputError("%s includes a file: write its text here, for instance by a lookup" % where)
    if depth == 0 and word in ("table", "flush"):
        raise InputError(
            "%s has the command `%s`: write the content of one table, what stands between its braces" % (where, word)
        )
    if depth == 0 and word == "owner" and before in ("flags", ","):
        raise InputError("%s has the flag owner: the kernel would remove the table as soon as nft ends" % where)


def _tokens(content: str) -> Iterator[tuple[int, str, str]]:
    """The line, the kind and the text of each word, quoted text and sign outside comments."""
    line = 1
    for found in _TOKEN.finditer(content):
        if found.lastgroup and found.lastgroup != "space":
            yield line, found.lastgroup, found.group()
        line += found.group().count("\n")
