#!/usr/bin/python
# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: vrrp_listen
short_description: The VRRP advertisements on a link
version_added: 0.2.0
description:
  - Listens for VRRP advertisements (IP protocol 112, versions 2 and 3, IPv4 and IPv6) on a link, including those of
    this node, and returns them. Sends nothing and changes nothing.
  - Also receives advertisements that a packet filter of this node drops.
author:
  - The homelab.loadbalancer authors (@homelab-loadbalancer)
extends_documentation_fragment:
  - homelab.loadbalancer.attributes
attributes:
  check_mode:
    support: full
    details:
      - Listens in check mode too.
  diff_mode:
    support: none
  idempotent:
    support: full
options:
  interface:
    description:
      - The link to listen on.
    type: str
    required: true
  seconds:
    description:
      - How long to listen. A master sends an advertisement in each interval, one second by default.
    type: float
    default: 4
  router_id:
    description:
      - Return only the advertisements of the virtual routers with this number.
    type: int
  families:
    description:
      - Repeat listening until each of these address families has exactly one master, or until O(limit) is over. With
        one master, the directors have agreed. Requires O(router_id).
    type: list
    elements: str
    choices: [ipv4, ipv6]
  limit:
    description:
      - With O(families), how many seconds to listen in total.
    type: float
    default: 30
"""

EXAMPLES = r"""
- name: Find virtual router IDs in use
  homelab.loadbalancer.vrrp_listen:
    interface: eth0
  register: heard

- name: Wait until there is one master
  homelab.loadbalancer.vrrp_listen:
    interface: eth0
    router_id: 51
    families: [ipv4, ipv6]
"""

RETURN = r"""
adverts:
  description: The last advertisement of each source and router ID. The priority 0 means that the router is stopping.
  returned: success
  type: list
  elements: dict
  sample:
    - family: ipv4
      source: 192.168.10.2
      version: 3
      router_id: 51
      priority: 150
      interval: 1.0
      addresses: [192.168.10.100]
addresses:
  description: This node's addresses on the link.
  returned: success
  type: list
  elements: str
  sample: [192.168.10.2/24, 'fe80::1/64']
"""

from ..module_utils._common.command import CommandError
from ..module_utils._common.errors import InputError
from ..module_utils._common.module import Module
from ..module_utils._common.values import check_within
from ..module_utils._keepalived import vrrp
from ..module_utils._virtual_address.node import read_state


def main() -> None:
    module = Module(
        needs_linux="this module",
        argument_spec={
            "interface": {"type": "str", "required": True},
            "seconds": {"type": "float", "default": 4},
            "router_id": {"type": "int"},
            "families": {"type": "list", "elements": "str", "choices": ["ipv4", "ipv6"]},
            "limit": {"type": "float", "default": 30},
        },
        required_by={"families": ["router_id"]},
        supports_check_mode=True,
    )
    options = module.params
    try:
        for name in ("seconds", "limit"):
            check_within(options[name], 0, 86400, name)
        links = read_state(options["interface"]).links
        if options["interface"] not in links:
            module.fail_json(msg="interface %s does not exist" % options["interface"])
        wanted = [options[name] for name in ("interface", "seconds", "router_id", "families", "limit")]
        adverts = vrrp.listen(*wanted)
        addresses = read_state(options["interface"]).links[options["interface"]].addresses
    except PermissionError as error:
        module.fail_json(msg="listening for VRRP needs root on the node (become: true): %s" % error)
    except (InputError, CommandError, OSError) as error:
        module.fail_json(msg=str(error))
    module.exit_json(
        changed=False,
        adverts=[vrrp.report(advert) for advert in adverts],
        addresses=[str(address) for address in addresses],
    )


if __name__ == "__main__":
    main()
