# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: table
short_description: A table for the terminal
version_added: 0.1.0
author:
  - The homelab.loadbalancer authors (@homelab-loadbalancer)
description:
  - Sets rows as a table. Control characters in their text, which a hostile node might send, are shown and not obeyed.
requirements:
  - The Python package rich on the control node
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
    description: What stands above the table.
    type: str
    default: ''
"""

EXAMPLES = r"""
- name: Say what was found
  ansible.builtin.debug:
    msg: "{{ [['ping 192.168.20.20', 'no answer']] | homelab.loadbalancer.table(['from a', 'result']) }}"
"""

RETURN = r"""
_value:
  description: The table, of several lines.
  type: str
"""

import io
import shutil
from typing import Any, Callable, Sequence

from ansible.errors import AnsibleFilterError

from ansible_collections.homelab.loadbalancer.plugins.module_utils._printable import printable

try:
    import rich.box
    import rich.console
    import rich.table
    import rich.text
except ImportError as error:
    RICH_MISSING: ImportError | None = error
else:
    RICH_MISSING = None

# As wide as the terminal, within reason, without what Ansible indents. A process that Ansible has forked knows no
# terminal, and this is read before that where an action plugin of the collection has been used.
WIDTH = min(max(shutil.get_terminal_size().columns, 80), 160) - 8


def table(rows: Sequence[Sequence[Any]], columns: Sequence[str], title: str = "") -> str:
    """Set rows as a table that fits the terminal, or 80 characters where there is none."""
    if RICH_MISSING:
        raise AnsibleFilterError("the filter table needs the Python package rich: pip install rich") from RICH_MISSING
    grid = rich.table.Table(title=title or None, title_justify="left", box=rich.box.ROUNDED)
    for column in columns:
        grid.add_column(column, overflow="fold")  # what is too long goes on in the next line, and nothing is lost
    for row in rows:
        grid.add_row(*(rich.text.Text(printable(str(cell))) for cell in row))
    console = rich.console.Console(file=io.StringIO(), width=WIDTH, color_system=None)
    with console.capture() as captured:
        console.print(grid)
    return "\n".join(line.rstrip() for line in captured.get().splitlines())


class FilterModule:
    """Ansible's way to find filters."""

    def filters(self) -> dict[str, Callable[..., str]]:
        return {"table": table}
