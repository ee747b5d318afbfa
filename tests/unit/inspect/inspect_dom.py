# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads an inspection's page for tests, from its text or from a browser's document."""

from __future__ import annotations

from html.parser import HTMLParser
from typing import Any, Dict, NamedTuple

Row = Dict[str, str]


class Tables(HTMLParser):
    """The tables of a page, by the id of what is around them and by their caption."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.found: dict[str, dict[str, list[list[str]]]] = {}
        self.where = ""
        self.caption: str | None = None
        self.cell: str | None = None
        self.rows: list[list[str]] = []
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.title = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note where a table, a row or a cell begins."""
        self.tags.add(tag)
        self.attributes.update(key for key, dummy in attrs)
        if tag == "details":
            self.where = dict(attrs).get("id") or ""
        elif tag == "caption":
            self.caption = ""
        elif tag == "table":
            self.rows = []
        elif tag == "tr":
            self.rows.append([])
        elif tag in ("td", "th"):
            self.cell = ""

    def handle_data(self, data: str) -> None:
        """Collect the text of a caption or a cell."""
        if self.cell is not None:
            self.cell += data
        elif self.caption is not None and self.lasttag == "caption" and not self.caption:
            self.caption = data.strip()
        elif self.lasttag == "title" and not self.title:
            self.title = data

    def handle_endtag(self, tag: str) -> None:
        """Keep a cell or a table that has ended."""
        if tag in ("td", "th") and self.cell is not None:
            self.rows[-1].append(self.cell)
            self.cell = None
        elif tag == "table":
            self.found.setdefault(self.where, {})[self.caption or ""] = self.rows


class Page(NamedTuple):
    """title -- of the document; tables -- rows by heading, by the id around the table and its caption"""

    title: str
    tables: dict[str, dict[str, list[Row]]]
    tags: set[str]
    attributes: set[str]


def read(page: str) -> Page:
    """The content of a page."""
    parser = Tables()
    parser.feed(page)
    parser.close()
    tables = {
        where: {caption: [dict(zip(rows[0], row)) for row in rows[1:]] for caption, rows in named.items()}
        for where, named in parser.found.items()
    }
    return Page(parser.title, tables, parser.tags, parser.attributes)


def texts(value: Any) -> list[str]:
    """Every text and number in JSON."""
    if isinstance(value, dict):
        return [text for one in value.values() for text in texts(one)]
    if isinstance(value, list):
        return [text for one in value for text in texts(one)]
    return [] if value is None or isinstance(value, bool) else [str(value)]
