#!/usr/bin/python
# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# The action plugin of the same name does the work.

from __future__ import annotations

DOCUMENTATION = r"""
module: metallb_pool
short_description: Address pools of MetalLB, and their announcement
version_added: 0.2.0
description:
  - Declares which addresses MetalLB gives to Services of type LoadBalancer, and how they are announced, by ARP and NDP
    (layer 2) or by BGP.
  - One task declares all of them. Undeclared objects that this module made before are removed. Objects that others made
    stay.
  - Before anything changes, refuses pools that overlap, pools that contain the address of a node, a gateway or a
    network, and changes that would take an address away from a Service.
  - The role P(homelab.loadbalancer.metallb_pool#role) calls the module with its variables.
author:
  - The homelab.loadbalancer authors (@homelab-loadbalancer)
extends_documentation_fragment:
  - homelab.loadbalancer.attributes
  - homelab.loadbalancer.kubernetes
attributes:
  check_mode:
    support: full
    details:
      - If a pool takes addresses from another one, it cannot be tried before the other pool has released them. It
        counts as created or changed.
  diff_mode:
    support: full
    details:
      - The passwords of BGP peers are never shown.
  idempotent:
    support: full
options:
  state:
    description:
      - V(absent) removes all pools and other objects that this module made, including declared ones.
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
      - The pools. Each has a C(name), and C(addresses), a list of IPv4 or IPv6 ranges C(FIRST-LAST) and networks.
      - C(auto_assign) (default true) says whether Services get addresses from the pool without requesting it.
      - C(avoid_buggy_ips) (default false) says whether to leave out addresses that end with .0 and .255, the network
        and broadcast address of a /24 network.
      - C(namespaces), and C(namespace_selectors) and C(service_selectors), lists of label selectors in Kubernetes's
        format, restrict which Services get its addresses. If several pools fit a Service, the pool with the lowest
        C(priority) is used first.
    type: list
    elements: dict
    default: []
  l2_advertisements:
    description:
      - Announcements of pools by ARP and NDP. Each has a C(name), C(pools), a list of names (default all pools),
        C(interfaces), the links on which to announce (default all), and C(node_selectors), a list of label selectors in
        Kubernetes's format for the nodes that announce.
    type: list
    elements: dict
    default: []
  bgp_advertisements:
    description:
      - Announcements of pools by BGP. Each has a C(name), and C(pools) and C(node_selectors) as in
        O(l2_advertisements).
      - C(peers) is a list of names (default all peers). C(communities) is a list of values or names of O(communities).
        C(local_pref) is the BGP local preference. C(aggregation_length) (default 32) and C(aggregation_length_v6)
        (default 128) are the announced prefix lengths.
    type: list
    elements: dict
    default: []
  bgp_peers:
    description:
      - Routers with which the nodes speak BGP. Each has a C(name), an C(address), C(my_asn) and C(peer_asn), the
        numbers of the autonomous systems, and optionally C(port) (default 179), C(source_address), C(router_id),
        C(hold_time) (in seconds, default 90), C(ebgp_multi_hop) (default false, true for a router in another network)
        and C(node_selectors).
      - C(password) is the password for TCP MD5. The module stores it in a Secret. Alternatively, C(password_secret) is
        the name of a Secret of type C(kubernetes.io/basic-auth) in O(namespace).
    type: list
    elements: dict
    default: []
  communities:
    description:
      - Names for BGP communities. Each has a C(name), and a C(value) such as C("65535:65281") or
        C("large:64512:1:2").
    type: list
    elements: dict
    default: []
  gateways:
    description:
      - Addresses of routers and other hosts that no pool may contain, in addition to the addresses of the nodes and the
        default gateways in O(facts).
    type: list
    elements: str
    default: []
  facts:
    description:
      - C(ansible_facts) of the nodes (subset C(network)), which contain their networks and default gateways.
      - Without facts, network and broadcast addresses are guessed from the nodes' addresses. Pools with such addresses
        give a note, and are not refused.
    type: list
    elements: dict
    default: []
  allow_moves:
    description:
      - Whether an address in use may leave its pool, and whether such a pool may be renamed. The Service then gets
        another address. Otherwise the change is refused, and the message names the Services.
    type: bool
    default: false
  timeout:
    description:
      - How many seconds to wait until MetalLB's webhook answers, and for each object that is removed.
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

- name: Announce a separate network to a router by BGP, and check it against the networks of the nodes
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
  description: The changes, in order, each with its object. In check mode, the changes that would be made.
  returned: success
  type: list
  elements: str
  sample: [create IPAddressPool metallb-system/public-pool]
notes:
  description:
    - Services that lose their address with O(allow_moves), and declarations that are probably mistakes, such as a layer
      2 pool outside the nodes' networks.
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
