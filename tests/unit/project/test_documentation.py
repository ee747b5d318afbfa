# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Guides name files, commands and messages that exist, and advise nothing that damages a machine."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("roles/*/README.md")])
# These remove the rules of others, ours among them: see docs/iptables_lb.md.
REMOVES_RULES = re.compile(
    r"firewall-cmd.*--reload|restart (firewalld|nftables)|flush ruleset|iptables.* (-F|--flush)\b|netplan apply"
)


# Playbooks that only others import.
PARTS = {"api_server", "demo_vars", "metallb_needed", "needed_hosts"}
# A build makes these.
MADE = {"tests/output"}
FOLDERS = "docs|inventories|molecule|playbooks|plugins|roles|tests|tools"
NAMED_FILE = re.compile(rf"(?<![\w/.~-])((?:{FOLDERS})/[\w./-]*[\w/])")
ANCHOR = re.compile(r"\]\(([^)#:]*)#([^)]+)\)")
TARGET = re.compile(r"(?m)(?:^|`)make ([a-z][a-z-]*)")


def commands(page: str) -> str:
    """The blocks of commands of a page."""
    return "\n".join(re.findall(r"^```\w*\n(.*?)^```", page, re.DOTALL | re.MULTILINE))


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_guide_has_commands_that_remove_rules(path: Path) -> None:
    assert not REMOVES_RULES.search(commands(path.read_text()))


@pytest.mark.parametrize("path", sorted(ROOT.glob("plugins/**/*.py")), ids=lambda path: str(path.relative_to(ROOT)))
def test_no_message_advises_a_reload_without_saying_what_it_removes(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and "--reload`" in node.value:
            assert "removes all rules of iptables" in node.value


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_files_and_make_targets_of_a_guide_exist(path: Path) -> None:
    page = path.read_text()
    # Capitals are a placeholder for a name.
    named = {name for name in NAMED_FILE.findall(page) if name not in MADE and not re.search("[A-Z]{3}", name)}
    assert sorted(name for name in named if not (ROOT / name).exists()) == []
    targets = re.findall(r"(?m)^([a-z -]+):", (ROOT / "Makefile").read_text())
    assert sorted(set(TARGET.findall(page)) - set(" ".join(targets).split())) == []


def test_the_page_of_all_names_has_each_playbook() -> None:
    section = (ROOT / "docs" / "reference.md").read_text().partition("\n## Playbooks\n")[2].partition("\n## ")[0]
    cells = re.findall(r"(?m)^\|(.*?)\|", section)
    named = [name for cell in cells for name in re.findall("`(.*?)`", cell)]
    assert sorted(named) == sorted({path.stem for path in ROOT.glob("playbooks/*.yml")} - PARTS)


def anchors(page: str) -> set[str]:
    """The anchors that GitHub makes of the headings of a page."""
    headings = re.findall(r"(?m)^#+ (.+)$", re.sub(r"(?ms)^```.*?^```", "", page))
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_into_a_page_lead_to_one_of_its_headings(path: Path) -> None:
    page = path.read_text()
    found = {
        (name, anchor): (path.parent / name).read_text() if name else page for name, anchor in ANCHOR.findall(page)
    }
    assert [link for link, text in found.items() if link[1] not in anchors(text)] == []


# A value in a text of the code: of %-formats, f-strings, Jinja and the shell.
VALUE = "\0"
PLACEHOLDER = re.compile(r"%(?:\(\w+\))?[-.\d]*[sdrifg]|\{\{.*?\}\}|\{%.*?%\}|\$\{?\w+\}?")
# A value does not bring the verb of its sentence.
VERBS = {"is", "are", "was", "has", "have", "does", "do", "no", "not"}
# Parts of messages that are the words of boto and of keepalived.
FOREIGN = {"Could not connect to the endpoint URL", "both use VRID 51 with IPv4 on interface eth0"}


def texts_of_code() -> Iterator[str]:
    for path in sorted(ROOT.glob("plugins/**/*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                yield node.value
            elif isinstance(node, ast.JoinedStr):
                yield "".join(str(part.value) if isinstance(part, ast.Constant) else VALUE for part in node.values)
    for pattern in ("roles/*/tasks/*.yml", "playbooks/*.yml", "tools/*"):
        for path in sorted(one for one in ROOT.glob(pattern) if one.is_file()):
            yield path.read_text()


def plain(words: Iterable[str]) -> set[str]:
    return {word.strip(".,:;()") for word in words}


@pytest.fixture(scope="module")
def code() -> list[tuple[tuple[str, ...], set[str]]]:
    """The words of each text of the code, with VALUE in place of what it fills in, and without punctuation."""
    texts = {tuple(PLACEHOLDER.sub(VALUE, text).replace("`", "").split()) for text in texts_of_code()}
    return [(text, plain(text)) for text in texts]


def says(text: tuple[str, ...], words: list[str]) -> bool:
    """Whether the words, except up to two at their beginning, are a part of the text with values filled in.

    At least a quarter of them, and two, must be words of the text itself.
    """

    def goes_on(word: int, place: int, same: int) -> bool:
        if word == len(words) or place == len(text):
            whole = word == len(words) or text[-1].endswith(VALUE)
            return whole and same > 1 and same * 4 >= len(words)
        if VALUE not in text[place]:
            equal = text[place] == words[word] or (
                # The quotation may begin or end within a word.
                (word == 0 and text[place].endswith(words[0]))
                or (word == len(words) - 1 and text[place].startswith(words[-1]))
            )
            return equal and goes_on(word + 1, place + 1, same + 1)
        *before, after = [re.escape(part) for part in text[place].split(VALUE)]
        for end in range(word, min(word + 5, len(words)) + 1):
            last = f"(?:{after})?" if end == len(words) else after
            filled = re.fullmatch(".*".join([*before, last]), " ".join(words[word:end]))
            if filled and not VERBS & set(words[word:end]) and goes_on(end, place + 1, same):
                return True
        return False

    return any(
        goes_on(word, place, 0)
        for word in range(min(3, len(words)))
        if not VERBS & set(words[:word])
        for place in range(len(text))
    )


def quoted_messages(page: str) -> Iterator[str]:
    """The messages in the columns of that name of a page's tables."""
    for table in re.findall(r"(?:^\|.*\n)+", page, re.MULTILINE):
        head, _rule, *rows = [re.split(r" *(?<!\\)\| *", line)[1:-1] for line in table.splitlines()]
        if "message" in head:
            for row in rows:
                yield from re.findall("`([^`]+)`", row[head.index("message")])


@pytest.mark.parametrize(
    "path", [path for path in PAGES if any(quoted_messages(path.read_text()))], ids=lambda path: path.name
)
def test_quoted_messages_are_the_words_of_the_code(path: Path, code: list[tuple[tuple[str, ...], set[str]]]) -> None:
    unknown = []
    for message in quoted_messages(path.read_text()):
        for part in re.split(r"…|\.\.\.", message):
            words = part.split()
            # One or two words, such as a path and `holds`, say too little to look for.
            if len(words) > 2 and part.strip() not in FOREIGN:
                likely = [text for text, known in code if len(known & plain(words)) > 1]
                if not any(says(text, words) for text in likely):
                    unknown.append(message)
    assert unknown == []
