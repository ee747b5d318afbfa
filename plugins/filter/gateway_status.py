# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: gateway_status
short_description: Whether Gateways work, and why not
version_added: 0.1.0
author:
  - The homelab.loadbalancer authors (@homelab-loadbalancer)
description:
  - Reads what the controller of the Gateway API says of Gateways. Control characters in its messages are shown and not
    obeyed.
positional: _input
options:
  _input:
    description: The Gateways as they are in the cluster.
    type: list
    elements: dict
    required: true
  expected:
    description: The addresses that Gateways must have, by namespace/name. An empty list stands for any.
    type: dict
    default: {}
  gateway_class:
    description: The name of their class, for messages.
    type: str
    default: nginx
"""

EXAMPLES = r"""
- name: See why a Gateway does not work
  ansible.builtin.debug:
    msg: "{{ (seen.found[0].resources | homelab.loadbalancer.gateway_status({'default/public': []})).waiting }}"
"""

RETURN = r"""
_value:
  description:
    - C(addresses) has the addresses of each expected Gateway by namespace/name, C(waiting) sentences about those that
      do not work as declared.
  type: dict
"""

from typing import Any, Callable, Mapping, Sequence

from ansible_collections.homelab.loadbalancer.plugins.plugin_utils._gateway.status import addresses, waiting


def gateway_status(
    gateways: Sequence[Mapping[str, Any]],
    expected: Mapping[str, Sequence[str]] | None = None,
    gateway_class: str = "nginx",
) -> dict[str, Any]:
    """What works and what does not."""
    expected = expected or {}
    return {"addresses": addresses(gateways, expected), "waiting": waiting(gateways, expected, gateway_class)}


class FilterModule:
    """Ansible's way to find filters."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"gateway_status": gateway_status}
