#!/usr/bin/python
# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: node_inspect
short_description: The network namespaces, packet filters and containers of a node
version_added: 0.2.0
description:
  - Returns one report about everything on a node that handles packets. It covers each network namespace with its links,
    addresses, routes and neighbours, its pod, and the other ends of its veth pairs. It also covers iptables, nftables,
    ipset and IPVS with their owners, and containers and images.
  - Changes nothing, and causes the kernel to load no module. It does not query a part of the kernel that is not loaded.
  - Needs root on the node, but no tools. If information is missing because a tool is not installed, fails or does not
    answer, RV(report.notes) says so.
notes:
  - Text in the report comes from the node and from programs that run there. It is not escaped for a terminal or a
    browser.
  - A namespace without a process and without a mount is not found.
author:
  - The homelab.loadbalancer authors (@homelab-loadbalancer)
extends_documentation_fragment:
  - homelab.loadbalancer.attributes
attributes:
  check_mode:
    support: full
    details:
      - Reads the node in check mode too.
  diff_mode:
    support: none
  idempotent:
    support: full
options:
  timeout:
    description:
      - How many seconds each tool may take. A tool that does not answer in time is not used again.
    type: int
    default: 10
  namespaces:
    description:
      - Whether to enter the other network namespaces. With V(false), they are listed with their owners only, and the
        other end of a veth pair is known only within the initial namespace.
    type: bool
    default: true
"""

EXAMPLES = r"""
- name: Inspect the node
  homelab.loadbalancer.node_inspect:
  become: true
  register: looked

- name: Show the host's end of the link of each pod
  ansible.builtin.debug:
    msg: >-
      {% for namespace in looked.report.namespaces if namespace.owner.kind == 'pod' %}
      {% for link in namespace.links if link.peer %}
      {{ namespace.owner.namespace }}/{{ namespace.owner.name }} {{ link.name }} - {{ link.peer.name }}
      {% endfor %}
      {% endfor %}
"""

RETURN = r"""
report:
  description: The report.
  returned: success
  type: dict
  contains:
    kernel:
      description: The release of the kernel.
      type: str
    hostname:
      description: The name of the node.
      type: str
    notes:
      description: Sentences that say which information is missing from the report, and why.
      type: list
      elements: str
    namespaces:
      description:
        - The network namespaces. The initial namespace (that of process 1) comes first. Namespaces with a name follow,
          sorted by name, and then those without a name, sorted by owner.
      type: list
      elements: dict
      contains:
        id:
          description: Its inode number.
          type: int
        name:
          description: The name of the file on which it is mounted. Empty if it is not mounted.
          type: str
        host:
          description: Whether it is the initial namespace.
          type: bool
        owner:
          description:
            - Its owner. C(kind) is V(host), V(pod), V(container) for a container outside a pod, V(process) for the
              oldest process in it, or V(none).
            - C(namespace) is the Kubernetes namespace of a pod.
          type: dict
        links:
          description:
            - Its links. C(kind) is as in C(ip link), V(loopback) for C(lo), and empty for a hardware device.
            - C(peer) is the other end of a veth pair. It is null if the other end is not known for certain.
            - C(details) holds some settings of this kind of link under iproute2's names. C(link) is the lower link,
              and C(link_namespace) its namespace if it is in another one.
          type: list
          elements: dict
        routes:
          description: Its IPv4 and IPv6 routes, except those of the table C(local). Each next hop is a separate route.
          type: list
          elements: dict
        neighbors:
          description: Its IPv4 and IPv6 neighbours.
          type: list
          elements: dict
    firewall:
      description:
        - The packet filters of the initial namespace, with their owners. Their rules are counted, not returned.
      type: dict
      contains:
        iptables:
          description: The tables of both variants of iptables. C(owners) is the number of rules of each owner.
          type: list
          elements: dict
        nftables:
          description: The tables of nftables. C(owner) is V(iptables) for the tables of iptables-nft.
          type: list
          elements: dict
        ipset:
          description: The sets of ipset.
          type: list
          elements: dict
        ipvs:
          description: The virtual servers of IPVS. With the protocol V(fwm), the address is a firewall mark.
          type: list
          elements: dict
    containers:
      description:
        - The containers of the container runtime, read with crictl, or with containerd's ctr if crictl does not work.
          The sandboxes of pods are omitted.
        - C(state) is as in C(crictl ps). C(pid) is 0 for a container that does not run.
      type: list
      elements: dict
    images:
      description: The images of the container runtime. C(size) is in bytes, and rounded if ctr was used.
      type: list
      elements: dict
  sample:
    kernel: 6.12.0-55.el10.x86_64
    hostname: controller.home.local
    notes: ['crictl is not installed: containers were read by ctr']
    namespaces:
      - id: 4026531840
        name: ''
        host: true
        owner: {kind: host, namespace: '', name: '', pid: 1}
        links:
          - index: 19
            name: cali0817bf63151
            kind: veth
            state: UP
            mtu: 1450
            mac: ee:ee:ee:ee:ee:ee
            master: ''
            peer: {namespace: 4026533012, name: eth0, index: 2}
            addresses: ['fe80::ecee:eeff:feee:eeee/64']
            details: {}
        routes:
          - destination: 172.17.2.22
            gateway: ''
            device: cali0817bf63151
            protocol: boot
            scope: link
            source: ''
            metric: 0
            table: main
            type: unicast
        neighbors:
          - {address: 172.17.2.22, device: cali0817bf63151, mac: '0e:d8:ec:61:04:06', state: REACHABLE}
      - id: 4026533012
        name: 874871f4-9c7b-4124-b716-f032f5e83e45
        host: false
        owner: {kind: pod, namespace: metallb-system, name: controller-58fdf44d87-tgp79, pid: 4321}
        links: []
        routes: []
        neighbors: []
    firewall:
      iptables:
        - variant: nft
          family: ipv4
          table: nat
          chains: 12
          rules: 34
          owners: {CNI: 5, kube-proxy: 28, other: 1}
      nftables:
        - {family: inet, table: firewalld, chains: 60, rules: 90, owner: firewalld}
      ipset:
        - {name: LB-VIP, type: 'hash:ip,port', entries: 1, owner: this project}
      ipvs:
        - {protocol: tcp, address: 10.96.0.1, port: 443, scheduler: rr, servers: 1, owner: kube-proxy}
    containers:
      - id: 7f31331627784d6ba1e0c1d4ee5b1cd1e5e2a1f2d9d2b3c7b1d7a7a1f5c0a9b8
        name: controller
        image: quay.io/metallb/controller:v0.15.2
        state: Running
        pod: controller-58fdf44d87-tgp79
        namespace: metallb-system
        pid: 4400
    images:
      - id: sha256:1b258f39a2a12e4a3a8a5bb0e4be5f4d1f6d0bd6b0b9c2f1ff7f2f4d1a1a1a1a
        names: ['quay.io/metallb/controller:v0.15.2']
        size: 78300000
"""

import os

from ..module_utils._common.module import Module
from ..module_utils._inspect import node as inspect_node


def main() -> None:
    module = Module(
        needs_linux="this module",
        argument_spec={
            "timeout": {"type": "int", "default": 10},
            "namespaces": {"type": "bool", "default": True},
        },
        supports_check_mode=True,
    )
    options = module.params
    if options["timeout"] < 1:
        module.fail_json(msg="timeout %d is too short: write 1 second at least" % options["timeout"])
    if os.geteuid() != 0:
        module.fail_json(msg="looking into network namespaces needs root on the node (become: true)")
    try:
        report = inspect_node.inspect(options["timeout"], options["namespaces"])
    except OSError as error:
        module.fail_json(msg="the node cannot be looked at: %s" % error)
    module.exit_json(changed=False, report=report)


if __name__ == "__main__":
    main()
