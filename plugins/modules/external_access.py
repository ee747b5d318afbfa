#!/usr/bin/python
# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# What it does is in the action plugin of the same name.

from __future__ import annotations

DOCUMENTATION = r"""
module: external_access
short_description: What the API server knows of the external access of Services
version_added: 0.1.0
description:
  - Says which Services of the type LoadBalancer have which addresses, who announces them, and why one is pending or not
    announced; and what is to be asked from nodes and from clients outside to prove that they are reached.
  - The filter P(homelab.loadbalancer.external_access_checks#filter) judges what they saw. The role
    P(homelab.loadbalancer.external_access#role) does all of it.
  - Text of the cluster is returned in one line and without control characters.
author:
  - The homelab.loadbalancer authors (@homelab-loadbalancer)
extends_documentation_fragment:
  - homelab.loadbalancer.attributes
  - homelab.loadbalancer.kubernetes
  - homelab.loadbalancer.kubernetes.reading
options:
  services:
    description:
      - The Services to look at, as C(NAMESPACE/NAME). None is all of the type LoadBalancer.
    type: list
    elements: str
    default: []
  http_ports:
    description:
      - Ports to be asked by HTTP, besides those whose name or appProtocol says HTTP.
    type: list
    elements: int
    default: [80, 8080]
  http_path:
    description:
      - The path to ask for by HTTP.
    type: str
    default: /
  http_host:
    description:
      - The Host header of HTTP. Empty is the address and port.
    type: str
    default: ''
  urls:
    description:
      - URLs that clients are to ask by name, C(http://NAME[:PORT][/PATH]) or with C(https).
    type: list
    elements: str
    default: []
  zone:
    description:
      - The DNS zone that clients are to know, for instance of the role P(homelab.loadbalancer.coredns_zone#role). That
        a name of another zone is not found is no fault.
    type: str
    default: ''
  ca_files:
    description:
      - Files on the control node with certificates in PEM that are trusted besides the clients' own authorities.
    type: list
    elements: str
    default: []
  metallb_namespace:
    description:
      - The namespace of MetalLB.
    type: str
    default: metallb-system
  memberlist_port:
    description:
      - The port where MetalLB's speakers hear each other.
    type: int
    default: 7946
seealso:
  - module: homelab.loadbalancer.probe_ports
  - module: homelab.loadbalancer.probe_owners
"""

EXAMPLES = r"""
- name: Look at the Services of the type LoadBalancer
  homelab.loadbalancer.external_access:
  register: seen

- name: Say which of them have no address, and why
  ansible.builtin.debug:
    msg: "{{ item.name }}: {{ item.pending.cause }}"
  loop: "{{ seen.cluster.services | selectattr('pending') }}"
  loop_control:
    label: "{{ item.name }}"
"""

RETURN = r"""
cluster:
  description:
    - C(metallb), C(nodes), C(speakers) and C(services) as they are. C(urls), those that are asked; C(urls_aside), those
      that are not, and why; C(served), what routes lead to for each URL; C(zone) and C(ca), the certificates of
      O(ca_files). C(whose), what each address of a Service is, in words; and C(targets), what
      M(homelab.loadbalancer.probe_ports) (C(node), C(client)) and M(homelab.loadbalancer.probe_owners) (C(addresses))
      are to ask. Those of URLs are the last ones of C(client).
  returned: success
  type: dict
"""
