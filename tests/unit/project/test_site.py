# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The documentation site builds without a warning, its links lead somewhere, and it loads nothing from other hosts."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import unquote, urldefrag

import pytest

from ansible_collections.homelab.loadbalancer.tools.site import hooks, reference

ROOT = Path(__file__).resolve().parents[3]
PICTURES = sorted((ROOT / "docs" / "pictures").iterdir())
LARGEST = 50_000  # bytes of a picture
NAMED = re.compile(r'\s(?:id|name)="([^"]+)"')
LINKS = re.compile(r'<(?:a|img|link|script)\b[^>]*?\s(?:href|src)="([^"]*)"')
# Whatever a browser fetches by itself, in contrast to links that a reader follows.
FETCHED = re.compile(r'<(?:img|link|script|iframe|source)\b[^>]*?\s(?:href|src)="(?:https?:)?//[^"]*"')

LOADED = re.compile(r'(?:href=|url\()"?https?:[^")]*')


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built site."""
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--quiet", "--strict", "--site-dir", str(folder)]
    built = subprocess.run(
        [*command, "--config-file", "tools/site/mkdocs.yml"],
        check=False, cwd=ROOT, env={**os.environ, "NO_MKDOCS_2_WARNING": "1"}, capture_output=True, text=True,
    )  # fmt: skip
    assert (built.returncode, built.stderr) == (0, "")
    return folder


@pytest.fixture(scope="module")
def pages(site: Path) -> dict[Path, str]:
    return {path: path.read_text() for path in site.rglob("*.html") if path.name != "404.html"}


def test_links_lead_to_pages_and_anchors(pages: dict[Path, str]) -> None:
    names = {path: set(NAMED.findall(text)) | {"", "__top"} for path, text in pages.items()}
    wrong = []
    for path, text in pages.items():
        for link in set(LINKS.findall(text)):
            address, anchor = urldefrag(unquote(link))
            if re.match(r"[a-z]+:", address):
                continue
            target = (path.parent / address).resolve() if address else path
            if not target.is_file() or (target in names and anchor not in names[target]):
                wrong.append("%s: %s" % (path.name, link))
    assert wrong == []


def test_site_loads_nothing_from_other_hosts(site: Path) -> None:
    patterns = {"*.html": FETCHED, "*.css": re.compile(r"(?:@import|url\()[^;)]*//[^;)]*"), "*.svg": LOADED}
    found = {
        path.name: pattern.findall(path.read_text())
        for files, pattern in patterns.items()
        for path in site.rglob(files)
    }
    assert {name: urls for name, urls in found.items() if urls} == {}


def test_roles_modules_and_plugins_have_pages_that_the_search_finds(site: Path) -> None:
    index = json.loads((site / "search" / "search_index.json").read_text())
    found = {entry["location"] for entry in index["docs"]}
    named = {
        *("%s_role" % path.parent.parent.name for path in ROOT.glob("roles/*/meta/argument_specs.yml")),
        *("%s_module" % path.stem for path in ROOT.glob("plugins/modules/*.py")),
        *("%s_filter" % path.stem for path in ROOT.glob("plugins/filter/*.py")),
        *("%s_connection" % path.stem for path in ROOT.glob("plugins/connection/*.py")),
        *("%s_callback" % path.stem for path in ROOT.glob("plugins/callback/*.py")),
    }
    assert sorted(name for name in named if "reference/%s.html" % name not in found) == []


def test_pages_show_no_escapes_of_markdown(pages: dict[Path, str]) -> None:
    assert [path.name for path, text in pages.items() if re.search(r"\w\\[,.:;']", text)] == []


def test_pictures_are_small_and_shown() -> None:
    texts = "".join(path.read_text() for path in [ROOT / "README.md", *ROOT.glob("docs/**/*.md")])
    assert [path.name for path in PICTURES if path.stat().st_size > LARGEST] == []
    assert [path.name for path in PICTURES if "pictures/" + path.name not in texts] == []


@pytest.mark.parametrize(
    ("html", "linked"),
    [
        ("the role <code>app</code>", 'the role <a href="r/app_role.html"><code>app</code></a>'),
        (
            "modules <code>app</code> and <code>ipset</code>",
            'modules <a href="r/app_module.html"><code>app</code></a> and '
            '<a href="r/ipset_module.html"><code>ipset</code></a>',
        ),
        (
            "<code>homelab.loadbalancer.app</code>",
            '<a href="r/app_role.html"><code>homelab.loadbalancer.app</code></a>',
        ),
        ("the program <code>ipset</code>", None),
        ("the role <code>other</code>", None),
        ("<h1>The role <code>app</code></h1>", None),
        ('<a href="x">the role <code>app</code></a>', None),
    ],
)
def test_names_become_links(monkeypatch: pytest.MonkeyPatch, html: str, linked: str | None) -> None:
    monkeypatch.setattr(hooks, "NAMES", {"role": {"app"}, "module": {"app", "ipset"}})
    assert hooks.linked(html, "r/") == (linked or html)


@pytest.mark.parametrize(("page", "language"), [("ja/lab.md", "ja"), ("lab.md", "en")])
def test_page_names_its_language(page: str, language: str) -> None:
    described = SimpleNamespace(url=page.replace(".md", ".html"), file=SimpleNamespace(src_uri=page))
    assert hooks.on_post_page('<html lang="en">', described, {}) == '<html lang="%s">' % language


def test_a_page_of_the_reference_has_each_option_with_its_anchor() -> None:
    doc = {
        "short_description": "Does it",
        "description": ["Does *it*, as O(rules[].port=80) says.", "See M(homelab.loadbalancer.ipset)."],
        "options": {
            "rules": {
                "description": "The rules.", "type": "list", "elements": "dict", "required": True,
                "suboptions": {"port": {"description": ["One."], "type": "int", "default": 80, "choices": [80, 443]}},
            }
        },
    }  # fmt: skip
    entry = reference.Entry("module", "it", doc, "- name: Do it\n")
    page = reference.Writer(entry, reference.Links({"it_module", "ipset_module"}), "it.md").page()
    assert "[The guide](../it.md)" in page
    assert '<a id="option-rules"></a>`rules` <span class="about">list of dict, **required**</span>' in page
    assert '<a id="option-rules-port"></a>`rules.port` <span class="about">int</span>' in page
    assert "Choices: `80`, `443`" in page
    assert "Default: `80`" in page
    assert '<a href="#option-rules-port">rules[].port=80</a>' in page.replace("\\", "")
    assert '<a href="ipset_module.html">' in page
    assert r"Does \*it\*, as" in page
    assert "```yaml\n- name: Do it\n```" in page


def test_broken_documentation_is_an_error() -> None:
    with pytest.raises(ValueError, match=r"module homelab.loadbalancer.it is broken: no description"):
        reference.entries({"module": {"homelab.loadbalancer.it": {"error": "no description"}}})
