# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: exec_start
short_description: A command for a systemd unit
version_added: 0.1.0
author:
  - The homelab.loadbalancer authors (@homelab-loadbalancer)
description:
  - Quotes a program and its arguments for C(ExecStart) of a systemd unit, so that blanks, quotes, V(%) and V($) reach
    the program unchanged.
positional: _input
options:
  _input:
    description: The program and its arguments.
    type: list
    elements: str
    required: true
  may_fail:
    description: Whether the unit continues if the command fails.
    type: bool
    default: false
"""

EXAMPLES = r"""
# ExecStart=-ip -force -batch "/etc/load balancer/addresses.batch"
- name: Write a line of a unit
  ansible.builtin.debug:
    msg: >-
      ExecStart={{ ['ip', '-force', '-batch', '/etc/load balancer/addresses.batch']
                   | homelab.loadbalancer.exec_start(may_fail=true) }}
"""

RETURN = r"""
_value:
  description: The value of C(ExecStart).
  type: str
"""

from typing import Callable

from ..module_utils._common.systemd import exec_start


class FilterModule:
    """Registers the filter with Ansible."""

    def filters(self) -> dict[str, Callable[..., str]]:
        return {"exec_start": exec_start}
