# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: inspect_cluster
short_description: The cluster's part of an inspection report
version_added: 0.2.0
author:
  - The homelab.loadbalancer authors (@homelab-loadbalancer)
description:
  - Combines the objects of a cluster into one structure, with its nodes, its pods, its Services with their ready
    endpoints, MetalLB's pools, the announcing node of each address, and events with the newest last.
options:
  _input:
    description:
      - Lists of objects from the API, by kind. C(Node), C(Pod), C(Service), C(EndpointSlice), C(Event),
        C(IPAddressPool) and C(ServiceL2Status). A missing kind counts as empty.
    type: dict
    required: true
"""

EXAMPLES = r"""
- name: Show which node announces which address
  ansible.builtin.debug:
    msg: "{{ (objects | homelab.loadbalancer.inspect_cluster).metallb.leaders }}"
"""

RETURN = r"""
_value:
  description: The cluster, with C(nodes), C(pods), C(services), C(metallb), C(events) and C(notes).
  type: dict
"""

from typing import Any, Callable

from ..plugin_utils._inspect.cluster import inspect_cluster


class FilterModule:
    """Registers the filter with Ansible."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"inspect_cluster": inspect_cluster}
