# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Check the options of nftables_table for texts that nft accepts but that reach beyond the declared table."""

from __future__ import annotations

import re

from .._common.errors import InputError

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,63}\Z")
# The parts of a content that matter: comments, quoted texts, braces, control characters, and words that reach beyond
# the table.
_TOKEN = re.compile(
    r"""\#[^\n]* | "[^"\n]*" | (?P<quote>") | (?P<control>[\x00-\x08\x0b-\x1f\x7f]) | (?P<open>\{) | (?P<close>\})
    | (?<![\w./-])(?: flags[ \t][ \t\w,]*\b(?P<owner>owner) | (?P<word>include|table|flush) )(?![\w./-])""",
    re.VERBOSE,
)
# The reasons for which a kind of part is refused: anywhere, and outside all braces.
_ANYWHERE = {
    "quote": "has a quoted text that does not end there",
    "control": "holds the control character %r: remove it",
    "include": "includes a file: write its text here, for instance by a lookup",
}
_OUTSIDE = {
    "word": "has the command `%s`: write only the text between the braces of one table",
    "owner": "has the flag %s: the kernel would remove the table as soon as nft ends",
}


def parse_name(raw: str) -> str:
    """Check the name of a table."""
    if not _NAME.match(raw):
        raise InputError("name %r is not the name of a table: use letters, digits, hyphens and dots" % raw)
    return raw


def parse_content(content: str) -> str:
    """Check the text between the braces of a table: it belongs to one table and includes no file."""
    depth = 0
    for found in _TOKEN.finditer(content):
        kind = found.lastgroup or ""
        text = found.group(kind) if kind else ""
        depth += {"open": 1, "close": -1}.get(kind, 0)
        why = _ANYWHERE.get("include" if text == "include" else kind) or (_OUTSIDE.get(kind) if depth == 0 else "")
        if depth < 0:
            why = "closes a brace that it did not open: write the content of one table, without `table` and its braces"
        if why:
            why = why % text if "%" in why else why
            raise InputError("content line %d %s" % (content.count("\n", 0, found.end()) + 1, why))
    if depth:
        raise InputError("content ends before a brace is closed: %d are open" % depth)
    return content
