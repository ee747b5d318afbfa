# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Hooks of mkdocs: add the reference to the site, and link names of roles and modules to it."""

from __future__ import annotations

import re
import sys
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / ".collections"))

from ansible_collections.homelab.loadbalancer.tools.site import reference

# `make docs` builds once, `mkdocs serve` many times.
FOUND: list[reference.Entry] = []
NAMES: dict[str, set[str]] = {}
# The theme loads this script for the plugin "offline".
WORKER = "https://unpkg.com/iframe-worker/shim"
KIND = r"role|module|filter|(?:connection|callback)(?: plugin)?"
CODE = r"<code>(?:homelab\.loadbalancer\.)?[a-z0-9_]+</code>"
# "the roles <code>gateway</code>, <code>app</code> and <code>metallb</code>", a row of the table of all names
MENTION = re.compile(
    rf"\b((?:{KIND})s?)((?:,? |, | and |</td>\s*<td>){CODE}(?:(?:, | and | or ){CODE})*)", re.IGNORECASE
)
FULL = re.compile(r"<code>homelab\.loadbalancer\.([a-z0-9_]+)</code>")
# Where a link would be wrong.
LEFT = re.compile(r"(<(h\d|a|pre)\b.*?</\2>)", re.DOTALL)
ONE = re.compile(r"<code>(homelab\.loadbalancer\.)?([a-z0-9_]+)</code>")


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Add the pages of the reference to the navigation, below the page reference.md."""
    if not FOUND:
        FOUND.extend(reference.read())
        for kind in reference.KINDS:
            NAMES[kind] = {entry.name for entry in FOUND if entry.kind == kind}
    for part in config.nav or []:
        for content in part.values():
            if isinstance(content, list) and "reference.md" in content:
                content.extend(reference.navigation(FOUND))
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages of the reference, and the changelog."""
    for name, text in reference.pages(FOUND).items():
        files.append(File.generated(config, "reference/%s.md" % name, content=text))
    changes = reference.unescaped((reference.ROOT / "CHANGELOG.md").read_text())
    files.append(File.generated(config, "changes.md", content=changes))
    return files


def on_page_content(html: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Link names of roles, modules and plugins to the reference."""
    folder = "" if page.url.startswith("reference/") else "../" * page.url.count("/") + "reference/"
    return linked(html, folder)


def linked(html: str, folder: str) -> str:
    """The HTML of a page with such links. folder -- the way from the page to the folder of the reference"""

    def link(name: str, kind: str, shown: str) -> str:
        return '<a href="%s%s_%s.html"><code>%s</code></a>' % (folder, name, kind, shown)

    def mention(found: re.Match[str]) -> str:
        kind = found.group(1).lower().split()[0].removesuffix("s")

        def one(name: re.Match[str]) -> str:
            known = name.group(2) in NAMES[kind]
            return link(name.group(2), kind, (name.group(1) or "") + name.group(2)) if known else name.group()

        return found.group(1) + ONE.sub(one, found.group(2))

    def full(found: re.Match[str]) -> str:
        kinds = [kind for kind, names in NAMES.items() if found.group(1) in names]
        return link(found.group(1), kinds[0], "homelab.loadbalancer." + found.group(1)) if kinds else found.group()

    for pattern, replace in ((MENTION, mention), (FULL, full)):
        # Between two texts are what LEFT matched and the name of its element.
        parts = LEFT.split(html)
        parts[::3] = [pattern.sub(replace, text) for text in parts[::3]]
        html = "".join(part for number, part in enumerate(parts) if number % 3 != 2)
    return html


def on_post_page(output: str, page: Page, config: MkDocsConfig) -> str:
    """Load nothing from other hosts, and name the language of a page in a folder of its language."""
    output = output.replace(WORKER, "../" * page.url.count("/") + "assets/worker.js")
    return output.replace('<html lang="en"', '<html lang="ja"', 1) if page.file.src_uri.startswith("ja/") else output


def on_post_template(output_content: str, template_name: str, config: MkDocsConfig) -> str:
    """The same for the page of missing addresses."""
    return output_content.replace(WORKER, "/assets/worker.js")
