# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Options that the lab modules share."""

from __future__ import annotations


class ModuleDocFragment:
    """Used as `extends_documentation_fragment: homelab.loadbalancer.lab`."""

    DOCUMENTATION = r"""
options:
  name:
    description:
      - Name of the lab. Labs of different names exist side by side on one machine.
    type: str
    required: true
  hosts:
    description:
      - The hosts of the lab.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description:
          - Name of the host. V(switch) is reserved.
        type: str
        required: true
      links:
        description:
          - The host's network interfaces.
        type: list
        elements: dict
        suboptions:
          name:
            description:
              - Name of the interface, at most 15 characters.
            type: str
            required: true
          vlan:
            description:
              - The VLAN of the interface, from 1 to 4094.
            type: int
            required: true
          addresses:
            description:
              - Its IPv4 and IPv6 addresses with their prefix lengths.
            type: list
            elements: str
          mtu:
            description:
              - The MTU in bytes. The default is 1500.
            type: int
      gateways:
        description:
          - Default gateways, at most one for each address family, each in the network of one of the host's links.
        type: list
        elements: str
      routes:
        description:
          - Static routes.
        type: list
        elements: dict
        suboptions:
          to:
            description:
              - The destination network.
            type: str
            required: true
          via:
            description:
              - The next hop, in the network of one of the host's links.
            type: str
            required: true
      sysctls:
        description:
          - Sysctls of the host, a mapping of names that begin with C(net.) to values.
        type: dict
  servers:
    description:
      - Servers that answer with a fixed text, each on one of the hosts.
    type: list
    elements: dict
    default: []
    suboptions:
      host:
        description:
          - Name of the server's host.
        type: str
        required: true
      text:
        description:
          - The answer. The server appends a newline.
        type: str
        required: true
      port:
        description:
          - The port, on all IPv4 and IPv6 addresses of the host. The default is 80.
        type: int
      protocol:
        description:
          - V(http), the default, answers every HTTP request, and names the client's address in the header
            C(X-Client-Address). V(udp) answers every datagram.
        type: str
  state:
    description:
      - V(present) builds and repairs the lab.
      - V(absent) removes it with everything in it.
    type: str
    choices: [present, absent]
    default: present
  prefix:
    description:
      - Prefix of option names in error messages. A role sets it to the prefix of its variables.
    type: str
    default: ''
"""
