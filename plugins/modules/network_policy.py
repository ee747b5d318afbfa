#!/usr/bin/python
# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# The action plugin of the same name does the work.

from __future__ import annotations

DOCUMENTATION = r"""
module: network_policy
short_description: Which connections pods may have, as network policies
version_added: 0.2.0
description:
  - Declares NetworkPolicies that deny all connections or allow the listed ones. Undeclared policies that this module
    made before are removed. Policies that others made stay.
  - Reports whether something in the cluster enforces them. Without a CNI that does, the policies exist but have no
    effect.
  - The role P(homelab.loadbalancer.network_policy#role) calls the module with its variables.
author:
  - The homelab.loadbalancer authors (@homelab-loadbalancer)
extends_documentation_fragment:
  - homelab.loadbalancer.attributes
  - homelab.loadbalancer.kubernetes
  - homelab.loadbalancer.kubernetes.declaring
options:
  state:
    description:
      - Whether the policies of this module exist.
    type: str
    choices: [present, absent]
    default: present
  policies:
    description:
      - The policies. Each has a C(name), a C(namespace), which must exist, and C(pods), the labels of the pods to which
        it applies (default all pods of the namespace).
      - C(ingress) and C(egress) are each V(deny) or a list of rules. If one is left out, the policy does not restrict
        that direction. A connection is allowed if a rule in any policy for the pod allows it.
      - A rule has C(from) (for ingress) or C(to) (for egress), and C(ports). If one is left out, the rule allows all
        peers or all ports.
      - An entry of C(from) and C(to) selects pods by their labels C(pods), or addresses by a C(network) except its
        parts in C(except). Pods are in the policy's namespace, in the namespace with the name C(namespace), or in
        namespaces with the labels C(namespaces), where C({}) means all namespaces.
      - A port is a number, the name of a container port, or a mapping of C(port), C(end_port) (the last port of a
        range) and C(protocol) (C(tcp), C(udp) or C(sctp)).
      - Required with O(state=present). An empty list removes all policies of this module.
    type: raw
seealso:
  - name: Network policies
    description: The Kubernetes documentation.
    link: https://kubernetes.io/docs/concepts/services-networking/network-policies/
"""

EXAMPLES = r"""
- name: Allow connections to the pods web in the namespace shop only from the pods front
  homelab.loadbalancer.network_policy:
    policies:
      - {name: deny-all, namespace: shop, ingress: deny}
      - name: web
        namespace: shop
        pods: {app: web}
        ingress:
          - from: [{pods: {app: front}}]
            ports: [8080]
  register: declared

- name: Show whether something enforces them
  ansible.builtin.debug:
    msg: "{{ declared.enforcement }}"

- name: Remove all policies that the module made
  homelab.loadbalancer.network_policy:
    state: absent
"""

RETURN = r"""
changes:
  description: What was done, or would be in check mode.
  returned: success
  type: list
  elements: str
  sample: [create NetworkPolicy shop/deny-all]
enforcement:
  description: What enforces the policies in this cluster, or a statement that nothing known does.
  returned: success
  type: str
  sample: Calico enforces them (DaemonSet kube-system/calico-node, ready on 3 of 3 nodes)
notes:
  description: Remarks for the user. If a policy is declared, the text of RV(enforcement).
  returned: success
  type: list
  elements: str
"""
