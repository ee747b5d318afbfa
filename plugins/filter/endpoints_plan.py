# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: endpoints_plan
short_description: What declared endpoints of Services mean in a cluster
version_added: 0.1.0
author:
  - The homelab.loadbalancer authors (@homelab-loadbalancer)
description:
  - Checks what the role P(homelab.loadbalancer.endpoints#role) declares, makes the objects of it, and compares them
    with what was looked up in the cluster. The filter fails when the declaration by itself is wrong.
positional: _input
options:
  _input:
    description: What O(homelab.loadbalancer.endpoints#role:main:endpoints_services) describes.
    type: list
    elements: dict
    required: true
  looked_up:
    description:
      - What M(homelab.loadbalancer.k8s_read) found of all Services and EndpointSlices, and of the Pods where an entry
        has a selector.
    type: list
    elements: dict
    default: []
"""

EXAMPLES = r"""
- name: See the objects of a database outside the cluster
  ansible.builtin.debug:
    msg: "{{ (declared | homelab.loadbalancer.endpoints_plan).apply }}"
  vars:
    declared:
      - {name: db, addresses: [172.16.0.30], ports: [{port: 5432}], manage_service: true}
"""

RETURN = r"""
_value:
  description:
    - The objects to apply, and those to remove afterwards, as C(apply) and C(remove). C(faults) are sentences that say
      why nothing of it may be done, and so does C(missing) of what may be there later. C(refusing) names the Services
      that have no ready endpoint.
  type: dict
"""

from typing import Any, Callable, Mapping, Sequence

from ansible.errors import AnsibleFilterError

from ansible_collections.homelab.loadbalancer.plugins.module_utils import _endpoints_plan
from ansible_collections.homelab.loadbalancer.plugins.module_utils._errors import InputError
from ansible_collections.homelab.loadbalancer.plugins.module_utils._k8s_objects import by_kind
from ansible_collections.homelab.loadbalancer.plugins.module_utils._printable import printable


def endpoints_plan(
    declared: Sequence[Mapping[str, Any]], looked_up: Sequence[Mapping[str, Any]] = ()
) -> dict[str, Any]:
    """What to do, and why it may not be done."""
    cluster = by_kind(looked_up)
    try:
        plan = _endpoints_plan.plan(declared, cluster)
    except InputError as error:
        raise AnsibleFilterError(str(error)) from error
    return {**plan._asdict(), "faults": [printable(fault) for fault in plan.faults]}


class FilterModule:
    """Ansible's way to find filters."""

    def filters(self) -> dict[str, Callable[..., dict[str, Any]]]:
        return {"endpoints_plan": endpoints_plan}
