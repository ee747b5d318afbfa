# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Boxes, texts and wires of a picture, and the width of texts. Lengths are in pixels."""

from __future__ import annotations

import unicodedata
from typing import NamedTuple, Sequence, Tuple

from .html import shown

Point = Tuple[int, int]

# In the widest of the page's monospaced fonts a character is 0.602 of the font size wide.
SMALL = 6.7  # for 11 pixels
LARGE = 8.5  # for 14 pixels
ELLIPSIS = "\u2026"


class Text(NamedTuple):
    """A line of text: its baseline, and the whole text if it is abbreviated"""

    x: int
    y: int
    text: str
    css: str = ""
    end: bool = False
    whole: str = ""

    def moved(self, x: int, y: int) -> Text:
        """The text at another position."""
        return self._replace(x=self.x + x, y=self.y + y)


class Box(NamedTuple):
    """A rectangle with texts and a tooltip"""

    css: str
    x: int
    y: int
    width: int
    height: int
    texts: tuple[Text, ...] = ()
    tip: str = ""

    def moved(self, x: int, y: int) -> Box:
        """The box and its texts at another position."""
        texts = tuple(text.moved(x, y) for text in self.texts)
        return self._replace(x=self.x + x, y=self.y + y, texts=texts)


class Wire(NamedTuple):
    """A line that bends at each of its points."""

    css: str
    points: tuple[Point, ...]

    def moved(self, x: int, y: int) -> Wire:
        """The line at another position."""
        return self._replace(points=tuple((left + x, top + y) for left, top in self.points))


def drawable(text: str) -> str:
    """A text without combining characters, which are replaced by escapes, so that each character has its own cell."""
    return "".join(
        "\\u%04x" % ord(character) if unicodedata.category(character) in ("Mn", "Me", "Mc") else character
        for character in shown(text)
    )


def cells(text: str) -> int:
    """The number of character cells of a text; characters other than Latin letters may come from a wider font."""
    return sum(1 if ord(character) < 0x250 or character in ELLIPSIS else 2 for character in text)


def fit(text: str, width: float, character: float = SMALL) -> str:
    """The text. If it is too wide its middle is left out, because names of pods differ at their ends."""
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
    """The text in at most this many lines, the last one abbreviated."""
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
    """A lane for each vertical span, so that no two spans in a lane touch, as far as the lanes suffice."""
    ends: list[int] = []
    lanes = [0] * len(spans)
    for index in sorted(range(len(spans)), key=lambda one: (spans[one], one)):
        top, bottom = min(spans[index]), max(spans[index])
        lane = next((number for number, end in enumerate(ends) if end + 6 <= top), len(ends))
        if lane == len(ends) and lane >= limit:
            lane = limit - 1  # let wires overlap, rather than make the picture wider and wider
        elif lane == len(ends):
            ends.append(bottom)
        ends[lane] = max(ends[lane], bottom)
        lanes[index] = lane
    return lanes
