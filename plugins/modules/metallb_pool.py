#!/usr/bin/python
# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# The action plugin of the same name does the work.

from __future__ import annotations

DOCUMENTATION = r"""
module: metallb_pool
short_description: Address pools of MetalLB, and their announcement
version_added: 0.1.0
description:
  - Declares which addresses MetalLB gives to Services of type LoadBalancer, and how they are announced, by ARP and NDP
    (layer 2) or by BGP. One task declares all of it. What a former task declared and this one does not is removed;
    objects that others made stay.
  - Refuses before anything changes pools that overlap, that hold the address of a node, a gateway or a network, and
    those that would take the address of a Service away.
  - The role P(homelab.loadbalancer.metallb_pool#role) calls it with its variables.
author:
  - The homelab.loadbalancer authors (@homelab-loadbalancer)
extends_documentation_fragment:
  - homelab.loadbalancer.attributes
  - homelab.loadbalancer.kubernetes
attributes:
  check_mode:
    support: full
    details:
      - A pool that takes addresses from another one cannot be tried before that one has let go. It counts as one that
        would be created or changed.
  diff_mode:
    support: full
    details:
      - The passwords of BGP peers are never shown.
  idempotent:
    support: full
options:
  state:
    description:
      - With V(absent) all pools and other objects that this module made are removed, whatever is declared.
    type: str
    choices: [present, absent]
    default: present
  namespace:
    description:
      - The namespace of MetalLB.
    type: str
    default: metallb-system
  pools:
    description:
      - The pools. C(name); C(addresses), a list of ranges C(FIRST-LAST) and networks, IPv4 or IPv6.
      - C(auto_assign) (true), whether Services get an address from it without asking for it; C(avoid_buggy_ips)
        (false), whether to leave out addresses that end with .0 and .255, which are the network and broadcast address
        of a network of 256 addresses.
      - Who may have its addresses, C(priority), the lowest number first, C(namespaces), C(namespace_selectors) and
        C(service_selectors), lists of label selectors as Kubernetes writes them.
    type: list
    elements: dict
    default: []
  l2_advertisements:
    description:
      - Pools that are announced by ARP and NDP. C(name); C(pools), a list of names, without which it is all pools;
        C(interfaces), on which links, without which it is all; C(node_selectors), from which nodes, a list of label
        selectors as Kubernetes writes them.
    type: list
    elements: dict
    default: []
  bgp_advertisements:
    description:
      - Pools that are announced by BGP. C(name); C(pools), as above; C(peers), a list of names, without which it is all
        peers; C(node_selectors); C(communities), each the name of one of O(communities) or a value; C(local_pref);
        C(aggregation_length) (32) and C(aggregation_length_v6) (128), the prefix lengths that are announced.
    type: list
    elements: dict
    default: []
  bgp_peers:
    description:
      - Routers with which the nodes speak BGP. C(name); C(my_asn) and C(peer_asn), the numbers of the autonomous
        systems; C(address); C(port) (179); C(source_address); C(router_id); C(hold_time), seconds (90);
        C(ebgp_multi_hop) (false), for a router in another network; C(node_selectors).
      - C(password) for TCP MD5, which goes into a Secret; or C(password_secret), the name of a Secret in O(namespace)
        that has it, of the type C(kubernetes.io/basic-auth).
    type: list
    elements: dict
    default: []
  communities:
    description:
      - Names for BGP communities. C(name); C(value), such as C("65535:65281") or C("large:64512:1:2").
    type: list
    elements: dict
    default: []
  gateways:
    description:
      - Addresses of routers and other hosts that no pool may hold. The addresses of the nodes count as well, and so do
        the default gateways in O(facts).
    type: list
    elements: str
    default: []
  facts:
    description:
      - C(ansible_facts) of the nodes (subset C(network)), by which their networks and default gateways are known.
      - Without them network and broadcast addresses are guessed by the nodes' addresses, and noted instead of refused.
    type: list
    elements: dict
    default: []
  allow_moves:
    description:
      - Whether an address in use may leave its pool, or that pool be renamed. Its Service then gets another one.
        Otherwise that is refused, and the message names the Services.
    type: bool
    default: false
  timeout:
    description:
      - How many seconds MetalLB's webhook may take until it answers, and each object until it is gone.
    type: int
    default: 120
"""

EXAMPLES = r"""
- name: Give Services of type LoadBalancer 50 addresses of the nodes' network
  homelab.loadbalancer.metallb_pool:
    pools:
      - name: public-pool
        addresses: [172.16.0.100-172.16.0.149]
    l2_advertisements:
      - name: public
        pools: [public-pool]

- name: Announce a network of its own to a router by BGP, and check it against the networks of the nodes
  homelab.loadbalancer.metallb_pool:
    pools:
      - name: edge
        addresses: [10.99.0.0/24, "fd00:99::/64"]
        avoid_buggy_ips: true
    bgp_peers:
      - {name: router, my_asn: 64512, peer_asn: 64513, address: 172.16.0.254}
    bgp_advertisements:
      - {name: edge, pools: [edge], peers: [router]}
    facts: "{{ groups['kubernetes'] | map('extract', hostvars) | map(attribute='ansible_facts', default={}) }}"
"""

RETURN = r"""
changes:
  description: What was done to which object, or would be in check mode, in this order.
  returned: success
  type: list
  elements: str
  sample: [create IPAddressPool metallb-system/public-pool]
notes:
  description:
    - Services that lose their address with O(allow_moves), and what may be meant but most often is not, such as a pool
      of layer 2 outside of the nodes' networks.
  returned: success
  type: list
  elements: str
moves:
  description: Services whose address leaves its pool.
  returned: success
  type: list
  elements: str
  sample: ["Service default/web has 172.16.0.100, which leaves the pool public-pool"]
"""
