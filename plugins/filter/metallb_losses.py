# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: metallb_losses
short_description: Which Services lose their address when MetalLB goes
version_added: 0.1.0
author:
  - The homelab.loadbalancer authors (@homelab-loadbalancer)
description:
  - Names the Services that have an address which MetalLB gave them. The role P(homelab.loadbalancer.metallb#role) and
    the playbook C(site_down.yml) use it before they remove MetalLB.
positional: _input, leaving
options:
  _input:
    description:
      - What M(homelab.loadbalancer.k8s_read) found of all Services, and of the Gateways to which some of them belong.
    type: list
    elements: dict
    required: true
  leaving:
    description:
      - Labels of objects that are removed as well. Services with all labels of an entry, and those of Gateways that
        have them, are left out.
    type: list
    elements: dict
    default: []
"""

EXAMPLES = r"""
- name: See who needs MetalLB
  ansible.builtin.debug:
    msg: "{{ looked_up.found | homelab.loadbalancer.metallb_losses }}"
"""

RETURN = r"""
_value:
  description: The Services with their addresses.
  type: list
  elements: str
  sample: [Service prod/web (172.16.0.120)]
"""

from typing import Any, Callable

from ansible_collections.homelab.loadbalancer.plugins.module_utils._metallb_losses import losses


class FilterModule:
    """Ansible's way to find filters."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"metallb_losses": losses}
