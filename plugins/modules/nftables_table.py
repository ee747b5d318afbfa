#!/usr/bin/python
# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: nftables_table
short_description: Own an nftables table with its whole content
version_added: 0.2.0
description:
  - Declares one table of nftables, with all its chains, rules, sets, maps, flowtables and named objects, in the syntax
    of C(nft).
  - One transaction makes all changes or none. Other tables are neither read nor changed.
  - The text is first loaded into a throw-away network namespace. The kernel returns its canonical form there, and
    refuses an invalid text before the node is touched, also in check mode. A refusal names the line.
  - Only differences are changed. Rules, and elements of sets and maps, are added and removed one by one. A chain, set
    or object with another definition is deleted and created in the same transaction, together with the rules and
    elements that refer to it.
  - Counters and the remaining time of elements are not part of the declared state. Rules, counters and quotas that stay
    or are created again keep their counts.
author:
  - The homelab.loadbalancer authors (@homelab-loadbalancer)
requirements:
  - nft 0.9.8 or newer on the node
extends_documentation_fragment:
  - homelab.loadbalancer.attributes
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
    details:
      - Shows each chain, set and object that changes as C(nft -s list table) would, before and after, but with each
        element on a line of its own.
  idempotent:
    support: full
options:
  family:
    description:
      - The family of the table.
    type: str
    choices: [inet, ip, ip6, arp, bridge, netdev]
    default: inet
  name:
    description:
      - The name of the table. The task owns this table of the O(family), and removes everything in it that O(content)
        does not declare.
      - A table with chains of iptables, such as C(ip filter), is refused.
    type: str
    required: true
  content:
    description:
      - The text between the braces of C(table), as in a file for C(nft -f). C(define) and comments are allowed.
        C(include), a second table and the flag C(owner) are refused.
      - Names of services and links are looked up on the node, host names are not. C(iif) and C(oif) need an existing
        link; C(iifname) and C(oifname) do not.
      - Packets and programs add elements too. So an undeclared element stays if its set has C(flags dynamic) or a
        default C(timeout), or if it has its own timeout. All other undeclared elements are removed.
      - A declared element that has expired is added again by the next run.
      - Required with O(state=present). An empty text is an empty table.
    type: str
  state:
    description:
      - With V(absent) the whole table is removed, and O(content) is ignored.
    type: str
    choices: [present, absent]
    default: present
  save_to:
    description:
      - A file on the node that keeps the declared table for C(nft -f) at boot. Its folder must exist. Written when it
        differs, removed with O(state=absent). RV(boot) is how a boot loads it.
    type: path
seealso:
  - module: homelab.loadbalancer.iptables_chains
  - module: homelab.loadbalancer.ipset
"""

EXAMPLES = r"""
- name: Drop packets from a list of networks
  homelab.loadbalancer.nftables_table:
    name: site
    content: |
      set blocked {
        type ipv4_addr
        flags interval
        elements = { 203.0.113.0/24, 198.51.100.7 }
      }
      chain forward {
        type filter hook forward priority filter - 1
        ip saddr @blocked counter drop
      }

- name: Forward ports by a map, across reboots
  homelab.loadbalancer.nftables_table:
    family: ip
    name: forward
    content: |
      map servers {
        type inet_service : ipv4_addr . inet_service
        elements = { 80 : 192.168.20.20 . 8080, 443 : 192.168.20.21 . 8443 }
      }
      chain prerouting {
        type nat hook prerouting priority dstnat
        ip daddr 192.168.10.100 dnat ip addr . port to tcp dport map @servers
      }
    save_to: /etc/nftables-forward.nft

- name: Limit new SSH connections of each address
  homelab.loadbalancer.nftables_table:
    name: ssh
    content: |
      set seen {
        type ipv4_addr
        size 65535
        flags dynamic
        timeout 1m
      }
      chain input {
        type filter hook input priority filter
        tcp dport 22 ct state new update @seen { ip saddr limit rate over 10/minute } counter drop
      }

- name: Remove the table
  homelab.loadbalancer.nftables_table:
    name: site
    state: absent
"""

RETURN = r"""
boot:
  description:
    - The command that restores the table from O(save_to), as C(ExecStart) of a systemd unit takes it. Empty without
      O(save_to). It replaces the table, so its counters start at zero.
  returned: success
  type: list
  elements: str
  sample: [nft -f /etc/nftables-forward.nft]
"""

from ..module_utils._common.command import CommandError
from ..module_utils._common.errors import InputError, NodeError, NotInstalledError
from ..module_utils._common.module import NodeModule
from ..module_utils._nftables.input import parse_content, parse_name
from ..module_utils._nftables.run import Declaration, converge

ARGUMENTS = {
    "family": {"type": "str", "choices": ["inet", "ip", "ip6", "arp", "bridge", "netdev"], "default": "inet"},
    "name": {"type": "str", "required": True},
    "content": {"type": "str"},
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    "save_to": {"type": "path"},
}


def main() -> None:
    module = NodeModule(argument_spec=ARGUMENTS, required_if=[("state", "present", ("content",))])
    options = module.params
    present = options["state"] == "present"
    try:
        content = parse_content(options["content"] or "")
        declared = Declaration(options["family"], parse_name(options["name"]), content if present else None)
        result = converge(declared, options["save_to"] or "", module.check_mode, module._diff)
    except NotInstalledError as error:
        if not module.check_mode or not present:
            module.fail_json(msg=str(error))
        # Something else is going to install it: all that can be known now is that the options are in order.
        module.warn("%s. Nothing more can be predicted" % error)
        module.exit_json(changed=True, boot=[])
    except (InputError, NodeError, CommandError, OSError) as error:
        module.fail_json(msg=str(error))
    for warning in result.pop("warnings"):
        module.warn(warning)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
