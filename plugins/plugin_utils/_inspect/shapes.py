# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Boxes, texts and wires of a picture: what they are, and how wide a text gets. Lengths are in pixels."""

from __future__ import annotations

import unicodedata
from typing import NamedTuple, Sequence, Tuple

from .html import shown

Point = Tuple[int, int]

# The widest of the monospaced fonts that the page asks for has 0.602 of its size for a character.
SMALL = 6.7  # of 11 pixels
LARGE = 8.5  # of 14 pixels
ELLIPSIS = "\u2026"


class Text(NamedTuple):
    """A line of text: its baseline, and the whole where only a part of it had room"""

    x: int
    y: int
    text: str
    css: str = ""
    end: bool = False
    whole: str = ""

    def moved(self, x: int, y: int) -> Text:
        """The same text elsewhere."""
        return self._replace(x=self.x + x, y=self.y + y)


class Box(NamedTuple):
    """A rectangle with texts, shown with a tip"""

    css: str
    x: int
    y: int
    width: int
    height: int
    texts: tuple[Text, ...] = ()
    tip: str = ""

    def moved(self, x: int, y: int) -> Box:
        """The same box and its texts elsewhere."""
        texts = tuple(text.moved(x, y) for text in self.texts)
        return self._replace(x=self.x + x, y=self.y + y, texts=texts)


class Wire(NamedTuple):
    """A line that bends at each of its points."""

    css: str
    points: tuple[Point, ...]

    def moved(self, x: int, y: int) -> Wire:
        """The same line elsewhere."""
        return self._replace(points=tuple((left + x, top + y) for left, top in self.points))


def drawable(text: str) -> str:
    """A text of which each character has a place of its own: those that are put onto others are shown as escapes."""
    return "".join(
        "\\u%04x" % ord(character) if unicodedata.category(character) in ("Mn", "Me", "Mc") else character
        for character in shown(text)
    )


def cells(text: str) -> int:
    """How many characters' room a text takes; what is no Latin letter may come from a wider font."""
    return sum(1 if ord(character) < 0x250 or character in ELLIPSIS else 2 for character in text)


def fit(text: str, width: float, character: float = SMALL) -> str:
    """The text, its middle left out where it is wider: names of pods differ at their ends."""
    text = drawable(text[:2000])
    room = max(int(width / character), 1)
    if cells(text) <= room:
        return text
    head, tail = "", ""
    for front, back in zip(text, reversed(text)):
        if cells(head + tail + front) + 1 > room:
            break
        head += front
        if cells(head + tail + back) + 1 > room:
            break
        tail = back + tail
    return head + ELLIPSIS + tail


def wrap(text: str, width: float, lines: int) -> list[str]:
    """The text in up to so many lines, the last one abbreviated."""
    rest = drawable(text[:2000])
    made: list[str] = []
    room = max(int(width / SMALL), 2)
    while rest and len(made) < lines - 1 and cells(rest) > room:
        length = next((at for at in range(len(rest), 0, -1) if cells(rest[:at]) <= room), 1)
        space = rest.rfind(" ", length // 2, length)
        length = space if space > 0 else length
        made.append(rest[:length].strip())
        rest = rest[length:].strip()
    return [*made, fit(rest, width)] if rest else made


def pack(spans: Sequence[tuple[int, int]], limit: int = 24) -> list[int]:
    """A lane for each span from top to bottom, so that no two in one lane touch, as long as there are lanes."""
    ends: list[int] = []
    lanes = [0] * len(spans)
    for index in sorted(range(len(spans)), key=lambda one: (spans[one], one)):
        top, bottom = min(spans[index]), max(spans[index])
        lane = next((number for number, end in enumerate(ends) if end + 6 <= top), len(ends))
        if lane == len(ends) and lane >= limit:
            lane = limit - 1  # wires that lie on each other, rather than a picture without an end
        elif lane == len(ends):
            ends.append(bottom)
        ends[lane] = max(ends[lane], bottom)
        lanes[index] = lane
    return lanes
