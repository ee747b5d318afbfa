# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The reference pages of the site: one Markdown page for each role, module and plugin, from its documentation."""

from __future__ import annotations

import html
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any, Iterator, NamedTuple

from antsibull_docs_parser import dom
from antsibull_docs_parser.format import LinkProvider
from antsibull_docs_parser.md import MDFormatter, md_escape, to_md
from antsibull_docs_parser.parser import Context, parse

ROOT = Path(__file__).resolve().parents[2]
COLLECTION = "homelab.loadbalancer"
# The kinds in the order of the navigation, with their headings.
KINDS = {
    "role": "Roles",
    "module": "Modules",
    "filter": "Filters",
    "connection": "Connection plugins",
    "callback": "Callback plugins",
}
Json = dict[str, Any]


class Entry(NamedTuple):
    """A role, module or plugin. doc -- its documentation, as ansible-doc prints it"""

    kind: str
    name: str
    doc: Json
    examples: str = ""
    returned: Json | None = None

    @property
    def page(self) -> str:
        """The name of its page, without a suffix."""
        return "%s_%s" % (self.name, self.kind)


def read() -> list[Entry]:
    """All roles, modules and plugins, by one run of ansible-doc."""
    environment = {**os.environ, "ANSIBLE_COLLECTIONS_PATH": str(ROOT / ".collections")}
    program = str(Path(sys.executable).with_name("ansible-doc"))
    command = [program, "--metadata-dump", "--no-fail-on-errors", COLLECTION]
    result = subprocess.run(command, env=environment, cwd=ROOT, stdout=subprocess.PIPE, check=True)
    return entries(json.loads(result.stdout)["all"])


def entries(dump: Json) -> list[Entry]:
    """The entries in the order of the navigation."""
    found = []
    for kind in KINDS:
        for name, data in sorted(dump.get(kind, {}).items()):
            short = name.rsplit(".", 1)[-1]
            if "error" in data:
                raise ValueError("the documentation of %s %s is broken: %s" % (kind, name, data["error"]))
            if kind == "role":
                found.append(Entry(kind, short, data["entry_points"]["main"]))
            else:
                found.append(Entry(kind, short, data["doc"], data["examples"] or "", data["return"]))
    return found


class Links(LinkProvider):
    """Links between the pages of the reference, which are in one folder."""

    def __init__(self, pages: set[str]) -> None:
        self.pages = pages

    def plugin_link(self, plugin: dom.PluginIdentifier) -> str | None:
        page = "%s_%s" % (plugin.fqcn.rsplit(".", 1)[-1], plugin.type)
        own = plugin.fqcn.startswith(COLLECTION + ".") and page in self.pages
        return page + ".html" if own else None

    def plugin_option_like_link(
        self, plugin: dom.PluginIdentifier, entrypoint: str | None, what: str, name: list[str], current_plugin: bool
    ) -> str | None:
        page = "" if current_plugin else self.plugin_link(plugin)
        return None if page is None else "%s#%s" % (page, anchor(what, name))


class Formatter(MDFormatter):
    """Links to pages as HTML, because their addresses are those of the built site."""

    def format_plugin(self, part: dom.PluginPart, url: str | None) -> str:
        return self._link(part.plugin.fqcn, url)

    def format_module(self, part: dom.ModulePart, url: str | None) -> str:
        return self._link(part.fqcn, url)

    def _link(self, fqcn: str, url: str | None) -> str:
        text = "<code>%s</code>" % md_escape(fqcn.removeprefix(COLLECTION + "."))
        return '<a href="%s">%s</a>' % (url, text) if url else text


FORMATTER = Formatter()
# Python-Markdown knows the other ones.
HTML_ESCAPE = re.compile(r"\\([^\w\s\\`*{}\[\]()>#+.!|-])")


def unescaped(text: str) -> str:
    """Markdown without the escapes that the site's Markdown does not know."""
    return HTML_ESCAPE.sub(lambda found: html.escape(found.group(1)), text)


def anchor(what: str, path: list[str]) -> str:
    return "-".join([what, *path])


class Writer:
    """Writes the page of one entry."""

    def __init__(self, entry: Entry, links: Links, guide: str = "") -> None:
        """guide -- the file name of its guide, if it has one"""
        self.entry = entry
        self.links = links
        self.guide = guide
        self.plugin = dom.PluginIdentifier(fqcn="%s.%s" % (COLLECTION, entry.name), type=entry.kind)

    def text(self, markup: str | list[str]) -> list[str]:
        """The paragraphs of a text in Ansible's markup, as Markdown."""
        paragraphs = [markup] if isinstance(markup, str) else [str(paragraph) for paragraph in markup]
        entrypoint = "main" if self.entry.kind == "role" else None
        parsed = parse(paragraphs, Context(self.plugin, entrypoint), errors="exception")
        separator = "\0"
        joined = to_md(parsed, FORMATTER, link_provider=self.links, par_sep=separator, current_plugin=self.plugin)
        return [unescaped(paragraph) for paragraph in joined.split(separator)]

    def page(self) -> str:
        """The whole page."""
        return "\n\n".join(part for part in self._parts() if part) + "\n"

    def _parts(self) -> Iterator[str]:
        doc = self.entry.doc
        yield "---\ntitle: %s\n---" % json.dumps("%s (%s)" % (self.entry.name, self.entry.kind))
        yield "# %s `%s`" % (self.entry.kind.capitalize(), self.entry.name)
        yield "**%s.** Its full name is `%s.%s`." % (
            "".join(self.text(doc["short_description"])), COLLECTION, self.entry.name
        )  # fmt: skip
        if self.guide:
            yield "[The guide](../%s) shows how to use it." % self.guide
        yield from self.text(doc.get("description", []))
        if doc.get("requirements"):
            yield "It needs:"
            yield "\n".join("- %s" % "".join(self.text(one)) for one in doc["requirements"])
        yield from self._section("Variables" if self.entry.kind == "role" else "Options", "option", doc.get("options"))
        if doc.get("attributes"):
            yield "## Check mode and more"
            yield self._attributes(doc["attributes"])
        for note in doc.get("notes") or []:
            yield "!!! note\n\n" + indented("\n\n".join(self.text(note)))
        if self.entry.examples.strip():
            yield "## Examples"
            yield "```yaml\n%s\n```" % self.entry.examples.strip("\n")
        yield from self._section("Returned values", "retval", self.entry.returned)

    def _section(self, heading: str, what: str, options: Json | None) -> Iterator[str]:
        if options:
            yield "## " + heading
            yield "\n\n".join(self._options(what, options, []))

    def _options(self, what: str, options: Json, path: list[str]) -> Iterator[str]:
        """The options as a definition list; the names of nested ones have the names of those around them."""
        for name, option in options.items():
            here = [*path, name]
            about = ", ".join(self._about(option))
            yield '<a id="%s"></a>`%s` <span class="about">%s</span>' % (anchor(what, here), ".".join(here), about)
            details = "\n\n".join([*self.text(option["description"]), *self._values(option)])
            yield ":   " + indented(details).lstrip()
            nested = option.get("suboptions") or option.get("contains") or option.get("options")
            if nested:
                yield from self._options(what, nested, here)

    def _about(self, option: Json) -> Iterator[str]:
        elements = option.get("elements")
        yield option.get("type", "str") + (" of %s" % elements if elements else "")
        if option.get("required"):
            yield "**required**"
        if option.get("returned"):
            yield "returned: " + "".join(self.text(str(option["returned"])))

    def _values(self, option: Json) -> Iterator[str]:
        if option.get("choices"):
            yield "Choices: " + ", ".join(code(choice) for choice in option["choices"])
        if "default" in option:
            yield "Default: " + code(option["default"])
        if "sample" in option:
            yield "Example: " + code(option["sample"])
        sources = [one["name"] for one in [*option.get("vars", []), *option.get("env", [])]]
        if sources:
            yield "Set by: " + ", ".join(code(name) for name in sources)

    def _attributes(self, attributes: Json) -> str:
        rows = ["| | support | |", "|---|---|---|"]
        for name, attribute in attributes.items():
            details = [attribute.get("details", []) or attribute["description"]]
            text = " ".join(line for one in details for line in self.text(one)).replace("|", "\\|")
            rows.append("| `%s` | %s | %s |" % (name, attribute.get("support", ""), text))
        return "\n".join(rows)


def code(value: object) -> str:
    """A value as YAML writes it, in one line."""
    text = value if isinstance(value, str) and value else json.dumps(value, ensure_ascii=False)
    mark = "``" if "`" in text else "`"
    return mark + text + mark


def indented(text: str) -> str:
    return "\n".join("    " + line if line else line for line in text.splitlines())


def guides() -> dict[str, str]:
    """The guide of each role, from its README, and of each module that has one of its own name."""
    found = {path.stem: path.name for path in (ROOT / "docs").glob("*.md")}
    for readme in ROOT.glob("roles/*/README.md"):
        page = readme.read_text().rpartition("/docs/")[2].partition(".md)")[0]
        found[readme.parent.name] = page + ".md"
    return found


def pages(found: list[Entry]) -> dict[str, str]:
    """The Markdown of each page, by its name."""
    links = Links({entry.page for entry in found})
    by_name = guides()
    return {entry.page: Writer(entry, links, by_name.get(entry.name, "")).page() for entry in found}


def navigation(found: list[Entry]) -> list[dict[str, list[dict[str, str]]]]:
    """The part of the site's navigation with these pages."""
    parts: dict[str, list[dict[str, str]]] = {}
    for entry in found:
        parts.setdefault(KINDS[entry.kind], []).append({entry.name: "reference/%s.md" % entry.page})
    return [{heading: part} for heading, part in parts.items()]
