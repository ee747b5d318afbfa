# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: network_policy_plan
short_description: The network policies of a declaration, and what they mean in a cluster
version_added: 0.1.0
author:
  - The homelab.loadbalancer authors (@homelab-loadbalancer)
description:
  - Checks what the role P(homelab.loadbalancer.network_policy#role) declares, makes NetworkPolicies of it, and compares
    them with what was looked up in the cluster. The filter fails when the declaration is wrong.
positional: _input, looked_up
options:
  _input:
    description: The policies, as the role has them.
    type: list
    elements: dict
    required: true
  looked_up:
    description:
      - What M(homelab.loadbalancer.k8s_read) found of NetworkPolicies, DaemonSets and Nodes.
    type: list
    elements: dict
    default: []
"""

EXAMPLES = r"""
- name: See the objects of a policy
  ansible.builtin.debug:
    msg: "{{ (policies | homelab.loadbalancer.network_policy_plan).apply }}"
  vars:
    policies:
      - {name: deny-all, namespace: shop, ingress: deny, egress: deny}
"""

RETURN = r"""
_value:
  description:
    - C(apply), the objects; C(remove), those that this role made and that are not declared any more; C(enforcement), a
      sentence on who enforces them.
  type: dict
"""

from typing import Any, Callable, Mapping, Sequence

from ansible.errors import AnsibleFilterError

from ansible_collections.homelab.loadbalancer.plugins.module_utils._errors import InputError
from ansible_collections.homelab.loadbalancer.plugins.module_utils._k8s_objects import by_kind
from ansible_collections.homelab.loadbalancer.plugins.module_utils._network_policy import plan


def network_policy_plan(policies: Any, looked_up: Sequence[Mapping[str, Any]] = ()) -> dict[str, Any]:
    """What to apply and to remove, and who enforces it."""
    cluster = by_kind(looked_up)
    try:
        return plan(policies, cluster)._asdict()
    except InputError as error:
        raise AnsibleFilterError(str(error)) from error


class FilterModule:
    """Ansible's way to find filters."""

    def filters(self) -> dict[str, Callable[..., dict[str, Any]]]:
        return {"network_policy_plan": network_policy_plan}
