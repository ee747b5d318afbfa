#!/usr/bin/python
# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: probe_owners
short_description: Which hosts on the link answer for IP addresses
version_added: 0.1.0
description:
  - Asks by ARP and IPv6 neighbour discovery, as a client does, who has an address, and returns the MAC address of
    everyone who answers. A virtual IP address has to be answered for by one host, no more and no less.
  - Where an address is reached through a router, or nobody can be asked for another reason, says so.
  - Changes nothing. Needs root and iproute2 on the host; without root it says of each address that it could not ask.
author:
  - The homelab.loadbalancer authors (@homelab-loadbalancer)
extends_documentation_fragment:
  - homelab.loadbalancer.attributes
attributes:
  check_mode:
    support: full
    details:
      - Asks in check mode too.
  diff_mode:
    support: none
  idempotent:
    support: full
options:
  addresses:
    description:
      - The addresses to ask for. None returns only RV(links).
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
- name: Ask who has the VIP
  homelab.loadbalancer.probe_owners:
    addresses: [172.16.0.100]
  become: true
  register: probed
  failed_when: probed.owners[0].macs | length != 1
"""

RETURN = r"""
owners:
  description: Who answers for each address, in their order.
  returned: success
  type: list
  elements: dict
  contains:
    address:
      description: The address.
      type: str
    interface:
      description: The link on which this host reaches it.
      type: str
    source:
      description: The address that this host asks from.
      type: str
    gateway:
      description: The router that this host sends to; empty when the address is on the link.
      type: str
    macs:
      description: Everyone who answers. Null when nobody could be asked.
      type: list
      elements: str
    reason:
      description: Why nobody could be asked.
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
  description: The networks of those links, for which neighbours can be asked.
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
