# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: httproute_status
short_description: Whether HTTP routes work, why not, and at which addresses
version_added: 0.1.0
author:
  - The homelab.loadbalancer authors (@homelab-loadbalancer)
description:
  - Reads what the controllers of Gateways report of routes that the role P(homelab.loadbalancer.httproute#role)
    declares. Control characters in it are shown and not obeyed.
positional: _input, looked_up
options:
  _input:
    description: The routes, as the role takes them.
    type: list
    elements: dict
    required: true
  looked_up:
    description:
      - What M(homelab.loadbalancer.k8s_read) found of Namespaces, Gateways and HTTPRoutes.
    type: list
    elements: dict
    required: true
"""

EXAMPLES = r"""
- name: Look at the routes
  homelab.loadbalancer.k8s_read:
    queries:
      - {api_version: gateway.networking.k8s.io/v1, kind: HTTPRoute}
      - {api_version: gateway.networking.k8s.io/v1, kind: Gateway}
      - {kind: Namespace}
  register: seen

- name: Say which routes do not work
  ansible.builtin.debug:
    msg: "{{ (httproute_routes | homelab.loadbalancer.httproute_status(seen.found)).pending }}"
"""

RETURN = r"""
_value:
  description:
    - C(pending) are lines that say which routes do not work and why, none when all do. C(hostnames) are the addresses
      of the Gateways by the host names that they serve.
  type: dict
  sample:
    pending: []
    hostnames: {web.k8s.local: [172.16.0.100]}
"""

from typing import Any, Callable, Mapping, Sequence

from ansible.errors import AnsibleFilterError

from ansible_collections.homelab.loadbalancer.plugins.module_utils._errors import InputError
from ansible_collections.homelab.loadbalancer.plugins.module_utils._httproute_cluster import by_name, hostnames
from ansible_collections.homelab.loadbalancer.plugins.module_utils._httproute_status import pending


def httproute_status(declared: Sequence[Mapping[str, Any]], looked_up: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What is missing to the routes, and where their host names are served."""
    cluster = by_name(looked_up)
    try:
        return {"pending": pending(declared, cluster), "hostnames": hostnames(declared, cluster)}
    except InputError as error:
        raise AnsibleFilterError(str(error)) from error


class FilterModule:
    """Ansible's way to find filters."""

    def filters(self) -> dict[str, Callable[..., dict[str, Any]]]:
        return {"httproute_status": httproute_status}
