# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: cluster_services
short_description: The Services of a Kubernetes cluster as lb_services
version_added: 0.2.0
author:
  - The homelab.loadbalancer authors (@homelab-loadbalancer)
description:
  - Turns Services and EndpointSlices into C(lb_services) for the roles P(homelab.loadbalancer.iptables_lb#role) and
    P(homelab.loadbalancer.ipvs_lb#role). Endpoints are chosen as kube-proxy chooses them.
  - Headless Services, Services of type ExternalName and those of another proxy are left out. C(remarks) lists all
    other settings that cannot be translated.
positional: _input
options:
  _input:
    description:
      - The result RV(homelab.loadbalancer.k8s_read#module:found) for all Services, EndpointSlices and Nodes.
    type: list
    elements: dict
    required: true
  node:
    description: The node name of the host that load-balances them. Empty for a host outside the cluster.
    type: str
    default: ''
  namespaces:
    description: Namespaces whose Services to include. If empty, all.
    type: list
    elements: str
    default: []
  carry:
    description: The kinds of addresses and ports to include.
    type: list
    elements: str
    choices: [cluster_ips, external_ips, load_balancer_ips, node_ports]
    default: [cluster_ips, external_ips, load_balancer_ips, node_ports]
  beside:
    description:
      - The host's own C(lb_services). An address and port, or a node port, that both use is an error.
    type: list
    elements: dict
    default: []
"""

EXAMPLES = r"""
- name: Look at the Services of a cluster
  homelab.loadbalancer.k8s_read:
    queries:
      - kind: Service
      - {kind: EndpointSlice, api_version: discovery.k8s.io/v1}
      - kind: Node
  register: seen

- name: Write them down as lb_services
  ansible.builtin.copy:
    content: "{{ {'lb_services': (seen.found | homelab.loadbalancer.cluster_services).services} | to_nice_yaml }}"
    dest: lb_services.yml
    mode: "0644"
"""

RETURN = r"""
_value:
  description:
    - C(services), the list as the option O(homelab.loadbalancer.iptables_services#module:services) describes it, and
      C(remarks), sentences about settings that were left out.
  type: dict
"""

from typing import Any, Callable, Mapping, Sequence

from ansible.errors import AnsibleFilterError

from ..module_utils._common.errors import InputError
from ..module_utils._common.printable import printable
from ..module_utils._common.values import parse_list
from ..plugin_utils._cluster_services import plan
from ..plugin_utils._common.objects import by_kind


def cluster_services(
    looked_up: Sequence[Mapping[str, Any]],
    node: str = "",
    namespaces: Sequence[str] = (),
    carry: Sequence[str] = plan.CARRY,
    beside: Sequence[Any] = (),
) -> dict[str, Any]:
    """The declaration, and remarks on settings that were left out."""
    cluster = by_kind(looked_up)
    try:
        scope = plan.Scope(
            node,
            tuple(parse_list(namespaces, "cluster_services_namespaces")),
            tuple(parse_list(carry, "cluster_services_carry")),
        )
        found = plan.carried(cluster, scope)
        plan.refuse_shared(found.services, beside)
    except InputError as error:
        raise AnsibleFilterError(str(error)) from error
    return {"services": found.services, "remarks": [printable(remark) for remark in found.remarks]}


class FilterModule:
    """Registers the filter with Ansible."""

    def filters(self) -> dict[str, Callable[..., dict[str, Any]]]:
        return {"cluster_services": cluster_services}
