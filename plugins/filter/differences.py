# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: differences
short_description: What a check run would change, line by line
version_added: 0.1.0
author:
  - The homelab.loadbalancer authors (@homelab-loadbalancer)
description:
  - Takes the diff that a module returned in check mode, and names the lines that a node lacks or should not have.
positional: _input
options:
  _input:
    description: The diff, a list of parts with C(before) and C(after), and their headers.
    type: list
    elements: dict
    required: true
"""

EXAMPLES = r"""
- name: Say how the node differs from its declaration
  ansible.builtin.debug:
    msg: "{{ verified.diff | homelab.loadbalancer.differences | homelab.loadbalancer.for_debug }}"
"""

RETURN = r"""
_value:
  description: One sentence a line that differs; empty where nothing does.
  type: list
  elements: str
  sample: ["iptables-save *nat: missing `-A PREROUTING -j LB-SERVICES`"]
"""

import difflib
from typing import Any, Callable, Iterator, Mapping, Sequence

_WORDS = {"-": "not declared", "+": "missing"}


def differences(diff: Sequence[Mapping[str, Any]]) -> list[str]:
    """The lines in which each part of a diff differs."""
    return [line for part in diff for line in _part(part)]


def _part(part: Mapping[str, Any]) -> Iterator[str]:
    header = part.get("after_header") or part.get("before_header") or "the node"
    before, after = (_with_tables(str(part.get(key) or "")) for key in ("before", "after"))
    for line in list(difflib.unified_diff(before, after, n=0, lineterm=""))[2:]:
        if line[0] in _WORDS:
            table, dummy, text = line[1:].partition("\0")
            yield "%s%s: %s `%s`" % (header, table, _WORDS[line[0]], text)


def _with_tables(text: str) -> list[str]:
    """The lines, and before each the table of iptables in which it stands."""
    table, lines = "", []
    for line in text.splitlines():
        if line.startswith("*"):
            table = " " + line
        elif line != "COMMIT":
            lines.append("%s\0%s" % (table, line))
    return lines


class FilterModule:
    """Ansible's way to find filters."""

    def filters(self) -> dict[str, Callable[..., list[str]]]:
        return {"differences": differences}
