#!/usr/bin/python
# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# The action plugin of the same name does the work.

from __future__ import annotations

DOCUMENTATION = r"""
module: metallb
short_description: MetalLB in a Kubernetes cluster
version_added: 0.2.0
description:
  - Installs, upgrades or removes MetalLB, with MetalLB's own manifest. Waits until its webhook accepts a pool, which
    takes longer than until its pods are ready. M(homelab.loadbalancer.metallb_pool) declares the addresses that MetalLB
    gives.
  - The applied objects are recorded in the ConfigMap C(homelab-loadbalancer-metallb) in MetalLB's namespace. With this
    record, an upgrade removes the objects that are not in the new manifest, and a removal needs no manifest.
  - The role P(homelab.loadbalancer.metallb#role) calls the module with its variables.
author:
  - The homelab.loadbalancer authors (@homelab-loadbalancer)
extends_documentation_fragment:
  - homelab.loadbalancer.attributes
  - homelab.loadbalancer.kubernetes
  - homelab.loadbalancer.kubernetes.declaring
options:
  state:
    description:
      - V(present) installs or upgrades MetalLB. Unless O(take_over) is set, it refuses an installed MetalLB if another
        manager owns fields with different values.
      - V(absent) removes what this module installed. Before that, it removes the pools and all other objects of
        MetalLB's kinds, whoever made them. Strict ARP and the labels of nodes stay.
    type: str
    choices: [present, absent]
    default: present
  version:
    description:
      - The release of MetalLB. A different one upgrades an installed MetalLB.
    type: str
    default: 0.15.2
  mode:
    description:
      - The implementation of BGP. V(native) is enough for layer 2 and for simple BGP. V(frr) uses FRR, which adds IPv6
        and other features.
    type: str
    choices: [native, frr]
    default: native
  manifest:
    description:
      - A URL or the path of a file with the manifest. The control node reads it. If empty, the manifest of O(version)
        and O(mode) in MetalLB's repository.
    type: str
    default: ''
  manifest_checksum:
    description:
      - The SHA-256 of the manifest. If empty, a manifest from a URL is checked against the known checksum of O(version)
        and O(mode), and a file is not checked.
    type: str
    default: ''
  load_balancer_class:
    description:
      - MetalLB serves only Services with this C(spec.loadBalancerClass). If empty, it serves Services without a class.
    type: str
    default: ''
  speaker_node_selector:
    description:
      - Labels of the nodes that may announce addresses. If empty, all nodes.
    type: dict
    default: {}
  speaker_tolerations:
    description:
      - Additional tolerations of the speakers, the pods that announce addresses, in Kubernetes's format. They always
        tolerate the taints of control planes.
    type: list
    elements: dict
    default: []
  include_excluded_nodes:
    description:
      - Whether to remove the label C(node.kubernetes.io/exclude-from-external-load-balancers) from nodes. kubeadm sets
        it on control planes, and MetalLB announces nothing from a node with this label. With V(false), such nodes are
        listed in RV(notes).
    type: bool
    default: false
  strict_arp:
    description:
      - Whether to set C(strictARP) and restart kube-proxy if kube-proxy runs in ipvs mode without it, so that only one
        node answers ARP requests for an address. The setting is in the ConfigMap C(kube-proxy), where kubeadm keeps it.
    type: bool
    default: true
  take_over:
    description:
      - Whether to take over a MetalLB that was installed by other means, for instance C(kubectl apply). Otherwise
        fields with different values are an error that names the other manager.
    type: bool
    default: false
  allow_moves:
    description:
      - Whether O(state=absent) may proceed if Services lose their addresses. Otherwise it is refused, and the message
        names the Services.
    type: bool
    default: false
  leaving:
    description:
      - Labels of Services and Gateways that are also being removed. With O(state=absent), a Service or Gateway with all
        labels of one entry, and the Services of such a Gateway, do not count as RV(losses).
    type: list
    elements: dict
    default: []
  timeout:
    description:
      - How many seconds to wait for each step.
    type: int
    default: 300
"""

EXAMPLES = r"""
- name: Install MetalLB or upgrade it to this version
  homelab.loadbalancer.metallb:
    version: 0.15.2

- name: Install it from a file on the control node, and announce addresses only from nodes with a label
  homelab.loadbalancer.metallb:
    manifest: metallb-native.yaml
    manifest_checksum: a1b04c376fb39c93265f551fe23716a3ae6e09b790edb3bf257d3fc784c35a18
    speaker_node_selector: {edge: "true"}

- name: Show which Services would lose their address without MetalLB
  homelab.loadbalancer.metallb:
    state: absent
    allow_moves: true
  check_mode: true
  register: metallb
"""

RETURN = r"""
changes:
  description: The changes, in order, each with its object. In check mode, the changes that would be made.
  returned: success
  type: list
  elements: str
  sample: [create Namespace metallb-system, create ConfigMap metallb-system/homelab-loadbalancer-metallb]
notes:
  description:
    - Nodes that announce nothing. With O(state=absent), also the objects and settings that stay, and the Services that
      still show an address that nothing may answer.
  returned: success
  type: list
  elements: str
losses:
  description: With O(state=absent), the Services that lose an address of MetalLB.
  returned: success
  type: list
  elements: str
  sample: [Service prod/web (172.16.0.120)]
"""
