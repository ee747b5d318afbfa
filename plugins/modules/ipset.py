#!/usr/bin/python
# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: ipset
short_description: Own ipsets with their whole membership
version_added: 0.1.0
description:
  - Declares sets of every type that C(ipset) knows, with their options and all their entries.
  - All of it lands or none of it does. What a rule looks at is never empty or missing for a moment. Small changes are
    added and removed. Where much changes, or an option of the set, another set is filled and swapped with the one that
    is there.
  - Entries are written as for C(ipset add), and compared in the kernel's own spelling, which C(ipset) itself gives.
    Entries and options that it refuses are refused before the node is touched, in check mode too.
  - The time that is left for an entry, and what was counted, are no part of the declared state. They are kept for
    entries that stay. An entry whose time is over is added again by the next run.
author:
  - The homelab.loadbalancer authors (@homelab-loadbalancer)
requirements:
  - ipset 7 on the node
  - the kernel module of each declared type
extends_documentation_fragment:
  - homelab.loadbalancer.attributes
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
    details:
      - Shows each set that changes as C(ipset save) would, sorted, before and after, without what moves by itself, and
        without C(hashsize) and C(initval) that are not declared.
  idempotent:
    support: full
options:
  sets:
    description:
      - The sets. Each has a C(name) of at most 31 characters and a C(type), such as V(hash:ip,port), V(bitmap:port) or
        V(list:set).
      - C(entries) is a list of texts as C(ipset add) takes them, with their own options if need be, as in
        V(192.0.2.0/24 nomatch comment "the office"). Host names are refused, for they mean other addresses tomorrow.
      - C(entries_file) names a file on the node with further entries, one a line; lines that begin with C(#) do not
        count. Where entries come by the thousand this saves Ansible's work on a long list.
      - Of a V(list:set), the order of the entries counts.
      - C(append=true) is for those who share a set. With O(state=present) the declared entries are there, with
        O(state=absent) they are not. Entries of others stay, and so do the options of a set that is there already.
      - Create options are C(family) (V(ipv4) or V(ipv6)), C(timeout) in seconds, C(comment), C(counters), C(skbinfo),
        C(forceadd) (V(true) or V(false) each), C(hashsize), C(maxelem), C(size), C(range), C(netmask), C(bitmask),
        C(markmask), C(bucketsize) and C(initval), each for the types that C(ipset) has them for.
      - A change of an option is made by swap too. Only another type or family cannot be swapped; it is refused while a
        rule or a list uses the set.
    type: list
    elements: dict
    default: []
  prefix:
    description:
      - Sets whose names begin with it and that are not listed in O(sets) are destroyed.
      - Without it, only listed sets are touched.
    type: str
    default: ''
  state:
    description:
      - With V(absent), the listed sets and those with the O(prefix) are destroyed; a C(name) is enough there.
      - A set that a rule or a list uses cannot go. The task fails then, and says which one.
      - It is one state for the whole task, so that what a task declares can be taken away by this word alone. To take
        one of several sets away, remove it from O(sets) under a O(prefix).
    type: str
    choices: [present, absent]
    default: present
  save_to:
    description:
      - A file on the node that keeps the declared sets for C(ipset restore) at boot. Its folder must exist. Written
        when it differs, removed where there is nothing to keep. RV(boot) is how a boot loads it.
    type: path
seealso:
  - module: homelab.loadbalancer.iptables_chains
"""

EXAMPLES = r"""
- name: Declare two sets, and remove others that begin with LB-
  homelab.loadbalancer.ipset:
    prefix: LB-
    sets:
      - name: LB-VIP
        type: hash:ip,port
        entries:
          - 192.168.10.100,tcp:80
          - 192.168.10.100,tcp:443
      - name: LB-OFFICE
        type: hash:net
        family: ipv6
        comment: true
        entries:
          - fd00:10::/64 comment "first floor"
          - fd00:10::13 nomatch

- name: Keep a blocklist from a file on the node, across reboots
  homelab.loadbalancer.ipset:
    sets:
      - name: blocklist
        type: hash:net
        maxelem: 500000
        entries_file: /var/lib/blocklist.txt
    save_to: /etc/blocklist.ipset

- name: See that an address is in a set that others fill
  homelab.loadbalancer.ipset:
    sets:
      - {name: monitoring, type: "hash:ip", append: true, entries: [192.0.2.7]}

- name: Leave nothing of it
  homelab.loadbalancer.ipset:
    prefix: LB-
    state: absent
"""

RETURN = r"""
boot:
  description:
    - The command that brings the sets in O(save_to) back, at boot or now, as C(ExecStart) of a systemd unit takes it.
      Empty where there is none.
  returned: success
  type: list
  elements: str
  sample: [ipset -exist -file /etc/blocklist.ipset restore]
"""

from ..module_utils._common.command import CommandError
from ..module_utils._common.errors import InputError, NodeError, NotInstalledError
from ..module_utils._common.module import NodeModule
from ..module_utils._ipset.input import parse_prefix, parse_sets
from ..module_utils._ipset.run import converge

ARGUMENTS = {
    "sets": {"type": "list", "elements": "dict", "default": []},
    "prefix": {"type": "str", "default": ""},
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    "save_to": {"type": "path"},
}


def main() -> None:
    module = NodeModule(argument_spec=ARGUMENTS)
    options = module.params
    try:
        wanted = parse_sets(options["sets"], options["state"] == "present")
        prefix = parse_prefix(options["prefix"])
        result = converge(wanted, prefix, options["save_to"] or "", module.check_mode, module._diff)
    except NotInstalledError as error:
        if not module.check_mode:
            module.fail_json(msg=str(error))
        # Something else is going to install it: all that can be known now is that the options are in order.
        module.warn("%s. Nothing more can be predicted" % error)
        module.exit_json(changed=options["state"] == "present", boot=[])
    except (InputError, NodeError, CommandError, OSError) as error:
        module.fail_json(msg=str(error))
    module.exit_json(**result)


if __name__ == "__main__":
    main()
