#!/usr/bin/python
# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: virtual_address
short_description: Virtual IP addresses on a link of this node
version_added: 0.2.0
description:
  - Adds IPv4 and IPv6 virtual addresses (VIPs) to a link, and removes them.
  - Before adding an address, the module probes whether another host on the link uses it (ARP probe of RFC 5227,
    duplicate address detection of RFC 4862). Afterwards it announces the address (gratuitous ARP, unsolicited
    neighbour advertisement), so that the other hosts reach an address that has moved at once.
  - A task changes all of its addresses or none. If the kernel refuses one, the earlier changes are undone.
  - An IPv6 address is added without the kernel's own duplicate address detection, so that it can be used at once. Its
    preferred lifetime is 0, so that the node does not use it as the source of its own connections.
author:
  - The homelab.loadbalancer authors (@homelab-loadbalancer)
requirements:
  - iproute2 4.20 or newer on the node
  - Linux 4.18 or newer on the node
extends_documentation_fragment:
  - homelab.loadbalancer.attributes
attributes:
  check_mode:
    support: full
    details:
      - Probes the other hosts in check mode too, because a probe changes nothing.
  diff_mode:
    support: full
  idempotent:
    support: full
options:
  interface:
    description:
      - The link that gets the addresses. It must exist, unless O(dummy=true) or O(state=absent).
    type: str
    required: true
  addresses:
    description:
      - The addresses, each with or without a prefix length.
      - The default prefix length is C(/32) or C(/128), which is right for a VIP inside or outside the link's own
        network. With a shorter one, IPv6 gets no route to the network, and IPv4 gets a route that yields to all others.
      - An address that is already on O(interface) without the mark of O(metric) was not added by this module. The
        module accepts it as it is, and never removes it.
    type: list
    elements: str
    default: []
  state:
    description:
      - V(present) adds the addresses to the link.
      - V(absent) removes those that this module added. It warns about each address that it did not add.
    type: str
    choices: [present, absent]
    default: present
  dummy:
    description:
      - Whether to create O(interface) as a dummy link if it does not exist, and to set it up.
      - A link that this module created has the alias C(homelab.loadbalancer). The module removes the link when it
        removes the last address from it and the link is no longer declared. It never removes a dummy link without that
        alias.
      - Needs the kernel module C(dummy).
    type: bool
    default: false
  purge:
    description:
      - Where to remove addresses that have the mark of O(metric) and are not listed in O(addresses).
      - V(none) removes none of them. V(link) removes them from O(interface).
      - V(node) removes them from every link of the node. Use it if one task declares all VIPs of the node. It also
        cleans up after a change of O(interface).
      - A listed address that has the mark on another link is moved to O(interface), whatever this option says.
    type: str
    choices: [none, link, node]
    default: none
  metric:
    description:
      - The number that marks an address as added by this module. C(ip address show) lists it as C(metric).
      - The metric of an address is normally the metric of the route to its network. A VIP has no such route, so the
        number can serve as a mark. Every kernel since 4.18 keeps it for IPv4 and IPv6. Labels exist for IPv4 only, and
        address protocols need Linux 5.18 and a newer iproute2 than that of Debian 12. The mark disappears with the
        address, whereas a list in a file could become outdated.
      - Use different numbers for tasks that must not purge each other's addresses.
    type: int
    default: 27746
  probe:
    description:
      - Whether to refuse an address that another host on the link answers for.
      - Only new addresses are probed, all at once, in 0.6 seconds.
      - A link without neighbours (a dummy link, a tunnel) is not probed. A link that is down or has no carrier cannot
        be probed, and the module warns.
      - A router with proxy ARP answers for addresses outside the link's network. Set V(false) on such a link.
    type: bool
    default: true
  announce:
    description:
      - Whether to announce new addresses to the other hosts on the link, three times within 0.2 seconds.
    type: bool
    default: true
notes:
  - Addresses last until the next boot. RV(batch) restores them.
"""

EXAMPLES = r"""
- name: Add two VIPs to a link
  homelab.loadbalancer.virtual_address:
    interface: eth0
    addresses:
      - 192.168.10.100
      - fd00:10::100

- name: Declare all VIPs of the node, and remove undeclared ones from every link
  homelab.loadbalancer.virtual_address:
    interface: eth0
    addresses: "{{ lb_services | map(attribute='address') | unique }}"
    purge: node

- name: Put a VIP on a dummy link
  homelab.loadbalancer.virtual_address:
    interface: lb0
    dummy: true
    addresses:
      - 10.254.10.128

- name: Take over an address from another host
  homelab.loadbalancer.virtual_address:
    interface: eth0
    addresses:
      - 192.168.10.101
    probe: false

- name: Remove every VIP of this node, and the dummy link that the module made for them
  homelab.loadbalancer.virtual_address:
    interface: lb0
    purge: node
    state: absent
"""

RETURN = r"""
interface:
  description: The link that was declared.
  returned: success
  type: str
  sample: eth0
added:
  description: The addresses that were added, or would be in check mode.
  returned: success
  type: list
  elements: str
  sample: [192.168.10.100/32, 'fd00:10::100/128']
removed:
  description: The addresses that were removed, or would be in check mode. A moved address is in RV(added) too.
  returned: success
  type: list
  elements: str
  sample: [192.168.10.99/32]
batch:
  description:
    - Lines for C(ip -force -batch FILE) that restore this task's addresses after a boot, and the dummy link made for
      them. They change nothing if everything is in place.
    - Empty with O(state=absent).
  returned: success
  type: list
  elements: str
  sample:
    - address replace 192.168.10.100/32 dev eth0 metric 27746
    - address replace fd00:10::100/128 dev eth0 metric 27746 nodad noprefixroute preferred_lft 0
"""

from ..module_utils._common.command import CommandError
from ..module_utils._common.errors import InputError, NodeError
from ..module_utils._common.module import NodeModule
from ..module_utils._virtual_address.input import parse_addresses, parse_metric
from ..module_utils._virtual_address.node import converge
from ..module_utils._virtual_address.plan import Want


def main() -> None:
    module = NodeModule(
        argument_spec={
            "interface": {"type": "str", "required": True},
            "addresses": {"type": "list", "elements": "str", "default": []},
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
            "dummy": {"type": "bool", "default": False},
            "purge": {"type": "str", "choices": ["none", "link", "node"], "default": "none"},
            "metric": {"type": "int", "default": 27746},
            "probe": {"type": "bool", "default": True},
            "announce": {"type": "bool", "default": True},
        },
    )
    options = module.params
    try:
        want = Want(
            interface=options["interface"],
            addresses=parse_addresses(options["addresses"]),
            present=options["state"] == "present",
            dummy=options["dummy"],
            purge=options["purge"],
            metric=parse_metric(options["metric"]),
        )
        result = converge(want, module.check_mode, ask=options["probe"], tell=options["announce"])
    except PermissionError as error:
        module.fail_json(msg="changing addresses needs root on the node (become: true): %s" % error)
    except (InputError, NodeError, CommandError, OSError) as error:
        module.fail_json(msg=str(error))
    for warning in result.pop("warnings"):
        module.warn(warning)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
