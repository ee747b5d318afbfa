# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A Japanese page has the commands, tables and headings of its English page."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
PAGES = {path: ROOT / "docs" / path.name for path in sorted(ROOT.glob("docs/ja/*.md"))}
PAGES[ROOT / "README.ja.md"] = ROOT / "README.md"
BLOCK = re.compile(r"(?ms)^```.*?^```$")
COMMENT = re.compile(r"(?:^|(?<=\s))# .*|\s+$", re.MULTILINE)
JAPANESE = re.compile(r"[\u3040-\u30ff\u4e00-\u9fff]")


def blocks(page: Path) -> list[str]:
    """The blocks of code, without comments and the blanks before them. A comment that names a file stays."""
    found = BLOCK.findall(page.read_text())
    return [COMMENT.sub("", re.sub(r"(?m)^# (\S+[.]yml)$", r"FILE \1", block)) for block in found]


def shape(page: Path) -> list[str]:
    """The marks of headings and list items, and the number of cells of each row, in order."""
    lines = BLOCK.sub("", page.read_text()).splitlines()
    marks = [re.match(r"#+ |- |\d+\. |\|", line) for line in lines]
    return [mark.group() * (line.count("|") or 1) for mark, line in zip(marks, lines) if mark]


def links(page: Path) -> set[Path]:
    """The English pages and the pictures that a page links to; a Japanese page stands for its English one."""
    names = [
        name for name in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", BLOCK.sub("", page.read_text())) if ":" not in name
    ]
    targets = [Path(os.path.normpath(page.parent / name)) for name in names]
    english = PAGES.get(page, page)
    return {PAGES.get(target, target) for target in targets} - {english}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_japanese_page_has_the_commands_of_the_english_one(page: Path) -> None:
    assert blocks(page) == blocks(PAGES[page])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_japanese_page_has_the_sections_lists_and_tables_of_the_english_one(page: Path) -> None:
    assert shape(page) == shape(PAGES[page])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_japanese_page_links_to_the_pages_of_the_english_one(page: Path) -> None:
    assert links(page) == links(PAGES[page])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_page_is_in_japanese(page: Path) -> None:
    paragraphs = [text for text in BLOCK.sub("", page.read_text()).split("\n\n") if re.match(r"\w", text)]
    assert [text for text in paragraphs if not JAPANESE.search(text)] == []
