# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Options that the modules which carry services share, whatever they carry them by."""

from __future__ import annotations


class ModuleDocFragment:
    """Used as `extends_documentation_fragment: homelab.loadbalancer.services`."""

    DOCUMENTATION = r"""
options:
  services:
    description:
      - The services. Those that are not listed are not carried any more.
      - C(name) - letters, digits and inner hyphens, unique.
      - C(address) - the virtual address (VIP), IPv4 or IPv6.
      - C(port) - of the VIP. Address, port and protocol together are unique.
      - C(protocol) - V(tcp) (the default), V(udp) or V(sctp).
      - C(endpoints) - a list of C(address), C(port) (default is the service's) and C(weight) (1 to 65535, default 1),
        of the VIP's family. With an empty list connections are refused.
      - C(session_affinity) - with C(timeout) in seconds (1 to 86400, default 10800), a client stays with its endpoint
        as long as its connections are not further apart.
      - C(source_ranges) - networks that may connect, beside the node itself; packets from elsewhere are dropped.
      - C(node_port) - a port of all the node's own addresses that leads to the service too.
    type: list
    elements: dict
    default: []
  services_file:
    description:
      - A JSON file on the node with the same list as O(services), to which it is added. It spares Ansible's templating,
        which takes seconds for thousands of services.
    type: path
  allow_own_addresses:
    description:
      - Addresses of the node's own at which services may be. They take what the node itself answers there at their
        ports, so others are refused. An address is the node's own when it brings a network (it is no C(/32) or
        C(/128), nor a secondary or deprecated one), or when the node connects to the world from it.
      - A service at the address and port where Ansible's own connection arrives is refused all the same.
    type: list
    elements: str
    default: []
    version_added: 0.1.0
  allow_listening_ports:
    description:
      - Ports as C(PORT/PROTOCOL) that services may take from programs of the node. Others are refused when a program
        listens at a service's very address and port, or at its node port.
    type: list
    elements: str
    default: []
    version_added: 0.1.0
  prefix:
    description:
      - What the names of all owned chains begin with. At most 8 characters. On a Kubernetes node V(KUBE-) is
        kube-proxy's.
    type: str
    default: LB-
  masquerade:
    description:
      - Whether endpoints see this node as the source of connections. Without it they see the client, and their replies
        must come back through this node. Connections of an endpoint to itself are masqueraded all the same, unless the
        layout is V(minimal).
    type: bool
    default: true
  masquerade_mark:
    description:
      - The bit of the packet mark that says masquerade. One that nothing else on the node uses; kube-proxy uses 0x4000
        and 0x8000.
    type: str
    default: '0x1000'
  pod_cidr:
    description:
      - Networks, at most one a family, from which connections are not masqueraded, as kube-proxy's C(--cluster-cidr).
    type: list
    elements: str
    default: []
  isolate:
    description:
      - Pairs of interfaces between which no new connections are forwarded in the given direction, IPv4 and IPv6,
        except for those that a NAT rule has translated. So a VIP is the only way in.
      - Connections that stood before are not cut, if the kernel tracked connections already. It begins to with the
        first rule that needs it, which may be one of these.
    type: list
    elements: dict
    default: []
    suboptions:
      from:
        description: The interface where packets come in.
        type: str
        required: true
      to:
        description: The interface where they would go out.
        type: str
        required: true
  state:
    description:
      - With V(absent), none of it is left, whatever O(services) declares.
    type: str
    choices: [present, absent]
    default: present
  save_to:
    description:
      - A folder on the node, which must exist, whose files keep the declared state for a boot. Written when they
        differ, removed where there is nothing to keep. RV(boot) is how a boot loads them.
    type: path
"""
