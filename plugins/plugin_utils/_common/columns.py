# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The columns that a text takes on a terminal."""

from __future__ import annotations

import unicodedata


def display_width(text: str) -> int:
    """The display width of a text: two columns for a wide East Asian character, none for a combining one."""
    return sum(
        0 if unicodedata.combining(one) else 2 if unicodedata.east_asian_width(one) in "WF" else 1 for one in text
    )


def padded(text: str, columns: int) -> str:
    """The text with blanks up to a width; a longer text stays as it is."""
    return text + " " * (columns - display_width(text))


def shortened(text: str, columns: int) -> str:
    """The beginning of a text that fits into a width."""
    while text and display_width(text) > columns:
        text = text[:-1]
    return text
