# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Options that the modules which build a lab share, whatever its hosts are made of."""

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
      - All hosts of the lab.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description:
          - Name of the host. V(switch) is taken.
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
              - Number of the VLAN that it is plugged in, from 1 to 4094.
            type: int
            required: true
          addresses:
            description:
              - Its IPv4 and IPv6 addresses with their prefix lengths.
            type: list
            elements: str
          mtu:
            description:
              - Largest packet in bytes. The default is 1500.
            type: int
      gateways:
        description:
          - Default gateways, one for each IP version at most, each in the network of one of the host's links.
        type: list
        elements: str
      routes:
        description:
          - Further static routes.
        type: list
        elements: dict
        suboptions:
          to:
            description:
              - The network to be reached.
            type: str
            required: true
          via:
            description:
              - The next host on the way, in the network of one of the host's links.
            type: str
            required: true
      sysctls:
        description:
          - Values of sysctls, by names that begin with C(net.).
        type: dict
  servers:
    description:
      - Servers that answer with a text, each on one of the hosts.
    type: list
    elements: dict
    default: []
    suboptions:
      host:
        description:
          - Name of the host that it runs on.
        type: str
        required: true
      text:
        description:
          - What it answers, without the end of the line that is sent after it.
        type: str
        required: true
      port:
        description:
          - Port that it listens to on all IPv4 and IPv6 addresses of the host. The default is 80.
        type: int
      protocol:
        description:
          - V(http), the default, answers every HTTP request, and names the client's address in the header
            C(X-Client-Address). V(udp) answers every datagram.
        type: str
  state:
    description:
      - V(present) builds and repairs the lab.
      - V(absent) removes it with all that is in it.
    type: str
    choices: [present, absent]
    default: present
  prefix:
    description:
      - What the names of the variables that O(hosts) and O(servers) come from begin with, for error messages.
    type: str
    default: ''
"""
