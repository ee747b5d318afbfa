#!/usr/bin/python
# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: probe_owners
short_description: Which hosts on the link answer for IP addresses
version_added: 0.2.0
description:
  - Sends ARP requests and IPv6 neighbour solicitations for the addresses, as a client does, and returns the MAC address
    of each host that answers. Exactly one host should answer for a virtual IP address.
  - If an address cannot be probed, for example because it is behind a router, RV(owners[].reason) says why.
  - Changes nothing. Needs root and iproute2 on the host. Without root, no address can be probed.
author:
  - The homelab.loadbalancer authors (@homelab-loadbalancer)
extends_documentation_fragment:
  - homelab.loadbalancer.attributes
attributes:
  check_mode:
    support: full
    details:
      - Probes in check mode too.
  diff_mode:
    support: none
  idempotent:
    support: full
options:
  addresses:
    description:
      - The addresses to probe. With an empty list, only RV(links) and RV(networks) have content.
    type: list
    elements: str
    default: []
  seconds:
    description:
      - How long to listen for answers on each link.
    type: float
    default: 1
"""

EXAMPLES = r"""
- name: Probe which host answers for the VIP
  homelab.loadbalancer.probe_owners:
    addresses: [172.16.0.100]
  become: true
  register: probed
  failed_when: probed.owners[0].macs | length != 1
"""

RETURN = r"""
owners:
  description: The hosts that answer for each address, in the order of O(addresses).
  returned: success
  type: list
  elements: dict
  contains:
    address:
      description: The address.
      type: str
    interface:
      description: The link through which this host reaches the address.
      type: str
    source:
      description: The source address of this host's probes.
      type: str
    gateway:
      description: The router through which this host reaches the address. Empty if the address is on the link.
      type: str
    macs:
      description: The MAC addresses of all hosts that answer. Null if the address could not be probed.
      type: list
      elements: str
    reason:
      description: Why the address could not be probed. Empty if it was.
      type: str
  sample:
    - address: 172.16.0.100
      interface: eth0
      source: 172.16.0.21
      gateway: ''
      macs: [02:00:00:00:00:0c]
      reason: ''
links:
  description: The MAC address of each link of this host.
  returned: success
  type: dict
  sample:
    eth0: 02:00:00:00:00:15
networks:
  description: The networks of this host's links in which it can probe addresses.
  returned: success
  type: list
  elements: str
  sample: [172.16.0.0/24]
"""

from ..module_utils._common.command import CommandError
from ..module_utils._common.errors import InputError
from ..module_utils._common.module import Module
from ..module_utils._common.values import check_within
from ..module_utils._probe import owners as probe_owners


def main() -> None:
    module = Module(
        needs_linux="this module",
        argument_spec={
            "addresses": {"type": "list", "elements": "str", "default": []},
            "seconds": {"type": "float", "default": 1},
        },
        supports_check_mode=True,
    )
    try:
        check_within(module.params["seconds"], 0.1, 3600, "seconds")
        seen = probe_owners.look(module.params["addresses"], module.params["seconds"], "addresses")
    except (InputError, CommandError, OSError) as error:
        module.fail_json(msg=str(error))
    module.exit_json(changed=False, **seen)


if __name__ == "__main__":
    main()
