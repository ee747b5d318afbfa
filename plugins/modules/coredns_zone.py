#!/usr/bin/python
# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# The action plugin of the same name does the work.

from __future__ import annotations

DOCUMENTATION = r"""
module: coredns_zone
short_description: A private DNS zone, served by CoreDNS in a Kubernetes cluster
version_added: 0.2.0
description:
  - Serves a zone such as V(k8s.local) to clients outside the cluster and to pods. Its names come from O(records), and
    from HTTPRoutes with the addresses of their Gateways.
  - Before a new Corefile replaces the old one, a trial pod starts CoreDNS with it. If CoreDNS does not start, nothing
    is changed, and the error message contains CoreDNS's log.
  - Waits until the zone is served.
author:
  - The homelab.loadbalancer authors (@homelab-loadbalancer)
extends_documentation_fragment:
  - homelab.loadbalancer.attributes
  - homelab.loadbalancer.kubernetes
attributes:
  check_mode:
    support: full
    details:
      - Check mode does not start the trial pod.
  diff_mode:
    support: full
  idempotent:
    support: full
options:
  state:
    description:
      - Whether the zone is served. V(absent) restores the previous Corefile of the cluster's own CoreDNS.
    type: str
    choices: [present, absent]
    default: present
  name:
    description:
      - The name of the zone. It must not hide the cluster's own zone, such as V(cluster.local).
    type: str
    default: k8s.local
  mode:
    description:
      - With V(cluster), the cluster's own CoreDNS serves the zone from a block in the Corefile of the ConfigMap
        C(kube-system/coredns), and pods resolve its names too. When the block changes, CoreDNS's pods are replaced one
        by one.
      - With V(deployment), a separate CoreDNS, C(kube-system/coredns-zone), serves the zone, and the cluster's own is
        not changed.
      - In both modes, clients outside the cluster get answers only for this zone.
    type: str
    choices: [cluster, deployment]
    default: cluster
  records:
    description:
      - The names and their addresses. A reverse lookup of an address returns all its names except wildcards.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description:
          - The name, relative to the zone or fully qualified. V(@) is the zone's own name. V(*.staging) is a wildcard
            for all undeclared names below C(staging).
        type: str
        required: true
      addresses:
        description:
          - IPv4 and IPv6 addresses.
        type: list
        elements: str
        required: true
      ttl:
        description:
          - How many seconds clients may cache the answer. The default is O(ttl).
        type: int
  from_routes:
    description:
      - Whether to also serve the host names of HTTPRoutes that are in the zone, with the addresses of their Gateways.
        They are read when the module runs. A record in O(records) with the same name takes precedence.
    type: bool
    default: true
  ttl:
    description:
      - How many seconds clients may cache an answer, including the answer that a name does not exist.
    type: int
    default: 60
  node_port:
    description:
      - The UDP and TCP port on which each node serves the zone. With V(0), nodes do not serve it.
    type: int
    default: 30053
  load_balancer:
    description:
      - Whether to also serve the zone on port 53 of an address from a load balancer such as MetalLB. With V(true), the
        load balancer chooses the address. Otherwise give an address, or a list of one IPv4 and one IPv6 address.
    type: raw
    default: false
  image:
    description:
      - The image with O(mode=deployment). If empty, the image of the cluster's own CoreDNS, which nodes already have.
    type: str
    default: ''
  replicas:
    description:
      - Number of pods with O(mode=deployment). They run on different nodes where possible.
    type: int
    default: 2
  extra:
    description:
      - Additional lines for the zone's server block in the Corefile, such as V(log).
    type: str
    default: ''
  trial_timeout:
    description:
      - How many seconds CoreDNS may take to start with a new Corefile.
    type: int
    default: 60
  timeout:
    description:
      - How many seconds to wait until the zone is served, and for each object that is removed.
    type: int
    default: 300
seealso:
  - module: homelab.loadbalancer.httproute
"""

EXAMPLES = r"""
- name: Serve a zone on the nodes and on an address of MetalLB
  homelab.loadbalancer.coredns_zone:
    kubeconfig: /etc/kubernetes/admin.conf
    name: k8s.local
    records:
      - {name: web, addresses: [172.16.0.100]}
      - {name: '*.staging', addresses: [172.16.0.101], ttl: 10}
    load_balancer: 172.16.0.149
  register: zone

- name: Show where it is served
  ansible.builtin.debug:
    var: zone.servers

- name: Show where it is served, without changing anything
  homelab.loadbalancer.coredns_zone:
    kubeconfig: /etc/kubernetes/admin.conf
    load_balancer: true
  check_mode: true
  register: zone

- name: Stop serving the zone
  homelab.loadbalancer.coredns_zone:
    kubeconfig: /etc/kubernetes/admin.conf
    state: absent
"""

RETURN = r"""
changes:
  description: What was changed, or would be in check mode.
  returned: success
  type: list
  elements: str
  sample: [update ConfigMap kube-system/coredns, create Service kube-system/coredns-zone]
notes:
  description: Additional remarks.
  returned: success
  type: list
  elements: str
servers:
  description: Where the zone is served, the load balancer first.
  returned: success
  type: list
  elements: dict
  sample: [{address: 172.16.0.149, port: 53}, {address: 172.16.0.11, port: 30053}]
  contains:
    address:
      description: An address of the load balancer or of a node.
      type: str
    port:
      description: The port, udp and tcp.
      type: int
"""
