# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: gateway_files
short_description: The certificate and key files of declared Gateways
version_added: 0.1.0
author:
  - The homelab.loadbalancer authors (@homelab-loadbalancer)
description:
  - Checks what the role P(homelab.loadbalancer.gateway#role) declares by itself, without a look at files or the
    cluster, and names the files that its listeners need.
positional: _input
options:
  _input:
    description: The Gateways, as O(homelab.loadbalancer.gateway#role:main:gateway_gateways) describes them.
    type: list
    elements: dict
    required: true
  controller:
    description: What serves them.
    type: str
    choices: [nginx, traefik]
    default: nginx
  namespace:
    description: The namespace of Gateways that name none.
    type: str
    default: nginx-gateway
"""

EXAMPLES = r"""
- name: See which files are needed
  ansible.builtin.debug:
    msg: "{{ gateways | homelab.loadbalancer.gateway_files }}"
  vars:
    gateways:
      - name: public
        listeners:
          - {name: https, protocol: HTTPS, port: 443, tls: {certificate_file: web.crt, key_file: web.key}}
"""

RETURN = r"""
_value:
  description: The paths, each once.
  type: list
  elements: str
"""

from typing import Any, Callable

from ansible.errors import AnsibleFilterError

from ansible_collections.homelab.loadbalancer.plugins.module_utils._errors import InputError
from ansible_collections.homelab.loadbalancer.plugins.plugin_utils._gateway.input import parse_gateways


def gateway_files(gateways: Any, controller: str = "nginx", namespace: str = "nginx-gateway") -> list[str]:
    """The paths of certificates and keys."""
    try:
        parsed = parse_gateways(gateways, controller, namespace, "gateway_")
    except InputError as error:
        raise AnsibleFilterError(str(error)) from error
    files = [listener.files for gateway in parsed for listener in gateway.listeners if listener.files]
    return list(dict.fromkeys(path for pair in files for path in pair))


class FilterModule:
    """Ansible's way to find filters."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"gateway_files": gateway_files}
