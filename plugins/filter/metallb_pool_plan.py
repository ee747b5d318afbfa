# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: metallb_pool_plan
short_description: What declared address pools of MetalLB mean in a cluster
version_added: 0.1.0
author:
  - The homelab.loadbalancer authors (@homelab-loadbalancer)
description:
  - Checks what the role P(homelab.loadbalancer.metallb_pool#role) declares, makes the objects of it, and compares them
    with what was looked up in the cluster. The filter fails when the declaration by itself is wrong.
positional: _input
options:
  _input:
    description: The lists C(pools), C(l2_advertisements), C(bgp_advertisements), C(bgp_peers) and C(communities).
    type: dict
    required: true
  looked_up:
    description:
      - What M(homelab.loadbalancer.k8s_read) found.
    type: list
    elements: dict
    default: []
  namespace:
    description: The namespace of MetalLB.
    type: str
    default: metallb-system
  gateways:
    description: Addresses that no pool may hold.
    type: list
    elements: str
    default: []
  allow_moves:
    description: Whether Services may lose their address.
    type: bool
    default: false
  facts:
    description:
      - C(ansible_facts) of the nodes, by which their networks are known. Without them it is guessed by the nodes'
        addresses, and what is guessed is a note.
    type: list
    elements: dict
    default: []
"""

EXAMPLES = r"""
- name: See the objects of a pool
  ansible.builtin.debug:
    msg: "{{ (declared | homelab.loadbalancer.metallb_pool_plan).apply }}"
  vars:
    declared:
      pools: [{name: public-pool, addresses: [172.16.0.100-172.16.0.149]}]
      l2_advertisements: [{name: public, pools: [public-pool]}]
      bgp_advertisements: []
      bgp_peers: []
      communities: []
"""

RETURN = r"""
_value:
  description:
    - The objects to remove and to apply, in the order C(remove_first), C(apply), C(apply_late), C(remove). C(faults)
      are sentences that say why nothing of it may be done. C(moves) names the Services that lose their address, and
      C(missing) the kinds that the cluster does not know. C(notes) are sentences about what may be meant, and most
      often is not.
  type: dict
"""

from typing import Any, Callable, Mapping, Sequence

from ansible.errors import AnsibleFilterError

from ansible_collections.homelab.loadbalancer.plugins.module_utils import _metallb_cluster
from ansible_collections.homelab.loadbalancer.plugins.module_utils._errors import InputError
from ansible_collections.homelab.loadbalancer.plugins.module_utils._k8s_objects import by_kind


def metallb_pool_plan(
    declared: Mapping[str, Any],
    looked_up: Sequence[Mapping[str, Any]] = (),
    namespace: str = "metallb-system",
    gateways: Sequence[str] = (),
    allow_moves: bool = False,
    *,
    facts: Sequence[Mapping[str, Any]] = (),
) -> dict[str, Any]:
    """What to do, and why it may not be done."""
    cluster = by_kind(looked_up)
    try:
        plan = _metallb_cluster.plan(declared, cluster, namespace, gateways, allow_moves, facts=facts)
    except InputError as error:
        raise AnsibleFilterError(str(error)) from error
    missing = [entry["kind"] for entry in looked_up if not entry["api_found"]]
    return {**plan._asdict(), "missing": missing}


class FilterModule:
    """Ansible's way to find filters."""

    def filters(self) -> dict[str, Callable[..., dict[str, Any]]]:
        return {"metallb_pool_plan": metallb_pool_plan}
