# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: app_plan
short_description: Which objects of applications to apply, and which to remove
version_added: 0.1.0
author:
  - The homelab.loadbalancer authors (@homelab-loadbalancer)
description:
  - Compares the objects that the role P(homelab.loadbalancer.app#role) declares with those of the cluster that are its
    own by their labels.
positional: _input, looked_up
options:
  _input:
    description: The declared objects.
    type: list
    elements: dict
    required: true
  looked_up:
    description:
      - What M(homelab.loadbalancer.k8s_read) found of the objects that are ours by their labels, and with O(part_of) of
        all namespaces; and what it found by the queries C(look) that were returned before.
    type: list
    elements: dict
    default: []
  part_of:
    description: What O(homelab.loadbalancer.app#role:main:app_part_of) describes.
    type: str
    default: ''
  present:
    description: Whether the applications are to be there at all.
    type: bool
    default: true
  delete_data:
    description: What O(homelab.loadbalancer.app#role:main:app_delete_data) describes.
    type: bool
    default: false
  where:
    description: How messages call the list of objects.
    type: str
    default: definitions
"""

EXAMPLES = r"""
- name: See what would be removed
  ansible.builtin.debug:
    msg: "{{ (objects | homelab.loadbalancer.app_plan(looked_up.found, part_of='site')).remove }}"
"""

RETURN = r"""
_value:
  description:
    - The objects to remove and to apply, in the order C(remove_first), C(apply), C(remove). C(kept) has the names of
      claims that are declared no more and stay, C(shared) sentences about namespaces that stay for what others have in
      them, and C(look) the queries for what is in namespaces that would go.
  type: dict
"""

from typing import Any, Callable, Mapping, Sequence

from ansible.errors import AnsibleFilterError

from ansible_collections.homelab.loadbalancer.plugins.module_utils._errors import InputError
from ansible_collections.homelab.loadbalancer.plugins.plugin_utils._app import plan as _app_plan


def app_plan(
    declared: Sequence[Mapping[str, Any]],
    looked_up: Sequence[Mapping[str, Any]] = (),
    part_of: str = "",
    present: bool = True,
    *,
    delete_data: bool = False,
    where: str = "definitions",
) -> dict[str, Any]:
    """What to apply and to remove."""
    try:
        return _app_plan.plan(declared, looked_up, part_of, present, delete_data=delete_data, where=where)._asdict()
    except InputError as error:
        raise AnsibleFilterError(str(error)) from error


class FilterModule:
    """Ansible's way to find filters."""

    def filters(self) -> dict[str, Callable[..., dict[str, Any]]]:
        return {"app_plan": app_plan}
