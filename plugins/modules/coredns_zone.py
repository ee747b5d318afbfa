#!/usr/bin/python
# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# The action plugin of the same name does it.

from __future__ import annotations

DOCUMENTATION = r"""
module: coredns_zone
short_description: A private DNS zone, served by CoreDNS in a Kubernetes cluster
version_added: 0.1.0
description:
  - Serves a zone such as V(k8s.local) to clients outside the cluster, and to pods. The names are declared, and taken
    from the HTTPRoutes and the addresses of their Gateways.
  - A pod tries a new Corefile before it replaces another one. When CoreDNS does not start with it, nothing is changed,
    and the message holds what CoreDNS said.
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
      - No pod tries the Corefile.
  diff_mode:
    support: full
  idempotent:
    support: full
options:
  state:
    description:
      - Whether the zone is served. With V(absent) the Corefile of the cluster's own CoreDNS is as it was before.
    type: str
    choices: [present, absent]
    default: present
  name:
    description:
      - The name of the zone. It may not hide the cluster's own, such as V(cluster.local).
    type: str
    default: k8s.local
  mode:
    description:
      - With V(cluster) the cluster's own CoreDNS serves the zone, by a block in the Corefile of the ConfigMap
        C(kube-system/coredns), and pods resolve its names, too. Its pods are replaced one by one when it changes.
      - With V(deployment) a CoreDNS of its own does, C(kube-system/coredns-zone), and that of the cluster is left
        alone.
      - In both modes the outside gets answers for this zone alone.
    type: str
    choices: [cluster, deployment]
    default: cluster
  records:
    description:
      - The names. An address leads back to all names that have it, but for wildcards.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description:
          - The name, relative to the zone or in full, V(@) for the zone's own name, V(*.staging) for all names below it
            that are not there.
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
          - How many seconds an answer may be kept. The default is O(ttl).
        type: int
  from_routes:
    description:
      - Whether to serve the host names of the cluster's HTTPRoutes that are in the zone as well, with the addresses of
        their Gateways. A record of the same name goes first. They are read when the module runs.
    type: bool
    default: true
  ttl:
    description:
      - How many seconds an answer may be kept, and that a name does not exist.
    type: int
    default: 60
  node_port:
    description:
      - The port, udp and tcp, at which each node serves the zone. V(0) is none.
    type: int
    default: 30053
  load_balancer:
    description:
      - Whether to serve the zone on port 53 of a load balancer's address as well, such as MetalLB's. V(true) lets it
        choose one; an address, or a list of two, one a family, asks for it.
    type: raw
    default: false
  image:
    description:
      - The image with O(mode=deployment). Empty is that of the cluster's own CoreDNS, which nodes have.
    type: str
    default: ''
  replicas:
    description:
      - How many pods with O(mode=deployment), on different nodes where possible.
    type: int
    default: 2
  extra:
    description:
      - More lines for the zone's server block in the Corefile, such as V(log).
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
- name: Serve a zone on the nodes, and on an address of MetalLB
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

- name: Ask where it is served, and change nothing
  homelab.loadbalancer.coredns_zone:
    kubeconfig: /etc/kubernetes/admin.conf
    load_balancer: true
  check_mode: true
  register: zone

- name: Serve it no longer
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
  description: What else there is to say.
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
