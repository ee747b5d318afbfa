# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Files in the tarball refer to no file that only the repository has."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from ansible_collections.homelab.loadbalancer.tests.unit.project import shipped

ROOT = shipped.ROOT
FILES = shipped.files()
PAGES = [name for name in FILES if name.endswith(".md")]
# The names of playbooks, roles, modules and inventories that only the repository has.
UNSHIPPED = sorted(
    {
        path.stem
        for pattern in ("playbooks/*.yml", "roles/*", "plugins/modules/*.py")
        for path in ROOT.glob(pattern)
        if not shipped.is_shipped(str(path.relative_to(ROOT)))
    }
)
INVENTORIES = [
    path.name for path in (ROOT / "inventories").iterdir() if not shipped.is_shipped("inventories/" + path.name)
]
NAMES = "|".join(UNSHIPPED)
REFERENCE = re.compile(
    rf"homelab\.loadbalancer\.({NAMES})\b|\b({NAMES})\.yml\b|\binventories/({'|'.join(INVENTORIES)})\b"
    r"|(?<![\w/.-])(\.\./)*(tools|tests|molecule|requirements)/\w|}}/\.\./|\b_uml\b"
)
# A page may name these and targets of the Makefile if it says that they need the repository.
REPOSITORY = re.compile(REFERENCE.pattern + r"|(?m:^|`)make [a-z]")
SAID = re.compile(r"\b(repository|clone)\b|リポジトリ|クローン")
LINK = re.compile(r"\]\(([^)#:]+)(?:#[^)]*)?\)")


def test_labs_that_are_built_from_source_are_not_shipped() -> None:
    assert UNSHIPPED == [
        "cluster_lab",
        "cluster_lab_down",
        "demo_cluster",
        "demo_ipvs",
        "node_lab",
        "nodes",
        "nodes_down",
        "uml_lab",
    ]
    assert sorted(INVENTORIES) == ["cluster", "failover", "nodes"]


def test_shipped_files_refer_only_to_shipped_files() -> None:
    others = [name for name in FILES if not name.endswith(".md")]
    found = {name: [match.group() for match in REFERENCE.finditer((ROOT / name).read_text())] for name in others}
    assert {name: references for name, references in found.items() if references} == {}


@pytest.mark.parametrize(
    "text",
    [
        "import_playbook: nodes.yml",
        "role: homelab.loadbalancer.cluster_lab",
        'command: "{{ playbook_dir }}/../tools/node-image"',
        "command: tools/node-image",
        "ansible-playbook -i inventories/nodes",
        "from ..module_utils._uml.model import parse_nodes",
    ],
)
def test_references_to_the_repository_are_found(text: str) -> None:
    assert REFERENCE.search(text)


@pytest.mark.parametrize("name", PAGES)
def test_shipped_page_links_to_shipped_pages(name: str) -> None:
    targets = [os.path.normpath(Path(name).parent / link) for link in LINK.findall((ROOT / name).read_text())]
    assert [target for target in targets if target not in FILES] == []


@pytest.mark.parametrize("name", PAGES)
def test_shipped_page_says_which_commands_only_the_repository_has(name: str) -> None:
    """At its beginning for the whole page, or in the section that names one."""
    beginning, *sections = re.split(r"(?m)^## ", (ROOT / name).read_text())
    if SAID.search(beginning):
        return
    silent = [text for text in [beginning, *sections] if REPOSITORY.search(text) and not SAID.search(text)]
    assert [text.splitlines()[0] for text in silent] == []
