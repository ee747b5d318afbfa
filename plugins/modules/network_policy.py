#!/usr/bin/python
# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# What it does is in the action plugin of the same name.

from __future__ import annotations

DOCUMENTATION = r"""
module: network_policy
short_description: Which connections pods may have, as network policies
version_added: 0.1.0
description:
  - Declares NetworkPolicies, those that deny everything and those that allow what is listed. Undeclared policies that
    this module made before are removed; policies of others stay.
  - Says whether something in the cluster enforces them. Without a CNI that does they are kept and have no effect.
  - The role P(homelab.loadbalancer.network_policy#role) does the same by variables.
author:
  - The homelab.loadbalancer authors (@homelab-loadbalancer)
extends_documentation_fragment:
  - homelab.loadbalancer.attributes
  - homelab.loadbalancer.kubernetes
  - homelab.loadbalancer.kubernetes.declaring
options:
  state:
    description:
      - Whether the policies that this module declared are there.
    type: str
    choices: [present, absent]
    default: present
  policies:
    description:
      - The policies. C(name); C(namespace), which must exist; C(pods), labels of the pods that it is for, without
        which it is for all of the namespace.
      - C(ingress) and C(egress), each V(deny) or a list of rules. A direction that is left out is not restricted by the
        policy. A connection is allowed when a rule of any policy of the pod allows it.
      - A rule has C(from), in egress C(to), and C(ports). What is left out is not restricted.
      - An entry of C(from) and C(to) is pods, C(pods) with labels, in the same namespace, or in the one called
        C(namespace), or in those with the labels C(namespaces), where C({}) is all; or a C(network) without the parts
        C(except).
      - A port is a number, or a name that the pods give one, or a mapping of C(port), C(end_port), the last one of a
        range, and C(protocol), C(tcp), C(udp) or C(sctp).
      - Required with O(state=present). An empty list removes all of them.
    type: raw
seealso:
  - name: Network policies
    description: What Kubernetes says about them.
    link: https://kubernetes.io/docs/concepts/services-networking/network-policies/
"""

EXAMPLES = r"""
- name: Let pods of the namespace shop be reached by its front alone
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

- name: Show who enforces them
  ansible.builtin.debug:
    msg: "{{ declared.enforcement }}"

- name: Remove all policies that the module declared
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
  description: What enforces the policies in this cluster, or that nothing known does.
  returned: success
  type: str
  sample: Calico enforces them (DaemonSet kube-system/calico-node, ready on 3 of 3 nodes)
notes:
  description: Sentences to show; the same as RV(enforcement), where a policy is declared.
  returned: success
  type: list
  elements: str
"""
