# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Guides and messages do not advise commands that damage a machine."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("roles/*/README.md")])
# These remove the rules of others, ours among them: see docs/iptables_lb.md.
REMOVES_RULES = re.compile(
    r"firewall-cmd.*--reload|restart (firewalld|nftables)|flush ruleset|iptables.* (-F|--flush)\b|netplan apply"
)


# A build makes these.
MADE = {"docs/reference", "tests/output"}
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
