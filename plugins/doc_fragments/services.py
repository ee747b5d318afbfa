# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Options that the modules for load-balanced services share, whatever the data plane."""

from __future__ import annotations


class ModuleDocFragment:
    """Used as `extends_documentation_fragment: homelab.loadbalancer.services`."""

    DOCUMENTATION = r"""
options:
  services:
    description:
      - The services. Undeclared services are removed.
      - C(name) - letters, digits and inner hyphens, unique.
      - C(address) - the virtual address (VIP), IPv4 or IPv6.
      - C(port) - of the VIP. Address, port and protocol together are unique.
      - C(protocol) - V(tcp) (the default), V(udp) or V(sctp).
      - C(endpoints) - a list of C(address), C(port) (default is the service's) and C(weight) (1 to 65535, default 1),
        of the VIP's family. With an empty list, connections are refused.
      - C(session_affinity) - with C(timeout) in seconds (1 to 86400, default 10800), a client stays with its endpoint
        while the time between its connections is shorter.
      - C(source_ranges) - networks that may connect, besides the node itself; packets from elsewhere are dropped.
      - C(node_port) - a port on all of the node's own addresses that also leads to the service.
    type: list
    elements: dict
    default: []
  services_file:
    description:
      - A JSON file on the node with more entries for O(services). It avoids Ansible's templating, which takes seconds
        for thousands of services.
    type: path
  allow_own_addresses:
    description:
      - The node's own addresses that services may use. All other own addresses are refused, because a service takes
        over its port from the node's own servers. An address is the node's own if it has a network (it is not a
        C(/32), a C(/128), secondary or deprecated), or if the node uses it as the source of connections to other
        networks.
      - The address and port of Ansible's own connection are always refused.
    type: list
    elements: str
    default: []
  allow_listening_ports:
    description:
      - Ports of listening programs, as C(PORT/PROTOCOL), that services may take over. Otherwise a service is refused
        if a program listens on its address and port, or on its node port.
    type: list
    elements: str
    default: []
  prefix:
    description:
      - Prefix of the names of all owned chains, at most 8 characters. Do not use V(KUBE-), which belongs to kube-proxy.
    type: str
    default: LB-
  masquerade:
    description:
      - Whether endpoints see this node as the source of connections. With V(false), they see the client, and must
        route their replies through this node. Connections of an endpoint to itself are always masqueraded, unless the
        layout is V(minimal).
    type: bool
    default: true
  masquerade_mark:
    description:
      - The bit of the packet mark that requests masquerading. Nothing else on the node may use it; kube-proxy uses
        0x4000 and 0x8000.
    type: str
    default: '0x1000'
  pod_cidr:
    description:
      - Networks whose connections are not masqueraded, at most one for each address family, like kube-proxy's
        C(--cluster-cidr).
    type: list
    elements: str
    default: []
  isolate:
    description:
      - Pairs of interfaces. New IPv4 and IPv6 connections in that direction are not forwarded, except those that a NAT
        rule has translated. So a VIP is the only way in.
      - Established connections continue if the kernel already tracked them. The kernel starts connection tracking with
        the first rule that needs it, which may be one of these.
    type: list
    elements: dict
    default: []
    suboptions:
      from:
        description: The interface that packets come in on.
        type: str
        required: true
      to:
        description: The interface that packets would go out on.
        type: str
        required: true
"""
