# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The version is in galaxy.yml, and the changelog has the releases."""

from __future__ import annotations

import re
from pathlib import Path

import yaml

from ansible_collections.homelab.loadbalancer.tests.compat.matrix import NODES
from ansible_collections.homelab.loadbalancer.tests.unit.project import shipped
from ansible_collections.homelab.loadbalancer.tools import compat

ROOT = Path(__file__).resolve().parents[3]
VERSION: str = yaml.safe_load((ROOT / "galaxy.yml").read_text())["version"]
RELEASES: list[str] = list(yaml.safe_load((ROOT / "changelogs/changelog.yaml").read_text())["releases"])
ADDED = re.compile(r"(?m)^ *version_added: *(\S+)$")
DOCUMENTED = [
    *ROOT.glob("plugins/modules/*.py"),
    *ROOT.glob("plugins/filter/*.py"),
    *ROOT.glob("plugins/callback/*.py"),
    *ROOT.glob("plugins/connection/*.py"),
    *ROOT.glob("roles/*/meta/argument_specs.yml"),
]


def test_new_content_has_the_version_of_a_release_or_of_the_next_one() -> None:
    """The changelog lists new modules, plugins and roles by it."""
    found = {str(path.relative_to(ROOT)): set(ADDED.findall(path.read_text())) for path in DOCUMENTED}
    known = {*RELEASES, VERSION}
    assert {name: versions - known for name, versions in found.items() if versions - known} == {}, (
        "version_added is the version in galaxy.yml"
    )
    # The changelog does not list content that only the repository has.
    assert [name for name, versions in found.items() if bool(versions) != shipped.is_shipped(name)] == []


def test_changelog_shows_all_releases() -> None:
    shown = re.findall(r"(?m)^## v(.+)$", (ROOT / "CHANGELOG.md").read_text().replace("\\", ""))
    assert sorted(shown) == sorted(RELEASES)


def test_no_page_repeats_the_version() -> None:
    pages = [name for name in shipped.files() if name.endswith(".md") and name != "CHANGELOG.md"]
    repeats = re.compile(r"(?<![\d.])%s(?![\d.])" % re.escape(VERSION))
    assert [name for name in pages if repeats.search((ROOT / name).read_text())] == []


def test_roles_list_the_releases_of_debian_that_were_tested() -> None:
    names = {system: release for release, system in NODES.items()}
    rows = compat.read_table(compat.PAGE.read_text()).values()
    tested = {names[row.system] for row in rows if row.system in names and row.result == "works"}
    for path in ROOT.glob("roles/*/meta/main.yml"):
        platforms = yaml.safe_load(path.read_text())["galaxy_info"]["platforms"]
        listed = [set(platform["versions"]) for platform in platforms if platform["name"] == "Debian"]
        if shipped.is_shipped(str(path.relative_to(ROOT))):
            assert listed in ([], [tested]), path
