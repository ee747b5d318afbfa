# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: coredns_zone_plan
short_description: What a declared DNS zone means in a cluster
version_added: 0.1.0
author:
  - The homelab.loadbalancer authors (@homelab-loadbalancer)
description:
  - Checks what the role P(homelab.loadbalancer.coredns_zone#role) declares, makes the objects of it, and compares them
    with what was looked up in the cluster. The filter fails for what must not be done, with a message that names the
    variable.
positional: _input
options:
  _input:
    description:
      - The role's variables C(state), C(name), C(mode), C(records), C(ttl), C(node_port), C(load_balancer), C(image),
        C(replicas) and C(extra), without their prefix.
    type: dict
    required: true
  looked_up:
    description:
      - What M(homelab.loadbalancer.k8s_read) found.
    type: list
    elements: dict
    default: []
"""

EXAMPLES = r"""
- name: See the objects of a zone
  ansible.builtin.debug:
    msg: "{{ (declared | homelab.loadbalancer.coredns_zone_plan).apply }}"
  vars:
    declared:
      state: present
      name: k8s.local
      mode: deployment
      records: [{name: web, addresses: [172.16.0.100]}]
      ttl: 60
      node_port: 30053
      load_balancer: false
      image: registry.k8s.io/coredns/coredns:v1.12.2
      replicas: 2
      extra: ""
"""

RETURN = r"""
_value:
  description:
    - The objects of C(trial), which run CoreDNS with a Corefile that is new, those to C(apply) and those to C(remove).
      C(addresses) are those of the load balancer, as far as they are known; C(nodes) are the addresses and ports of
      the nodes.
  type: dict
"""

from typing import Any, Callable, Mapping, Sequence

from ansible.errors import AnsibleFilterError

from ansible_collections.homelab.loadbalancer.plugins.module_utils import _coredns_plan
from ansible_collections.homelab.loadbalancer.plugins.module_utils._errors import InputError
from ansible_collections.homelab.loadbalancer.plugins.module_utils._k8s_objects import by_kind


def coredns_zone_plan(declared: Mapping[str, Any], looked_up: Sequence[Mapping[str, Any]] = ()) -> dict[str, Any]:
    """What to do with the cluster."""
    try:
        return _coredns_plan.plan(declared, by_kind(looked_up))._asdict()
    except InputError as error:
        raise AnsibleFilterError(str(error)) from error


class FilterModule:
    """Ansible's way to find filters."""

    def filters(self) -> dict[str, Callable[..., dict[str, Any]]]:
        return {"coredns_zone_plan": coredns_zone_plan}
