# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: differences
short_description: The differences that a check run found, line by line
version_added: 0.2.0
author:
  - The homelab.loadbalancer authors (@homelab-loadbalancer)
description:
  - Turns the diff of a module in check mode into sentences about missing and unexpected lines.
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
  description: One sentence for each line that differs; empty without differences.
  type: list
  elements: str
  sample: ["iptables-save *nat: missing `-A PREROUTING -j LB-SERVICES`"]
"""

import difflib
from typing import Any, Callable, Iterator, Mapping, Sequence

_WORDS = {"-": "not declared", "+": "missing"}


def differences(diff: Sequence[Mapping[str, Any]]) -> list[str]:
    """One sentence for each line that differs."""
    return [line for part in diff for line in _part(part)]


def _part(part: Mapping[str, Any]) -> Iterator[str]:
    header = part.get("after_header") or part.get("before_header") or "the node"
    before, after = (_with_tables(str(part.get(key) or "")) for key in ("before", "after"))
    for line in list(difflib.unified_diff(before, after, n=0, lineterm=""))[2:]:
        if line[0] in _WORDS:
            table, dummy, text = line[1:].partition("\0")
            yield "%s%s: %s `%s`" % (header, table, _WORDS[line[0]], text)


def _with_tables(text: str) -> list[str]:
    """The lines, each with its iptables table before it."""
    table, lines = "", []
    for line in text.splitlines():
        if line.startswith("*"):
            table = " " + line
        elif line != "COMMIT":
            lines.append("%s\0%s" % (table, line))
    return lines


class FilterModule:
    """Registers the filter with Ansible."""

    def filters(self) -> dict[str, Callable[..., list[str]]]:
        return {"differences": differences}
