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

from typing import Any, Callable, Mapping, Sequence

from ..module_utils._common import differences as common


def differences(diff: Sequence[Mapping[str, Any]]) -> list[str]:
    """One sentence for each line that differs."""
    return common.differences(diff)


class FilterModule:
    """Registers the filter with Ansible."""

    def filters(self) -> dict[str, Callable[..., list[str]]]:
        return {"differences": differences}
