#!/usr/bin/python
# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# What it does is in the action plugin of the same name.

from __future__ import annotations

DOCUMENTATION = r"""
module: external_access
short_description: What the API server knows of the external access of Services
version_added: 0.2.0
description:
  - Returns for each Service of type LoadBalancer its addresses, the nodes that announce them, and the reason if an
    address is pending or not announced. Also returns the addresses and ports that nodes and outside clients must probe
    to prove that the Services are reachable.
  - The filter P(homelab.loadbalancer.external_access_checks#filter) evaluates the results of the probes. The role
    P(homelab.loadbalancer.external_access#role) runs the module, the probes and the filter.
  - Text from the cluster is returned on one line, without control characters.
author:
  - The homelab.loadbalancer authors (@homelab-loadbalancer)
extends_documentation_fragment:
  - homelab.loadbalancer.attributes
  - homelab.loadbalancer.kubernetes
  - homelab.loadbalancer.kubernetes.reading
options:
  services:
    description:
      - The Services to check, as C(NAMESPACE/NAME). If empty, all of type LoadBalancer.
    type: list
    elements: str
    default: []
  http_ports:
    description:
      - Ports to probe by HTTP, in addition to ports whose name or appProtocol indicates HTTP.
    type: list
    elements: int
    default: [80, 8080]
  http_path:
    description:
      - The path of the HTTP requests.
    type: str
    default: /
  http_host:
    description:
      - The Host header of the HTTP requests. If empty, the address and port.
    type: str
    default: ''
  urls:
    description:
      - URLs that clients request by host name, written as C(http://NAME[:PORT][/PATH]), or with C(https).
    type: list
    elements: str
    default: []
  zone:
    description:
      - The DNS zone that clients must resolve, for instance the one of the role
        P(homelab.loadbalancer.coredns_zone#role). If a client cannot resolve a name of another zone, that is no fault.
    type: str
    default: ''
  ca_files:
    description:
      - Files on the control node with PEM certificates to trust in addition to the clients' own certificate
        authorities.
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
      - The port on which MetalLB's speakers communicate with each other (memberlist).
    type: int
    default: 7946
seealso:
  - module: homelab.loadbalancer.probe_ports
  - module: homelab.loadbalancer.probe_owners
"""

EXAMPLES = r"""
- name: Check the Services of type LoadBalancer
  homelab.loadbalancer.external_access:
  register: seen

- name: Show the Services without an address, and why
  ansible.builtin.debug:
    msg: "{{ item.name }}: {{ item.pending.cause }}"
  loop: "{{ seen.cluster.services | selectattr('pending') }}"
  loop_control:
    label: "{{ item.name }}"
"""

RETURN = r"""
cluster:
  description:
    - C(metallb), C(nodes), C(speakers) and C(services) are the current state of the cluster.
    - C(urls) are the URLs to request. C(urls_aside) are the URLs that are not requested, and why. C(served) says for
      each URL where its route leads. C(zone) is O(zone), and C(ca) the certificates of O(ca_files).
    - C(whose) describes in words what each address of a Service is.
    - C(targets) are the targets of the probes, C(node) and C(client) for M(homelab.loadbalancer.probe_ports), and
      C(addresses) for M(homelab.loadbalancer.probe_owners). The targets of URLs come last in C(client).
  returned: success
  type: dict
"""
