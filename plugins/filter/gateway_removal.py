# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: gateway_removal
short_description: What goes with the role gateway
version_added: 0.1.0
author:
  - The homelab.loadbalancer authors (@homelab-loadbalancer)
description:
  - Reads the record of what the role P(homelab.loadbalancer.gateway#role) applied.
positional: _input
options:
  _input:
    description: What M(homelab.loadbalancer.k8s_read) found.
    type: list
    elements: dict
    required: true
  remove_crds:
    description: Whether the kinds of the Gateway API are to go, too.
    type: bool
    default: false
"""

EXAMPLES = r"""
- name: See what would be removed
  ansible.builtin.debug:
    msg: "{{ (seen.found | homelab.loadbalancer.gateway_removal).remove }}"
"""

RETURN = r"""
_value:
  description:
    - C(remove) has the objects, the last one of which is to go first. C(faults) are sentences that say why nothing may
      be removed.
  type: dict
"""

from typing import Any, Callable, Mapping, Sequence

from ansible.errors import AnsibleFilterError

from ansible_collections.homelab.loadbalancer.plugins.module_utils._errors import InputError
from ansible_collections.homelab.loadbalancer.plugins.module_utils._k8s_objects import by_kind
from ansible_collections.homelab.loadbalancer.plugins.plugin_utils._gateway.plan import removal


def gateway_removal(looked_up: Sequence[Mapping[str, Any]], remove_crds: bool = False) -> dict[str, Any]:
    """What to remove, and why it may not be done."""
    try:
        objects, faults = removal(by_kind(looked_up), remove_crds)
    except InputError as error:
        raise AnsibleFilterError(str(error)) from error
    return {"remove": objects, "faults": faults}


class FilterModule:
    """Ansible's way to find filters."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"gateway_removal": gateway_removal}
