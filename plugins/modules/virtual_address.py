#!/usr/bin/python
# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: virtual_address
short_description: Virtual IP addresses on a link of this node
version_added: 0.1.0
description:
  - Puts virtual IP addresses (VIPs), IPv4 and IPv6, on a link, and takes them off again.
  - The other hosts on the link are asked first whether one of them has an address (ARP probe of RFC 5227, duplicate
    address detection of RFC 4862), and told afterwards that it is here (gratuitous ARP, unsolicited neighbour
    advertisement), so that an address that has moved is reached at once.
  - All addresses of a task are put in place or none. When the kernel refuses one, those before it are taken back.
  - An IPv6 address is added without the kernel's own duplicate address detection, so that it can be used at once, and
    with a preferred lifetime of 0, so that the node does not take it as the source of connections of its own.
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
      - The other hosts are asked in check mode too, for a question changes nothing.
  diff_mode:
    support: full
  idempotent:
    support: full
options:
  interface:
    description:
      - The link that answers for the addresses. It must exist, but for O(dummy=true) and O(state=absent).
    type: str
    required: true
  addresses:
    description:
      - The addresses, each with or without a prefix length.
      - Without one it is C(/32) or C(/128), which is right for a VIP inside or outside the link's own network.
        A shorter one brings no route to the network with IPv6, and with IPv4 only one that yields to all others.
      - An address that is on O(interface) already without the mark of O(metric) was put there by somebody else.
        It serves as it is, and is never removed by this module.
    type: list
    elements: str
    default: []
  state:
    description:
      - With V(present) the addresses are on the link.
      - With V(absent) those of them that this module added are not. On one that somebody else added there is a warning.
    type: str
    choices: [present, absent]
    default: present
  dummy:
    description:
      - Whether to create O(interface) as a dummy link when it does not exist, and to set it up.
      - A link that this module created carries the alias C(homelab.loadbalancer), and is removed as soon as the module
        takes the last address off it and it is not declared any more. A dummy link without that alias is never removed.
      - Needs the kernel module C(dummy).
    type: bool
    default: false
  purge:
    description:
      - Where to remove addresses that carry the mark of O(metric) and are not listed in O(addresses).
      - With V(none) nowhere. With V(link) from O(interface). With V(node) from every link of the node, which is
        right where one task declares all there are, and cleans up after a change of O(interface).
      - A listed address that carries the mark on another link is moved from there in any case.
    type: str
    choices: [none, link, node]
    default: none
  part:
    description:
      - Which part of the change to make. V(removals) only takes off what O(purge) and O(state=absent) remove;
        V(additions) makes the rest, and takes the removals for done.
      - For a play that changes what stands behind the addresses in between, so that it is there whenever an address is.
        A check run of both parts says what a real one says. An address that moves to another link does so with
        V(additions).
    type: str
    choices: [all, removals, additions]
    default: all
    version_added: 0.1.0
  metric:
    description:
      - What marks an address as added by this module. C(ip address show) lists it as C(metric).
      - The metric of an address is that of the route to its network, which a VIP does not bring, so the number is free
        to be a mark. Every kernel since 4.18 keeps it for IPv4 and IPv6 alike, where labels are for IPv4 only and
        address protocols need Linux 5.18 and a newer iproute2 than Debian 12 has. The mark lives and dies with the
        address, which a list in a file would not.
      - Give tasks that shall not purge each other's addresses different numbers.
    type: int
    default: 27746
  probe:
    description:
      - Whether to refuse an address that another host on the link answers for.
      - Only addresses that are to be added are asked for, all at once, in 0.6 seconds.
      - There is nobody to ask on a link without neighbours (a dummy link, a tunnel). On one that is down or has no
        carrier nobody can be asked, and there is a warning.
      - A router with proxy ARP answers for addresses outside the link's network. Set V(false) there.
    type: bool
    default: true
  announce:
    description:
      - Whether to announce an address that was added to the other hosts on the link, three times within 0.2 seconds.
    type: bool
    default: true
  variables:
    description:
      - The names of options in error messages, a mapping of option names to variable names. Roles set it, so that
        messages name their variables.
      - The name of O(addresses) may be a field of a list's entries, such as C(lb_services[*].address). Then several
        entries may have the same address.
    type: dict
    default: {}
notes:
  - Addresses last until the next boot. RV(batch) is what brings them back.
"""

EXAMPLES = r"""
- name: Answer for two VIPs
  homelab.loadbalancer.virtual_address:
    interface: eth0
    addresses:
      - 192.168.10.100
      - fd00:10::100

- name: Answer for exactly these VIPs, on no other link of this node
  homelab.loadbalancer.virtual_address:
    interface: eth0
    addresses: "{{ lb_services | map(attribute='address') | unique }}"
    purge: node

- name: Hold VIPs on a dummy link
  homelab.loadbalancer.virtual_address:
    interface: lb0
    dummy: true
    addresses:
      - 10.254.10.128

- name: Take over an address from a host that is to lose it
  homelab.loadbalancer.virtual_address:
    interface: eth0
    addresses:
      - 192.168.10.101
    probe: false

- name: Remove every VIP from this node, and the dummy link made for them
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
  description: The addresses that were removed, or would be in check mode. One that moved is in RV(added) too.
  returned: success
  type: list
  elements: str
  sample: [192.168.10.99/32]
batch:
  description:
    - Lines that bring this task's addresses back after a boot, and the dummy link made for them, by
      C(ip -force -batch FILE). They do no harm where all is in place.
    - Empty with O(state=absent).
  returned: success
  type: list
  elements: str
  sample:
    - address replace 192.168.10.100/32 dev eth0 metric 27746
    - address replace fd00:10::100/128 dev eth0 metric 27746 nodad noprefixroute preferred_lft 0
"""

from ..module_utils._common.command import CommandError
from ..module_utils._common.errors import InputError, named
from ..module_utils._common.module import NodeModule
from ..module_utils._virtual_address.input import parse_addresses, parse_metric
from ..module_utils._virtual_address.node import ApplyError, converge
from ..module_utils._virtual_address.plan import Want


def main() -> None:
    module = NodeModule(
        argument_spec={
            "interface": {"type": "str", "required": True},
            "addresses": {"type": "list", "elements": "str", "default": []},
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
            "dummy": {"type": "bool", "default": False},
            "purge": {"type": "str", "choices": ["none", "link", "node"], "default": "none"},
            "part": {"type": "str", "choices": ["all", "removals", "additions"], "default": "all"},
            "metric": {"type": "int", "default": 27746},
            "probe": {"type": "bool", "default": True},
            "announce": {"type": "bool", "default": True},
            "variables": {"type": "dict", "default": {}},
        },
    )
    options = module.params
    try:
        want = Want(
            interface=options["interface"],
            addresses=parse_addresses(options["addresses"], options["variables"].get("addresses", "addresses")),
            present=options["state"] == "present",
            dummy=options["dummy"],
            purge=options["purge"],
            metric=parse_metric(options["metric"]),
            part=options["part"],
        )
        result = converge(want, module.check_mode, ask=options["probe"], tell=options["announce"])
    except PermissionError as error:
        module.fail_json(msg="changing addresses needs root on the node (become: true): %s" % error)
    except (InputError, CommandError, ApplyError, OSError) as error:
        module.fail_json(msg=named(error, options["variables"]))
    for warning in result.pop("warnings"):
        module.warn(warning)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
