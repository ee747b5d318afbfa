# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Text of others, such as a pod's log, which may be made to be obeyed by the terminal that shows it."""

from __future__ import annotations


def printable(text: str) -> str:
    """The text, its control and format characters shown as \\x1b and not obeyed; lines stay lines."""
    return "".join(
        character if character.isprintable() or character == "\n" else "\\x%02x" % ord(character) for character in text
    )
