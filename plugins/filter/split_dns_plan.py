# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: split_dns_plan
short_description: The files that have a client ask certain servers for one DNS zone
version_added: 0.1.0
author:
  - The homelab.loadbalancer authors (@homelab-loadbalancer)
description:
  - Checks what the role P(homelab.loadbalancer.split_dns#role) declares, and makes the files for the resolver of a
    client. The filter fails when the declaration is wrong or would not work on this client.
positional: _input, client
options:
  _input:
    description: The zone, the servers, the resolver and the state, as the role has them.
    type: dict
    required: true
  client:
    description: What the role's script C(client-state) printed on the client.
    type: str
    required: true
"""

EXAMPLES = r"""
- name: See the file for macOS
  ansible.builtin.debug:
    msg: "{{ (declared | homelab.loadbalancer.split_dns_plan('== system\nDarwin')).write }}"
  vars:
    declared:
      zone: k8s.local
      servers: [{address: 172.16.0.11, port: 30053}]
      resolver: auto
      state: present
"""

RETURN = r"""
_value:
  description:
    - C(resolver), what was found; C(write), contents of files by their paths; C(remove), files of this role that are
      not wanted any more; C(restart), by path the running service that reads it; C(notes), sentences for the user.
  type: dict
"""

from typing import Any, Callable, Mapping

from ansible.errors import AnsibleFilterError

from ansible_collections.homelab.loadbalancer.plugins.module_utils._errors import InputError
from ansible_collections.homelab.loadbalancer.plugins.module_utils._split_dns import parse_client, plan


def split_dns_plan(declared: Mapping[str, Any], client: str) -> dict[str, Any]:
    """What to do on a client."""
    try:
        return plan(declared, parse_client(client))._asdict()
    except InputError as error:
        raise AnsibleFilterError(str(error)) from error


class FilterModule:
    """Ansible's way to find filters."""

    def filters(self) -> dict[str, Callable[..., dict[str, Any]]]:
        return {"split_dns_plan": split_dns_plan}
