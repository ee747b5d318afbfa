#!/usr/bin/python
# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# The action plugin of the same name does the work.

from __future__ import annotations

DOCUMENTATION = r"""
module: metallb
short_description: MetalLB in a Kubernetes cluster
version_added: 0.1.0
description:
  - Installs MetalLB, upgrades it, or removes it, by its own manifest, and waits until its webhook accepts a pool, which
    takes longer than its pods. M(homelab.loadbalancer.metallb_pool) declares which addresses it gives.
  - What was applied is recorded in the ConfigMap C(homelab-loadbalancer-metallb) in MetalLB's namespace. By it an
    upgrade removes what the new manifest does not have, and a removal needs no manifest.
  - The role P(homelab.loadbalancer.metallb#role) calls it with its variables.
author:
  - The homelab.loadbalancer authors (@homelab-loadbalancer)
extends_documentation_fragment:
  - homelab.loadbalancer.attributes
  - homelab.loadbalancer.kubernetes
  - homelab.loadbalancer.kubernetes.declaring
options:
  state:
    description:
      - V(present) installs or upgrades it. An installed MetalLB whose fields have other values of another manager is
        refused unless O(take_over) is set.
      - V(absent) removes what this module installed. The pools and all other objects of MetalLB's kinds go first,
        whoever made them. Strict ARP and the labels of nodes stay.
    type: str
    choices: [present, absent]
    default: present
  version:
    description:
      - The release. Another number upgrades a running one.
    type: str
    default: 0.15.2
  mode:
    description:
      - How BGP is spoken. V(native) is enough for layer 2 and for simple BGP; V(frr) adds IPv6 and more by FRR.
    type: str
    choices: [native, frr]
    default: native
  manifest:
    description:
      - Where the manifest is, a URL or the path of a file, both as seen from the control node. Without one, the
        manifest of O(version) and O(mode) in MetalLB's repository.
    type: str
    default: ''
  manifest_checksum:
    description:
      - The SHA-256 of the manifest. Without one, the known one of O(version) and O(mode) for a URL; a file is not
        checked then.
    type: str
    default: ''
  load_balancer_class:
    description:
      - Serve only Services whose C(spec.loadBalancerClass) is this one. Without one, those that have none.
    type: str
    default: ''
  speaker_node_selector:
    description:
      - Labels of the nodes that may announce addresses. Without any, all nodes.
    type: dict
    default: {}
  speaker_tolerations:
    description:
      - Tolerations for the pods that announce addresses, as a pod has them, besides those for control planes.
    type: list
    elements: dict
    default: []
  include_excluded_nodes:
    description:
      - Whether to remove the label C(node.kubernetes.io/exclude-from-external-load-balancers) from nodes. MetalLB
        announces nothing from those that have it, and kubeadm puts it on control planes. Otherwise they are noted.
    type: bool
    default: false
  strict_arp:
    description:
      - Whether to set C(strictARP) and restart kube-proxy where it is in ipvs mode without that, so that only one node
        answers for an address. It is looked for where kubeadm keeps it, in the ConfigMap C(kube-proxy).
    type: bool
    default: true
  take_over:
    description:
      - Whether to take over a MetalLB that somebody else installed, for instance with C(kubectl apply). Otherwise what
        differs is an error, which names the other manager.
    type: bool
    default: false
  allow_moves:
    description:
      - Whether O(state=absent) may take addresses from Services. Otherwise that is refused, and the message names the
        Services.
    type: bool
    default: false
  leaving:
    description:
      - Labels of Services and Gateways that are removed as well. With O(state=absent) those that have all labels of an
        entry, and Services of such Gateways, are not counted in RV(losses).
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
- name: Install MetalLB, or upgrade it to this version
  homelab.loadbalancer.metallb:
    version: 0.15.2

- name: Install it from a file of the control node, on nodes with a label alone
  homelab.loadbalancer.metallb:
    manifest: metallb-native.yaml
    manifest_checksum: a1b04c376fb39c93265f551fe23716a3ae6e09b790edb3bf257d3fc784c35a18
    speaker_node_selector: {edge: "true"}

- name: See which Services would lose their address without MetalLB
  homelab.loadbalancer.metallb:
    state: absent
    allow_moves: true
  check_mode: true
  register: metallb
"""

RETURN = r"""
changes:
  description: What was done to which object, or would be in check mode, in this order.
  returned: success
  type: list
  elements: str
  sample: [create Namespace metallb-system, create ConfigMap metallb-system/homelab-loadbalancer-metallb]
notes:
  description:
    - Nodes that announce nothing; with O(state=absent) what stays, and the Services that still name an address.
  returned: success
  type: list
  elements: str
losses:
  description: With O(state=absent) the Services that lose an address of MetalLB.
  returned: success
  type: list
  elements: str
  sample: [Service prod/web (172.16.0.120)]
"""
