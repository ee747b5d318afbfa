# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Parse the output of `nft -a list table`, and render it again.

Counters and remaining times (`packets 3 bytes 180`, `used 5 kbytes`, `expires 59s`, `last used 2s`) are state, not
declaration. Each rule, element and object therefore has two texts: one without state for comparisons, and the full one.
"""

from __future__ import annotations

import functools
import re
from typing import Dict, Iterator, NamedTuple, Sequence, Tuple

_HEAD = re.compile(r"\t((?:ct )?[a-z]+) (\S+) \{(?: #.*)?\Z")
_HANDLE = re.compile(r" # handle (\d+)\Z")
_COUNT = re.compile(r"\s+# count \d+\Z")
_POLICY = re.compile(r" policy (\w+);\Z")
_QUOTED = re.compile(r'"[^"]*"')
_STATE = re.compile(
    r"(?<=\bcounter) packets \d+ bytes \d+|\Apackets \d+ bytes \d+\Z|(?<=bytes) used \d+ \w*bytes"
    r"| expires \w+|(?<=\blast) used \w+"
)
_EXPIRES = re.compile(r" expires \w+")
_ATTRIBUTE = re.compile(r" (?:timeout|expires|comment|counter|limit|quota|last|ct count)(?= |\Z)")
_WORD = re.compile(r"[\w./\\-]+")
_TIME_WORDS = ("packets", "used", "expires")


class Rule(NamedTuple):
    """A rule: its text without state, its full text, and its handle."""

    text: str
    full: str
    handle: int = 0


class Element(NamedTuple):
    """An element of a set or a map: its key, the value in a map, its text without state, and its full text."""

    key: str
    data: str
    text: str
    full: str

    @property
    def for_a_time(self) -> bool:
        return " timeout " in masked(self.text)

    @property
    def plain(self) -> str:
        """The key, with its value in a map."""
        return "%s : %s" % (self.key, self.data) if self.data else self.key


class Block(NamedTuple):
    """A chain, a set, a map, a flowtable or a named object.

    lines -- its definition without state: a chain's hook, a set's type, a quota's limit
    full -- its definition with state
    policy -- that of a base chain, the only part of a definition that can change in place
    """

    kind: str
    name: str
    lines: tuple[str, ...]
    full: tuple[str, ...]
    policy: str
    rules: tuple[Rule, ...]
    elements: dict[str, Element]

    @property
    def flags(self) -> set[str]:
        found = [line[6:].split(",") for line in self.lines if line.startswith("flags ")]
        return set(found[0]) if found else set()

    @property
    def default_timeout(self) -> str:
        """The line with the timeout of elements; empty if there is none."""
        return next(iter([line for line in self.lines if line.startswith("timeout ")]), "")

    @property
    def timed(self) -> bool:
        """Whether elements may have a timeout of their own."""
        return bool(self.default_timeout) or "timeout" in self.flags

    def same(self, other: Block) -> bool:
        """Whether both are equal, apart from handles and state."""
        return (
            self.lines == other.lines
            and self.policy == other.policy
            and [rule.text for rule in self.rules] == [rule.text for rule in other.rules]
            and texts(self.elements) == texts(other.elements)
        )


Key = Tuple[str, str]
Blocks = Dict[Key, Block]


class Table(NamedTuple):
    """A table: its own flags and comment, and its blocks by kind and name, in the order of the listing."""

    family: str
    name: str
    lines: tuple[str, ...]
    blocks: Blocks


def texts(elements: dict[str, Element]) -> dict[str, str]:
    return {key: element.text for key, element in elements.items()}


def masked(text: str) -> str:
    """The text with its quoted parts overwritten, because they are not syntax."""
    return _QUOTED.sub(lambda found: '"' * len(found.group()), text) if '"' in text else text


def words(text: str) -> set[str]:
    """All words that may be names."""
    return set(_WORD.findall(text))


def stateless(text: str) -> str:
    return _without(_STATE, text) if any(word in text for word in _TIME_WORDS) else text


def unexpired(text: str) -> str:
    """The text without remaining times."""
    return _without(_EXPIRES, text) if " expires " in text else text


def _without(pattern: re.Pattern[str], text: str) -> str:
    places = [found.span() for found in pattern.finditer(masked(text))]
    for start, end in reversed(places):
        text = text[:start] + text[end:]
    return text


def parse_table(listing: str) -> Table:
    """Parse a listing of one table with handles."""
    lines = _whole_lines(listing)
    while lines and not lines[0].startswith("table "):
        lines.pop(0)
    dummy, family, name = lines[0].split(" ")[:3]
    own: list[str] = []
    blocks: Blocks = {}
    at = 1
    while at < len(lines):
        head = _HEAD.match(lines[at])
        if head:
            end = lines.index("\t}", at)
            block = _parse_block(head.group(1), head.group(2), lines[at + 1 : end])
            blocks[block.kind, block.name] = block
            at = end
        elif lines[at].startswith("\t"):
            own.append(lines[at].strip())
        at += 1
    return Table(family, name, tuple(own), blocks)


def _whole_lines(text: str) -> list[str]:
    """Split a text into lines, but not at a line end within quotes."""
    lines: list[str] = []
    opened = False
    for line in text.split("\n"):
        if opened:
            lines[-1] += "\n" + line
        else:
            lines.append(line)
        opened = opened != bool(line.count('"') % 2)
    return lines


def _joined(lines: Sequence[str]) -> Iterator[str]:
    """The lines of a chain, with one line for each rule, also for one with an inner chain (`jump { ... }`)."""
    inner: list[str] = []
    for line in lines:
        text = line.strip()
        if inner and not text.startswith("}"):
            inner.append("\n\t\t\t" + _HANDLE.sub("", text))
        elif inner:
            yield "".join([*inner, "\n\t\t", text])
            inner = []
        elif masked(text).endswith(" {"):
            inner = [text]
        else:
            yield text


def _parse_block(kind: str, name: str, lines: Sequence[str]) -> Block:
    full: list[str] = []
    rules: list[Rule] = []
    elements: dict[str, Element] = {}
    policy = ""
    for at, line in enumerate(_joined(lines) if kind == "chain" else map(str.strip, lines)):
        handle = _HANDLE.search(line) if kind == "chain" else None
        if handle:
            text = line[: handle.start()]
            rules.append(Rule(stateless(text), text, int(handle.group(1))))
        elif line.startswith("elements = {") and kind in ("set", "map"):
            elements = _parse_elements("\n".join([line, *lines[at + 1 :]]))
            break
        else:
            found = _POLICY.search(line) if kind == "chain" and line.startswith("type ") else None
            policy = found.group(1) if found else policy
            full.append(_COUNT.sub("", line[: found.start()] if found else line))
    own = tuple(line for line in map(stateless, full) if line)
    return Block(kind, name, own, tuple(full), policy, tuple(rules), elements)


@functools.lru_cache(maxsize=64)  # two listings have mostly the same sets
def _parse_elements(text: str) -> dict[str, Element]:
    """Parse `elements = { 10.0.0.1, 10.0.0.2 }`."""
    text = text[text.index("{") + 1 : text.rindex("}")]
    parsed = map(_parse_element, map(str.strip, split_list(text)))
    return {element.key: element for element in parsed}


def split_list(text: str) -> list[str]:
    """Split at the commas outside quotes."""
    if '"' not in text:
        return text.split(",")
    parts, start = [], 0
    for found in re.finditer(",", masked(text)):
        parts.append(text[start : found.start()])
        start = found.end()
    return [*parts, text[start:]]


def _parse_element(full: str) -> Element:
    text, hidden = stateless(full), masked(full)
    end = hidden.rfind(" : ")
    data = full[end + 3 :] if end >= 0 else ""
    found = _ATTRIBUTE.search(hidden, 0, end if end >= 0 else len(full))
    return Element(full[: found.start() if found else end if end >= 0 else len(full)], data, text, full)


def render(table: Table, blocks: Sequence[Block], full: bool = False) -> str:
    """Render the table with some of its blocks as nft lists it, but with one line for each element."""
    lines = ["table %s %s {" % (table.family, table.name), *("\t" + line for line in table.lines)]
    for block in blocks:
        lines += ([""] if len(lines) > 1 else []) + _block_lines(block, full)
    return "\n".join([*lines, "}", ""])


def _block_lines(block: Block, full: bool) -> list[str]:
    made = list(block.full if full else block.lines)
    if block.policy:
        made = [line + " policy %s;" % block.policy if line.startswith("type ") else line for line in made]
    elements = [element.full if full else element.text for element in block.elements.values()]
    if elements:
        made.append("elements = { %s }" % ",\n\t\t\t     ".join(elements))
    made += [rule.full if full else rule.text for rule in block.rules]
    return ["\t%s %s {" % (block.kind, block.name), *("\t\t" + line for line in made), "\t}"]
