# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: table
short_description: A table for the terminal
version_added: 0.2.0
author:
  - The homelab.loadbalancer authors (@homelab-loadbalancer)
description:
  - Formats rows as a table. It is at most as wide as E(COLUMNS) says, or as the terminal, or 200 characters without a
    terminal. Text is broken only between words, so that names can be copied; a table with longer words is wider.
  - Control characters in the text, which a hostile node might send, are escaped.
positional: _input, columns
options:
  _input:
    description: The rows, each a list with one text for each column.
    type: list
    elements: list
    required: true
  columns:
    description: The headings.
    type: list
    elements: str
    required: true
  title:
    description: The title above the table.
    type: str
    default: ''
"""

EXAMPLES = r"""
- name: Show a result
  ansible.builtin.debug:
    msg: >-
      {{ [['ping 192.168.20.20', 'no answer']] | homelab.loadbalancer.table(['from a', 'result'])
         | homelab.loadbalancer.for_debug }}
"""

RETURN = r"""
_value:
  description: The table, a text of several lines.
  type: str
"""

import os
from typing import Any, Callable, Iterator, Sequence

from ansible.errors import AnsibleFilterError
from ansible.utils.display import Display

from ..module_utils._common.printable import printable
from ..plugin_utils._common.columns import display_width, padded

# The width without a terminal, as in a pipeline: enough for a line of `kubectl get pods -o wide`.
WIDE = 200
# The width of the quotes and blanks that Ansible prints around each line of a message.
AROUND = 12
# The longest name of a Kubernetes object. Longer words are not names, so they may be broken.
LONGEST_NAME = 253


def _terminal() -> int:
    """The width of the terminal, or WIDE without one.

    Ansible renders messages in worker processes without a terminal; their parent still has it.
    """
    if os.environ.get("COLUMNS", "").isdigit():
        return int(os.environ["COLUMNS"])
    if not os.path.exists("/proc/self/fd"):  # macOS
        return int(Display().columns) + 1
    for process in ("self", str(os.getppid())):
        try:
            output = os.open("/proc/%s/fd/1" % process, os.O_WRONLY | os.O_NOCTTY | os.O_NONBLOCK)
        except OSError:
            continue
        try:
            return os.get_terminal_size(output).columns
        except OSError:
            continue
        finally:
            os.close(output)
    return WIDE


def _words(line: str) -> Iterator[str]:
    """The words of a line. Words longer than a name are split."""
    for word in line.split(" "):
        for start in range(0, max(len(word), 1), LONGEST_NAME):
            yield word[start : start + LONGEST_NAME]


def _wrap(text: str, width: int) -> list[str]:
    """The lines of a cell, broken between words only."""
    lines = []
    for line in text.split("\n"):
        if display_width(line) <= width:
            lines.append(line)
            continue
        words = _words(line)
        current = next(words)
        for word in words:
            if display_width(current) + 1 + display_width(word) > width:
                lines.append(current)
                current = word
            else:
                current += " " + word
        lines.append(current)
    return lines


def _widths(rows: Sequence[Sequence[str]], room: int) -> list[int]:
    """The width of each column: that of its longest line, or at least of its longest word if the room is short."""
    columns = [[line for cell in column for line in cell.split("\n")] for column in zip(*rows)]
    least = [max(display_width(word) for line in lines for word in _words(line)) for lines in columns]
    widths = [max(map(display_width, lines)) for lines in columns]
    while sum(widths) > room and widths != least:
        slack = [width if width > low else 0 for width, low in zip(widths, least)]
        widths[slack.index(max(slack))] -= 1
    return widths


def table(rows: Sequence[Sequence[Any]], columns: Sequence[str], title: str = "") -> str:
    """Format rows as a table that fits the terminal, unless its words need more room."""
    cells = [[printable(str(cell)) for cell in row] for row in [columns, *rows]]
    for i, row in enumerate(cells[1:]):
        if len(row) != len(columns):
            raise AnsibleFilterError("row %d has %d cells, but there are %d columns" % (i, len(row), len(columns)))
    widths = _widths(cells, _terminal() - AROUND - 3 * len(columns) - 1)
    bars = ["─" * (width + 2) for width in widths]
    lines = [printable(title)] if title else []
    lines.append("╭%s╮" % "┬".join(bars))
    for i, row in enumerate(cells):
        wrapped = [_wrap(cell, width) for cell, width in zip(row, widths)]
        for part in range(max(map(len, wrapped))):
            texts = [cell[part] if part < len(cell) else "" for cell in wrapped]
            lines.append("│ %s │" % " │ ".join(map(padded, texts, widths)))
        if i == 0:
            lines.append("├%s┤" % "┼".join(bars))
    lines.append("╰%s╯" % "┴".join(bars))
    return "\n".join(lines)


class FilterModule:
    """Registers the filter with Ansible."""

    def filters(self) -> dict[str, Callable[..., str]]:
        return {"table": table}
