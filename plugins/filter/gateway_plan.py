# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: gateway_plan
short_description: What declared Gateways mean in a cluster
version_added: 0.1.0
author:
  - The homelab.loadbalancer authors (@homelab-loadbalancer)
description:
  - Checks what the role P(homelab.loadbalancer.gateway#role) declares, makes the objects of it, and compares them with
    the record of what it applied before. The filter fails when the declaration is wrong.
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
  version:
    description: The release of Traefik.
    type: str
    default: ''
  gateway_class:
    description: The name of the GatewayClass.
    type: str
    default: nginx
  namespace:
    description: The namespace of the controller, and of Gateways that name none.
    type: str
    default: nginx-gateway
  replicas:
    description: How many pods pass requests on, for each Gateway or, with Traefik, for all.
    type: int
    default: 2
  manifests:
    description:
      - What P(homelab.loadbalancer.gateway_manifest#filter) returned of the controller's manifests, but for kinds.
    type: list
    elements: dict
    default: []
  looked_up:
    description: What M(homelab.loadbalancer.k8s_read) found.
    type: list
    elements: dict
    default: []
  files:
    description: The texts of the certificates and keys by their paths. One that is not there is empty.
    type: dict
    default: {}
"""

EXAMPLES = r"""
- name: See the objects of a Gateway that Traefik serves
  ansible.builtin.debug:
    msg: >-
      {{ (gateways | homelab.loadbalancer.gateway_plan(controller='traefik', version='3.6.12', gateway_class='traefik',
         namespace='traefik')).apply }}
  vars:
    gateways:
      - {name: public, listeners: [{name: http, port: 80}]}
"""

RETURN = r"""
_value:
  description:
    - C(apply) and C(remove) have objects, C(settle) the record of what was applied as it is after that, empty when
      nothing is removed. C(services) are those that must get an address, C(expected) the addresses that Gateways must
      have, C(missing) sentences about Secrets that are not there.
  type: dict
"""

from typing import Any, Callable, Mapping, Sequence

from ansible.errors import AnsibleFilterError

from ansible_collections.homelab.loadbalancer.plugins.module_utils._errors import InputError
from ansible_collections.homelab.loadbalancer.plugins.module_utils._k8s_objects import by_kind
from ansible_collections.homelab.loadbalancer.plugins.plugin_utils._gateway.input import parse_gateways, parse_options
from ansible_collections.homelab.loadbalancer.plugins.plugin_utils._gateway.plan import plan
from ansible_collections.homelab.loadbalancer.plugins.plugin_utils._gateway.tls import check_files


def gateway_plan(
    gateways: Any,
    *,
    controller: str = "nginx",
    version: str = "",
    gateway_class: str = "nginx",
    namespace: str = "nginx-gateway",
    replicas: int = 2,
    manifests: Sequence[dict[str, Any]] = (),
    looked_up: Sequence[Mapping[str, Any]] = (),
    files: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """What to do."""
    files = files or {}
    cluster = by_kind(looked_up)
    try:
        options = parse_options(
            {
                "prefix": "gateway_",
                "controller": controller,
                "version": version,
                "class": gateway_class,
                "namespace": namespace,
                "replicas": replicas,
            }
        )
        parsed = parse_gateways(gateways, controller, namespace, "gateway_")
        check_files(parsed, files)
        return plan(parsed, options, manifests, cluster, files)._asdict()
    except InputError as error:
        raise AnsibleFilterError(str(error)) from error


class FilterModule:
    """Ansible's way to find filters."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"gateway_plan": gateway_plan}
