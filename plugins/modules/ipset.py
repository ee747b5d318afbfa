#!/usr/bin/python
# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: ipset
short_description: Own ipsets with their whole membership
version_added: 0.2.0
description:
  - Declares sets of every type that C(ipset) supports, with their options and all their entries.
  - All changes take effect, or none does. A set in use by a rule is never empty or missing, not even for a moment. For
    a small change, the module adds and removes single entries. For a large change or a changed option, it fills a new
    set and swaps it with the existing one.
  - Entries are written as for C(ipset add). The module compares them in the kernel's own spelling, which it gets from
    C(ipset). It fails on an invalid entry or option before it changes the node, in check mode too.
  - The remaining time and the counters of an entry are not part of the declared state. They are kept for entries that
    stay. The next run adds an expired entry again.
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
      - Shows each changed set in the format of C(ipset save), sorted, before and after. It omits values that change by
        themselves, and C(hashsize) and C(initval) unless they are declared.
  idempotent:
    support: full
options:
  sets:
    description:
      - The sets. Each has a C(name) of at most 31 characters and a C(type), such as V(hash:ip,port), V(bitmap:port) or
        V(list:set).
      - C(entries) is a list of entries in the syntax of C(ipset add), with options if needed, such as
        V(192.0.2.0/24 nomatch comment "the office"). Host names are refused, because their addresses can change.
      - C(entries_file) is a file on the node with more entries, one in each line. Lines that begin with C(#) are
        ignored. For thousands of entries, a file avoids the time that Ansible takes for a long list.
      - In a V(list:set), the order of the entries matters.
      - C(append=true) is for a set that other tasks or programs fill too. O(state=present) adds the declared entries,
        O(state=absent) removes them. Other entries stay, and so do the options of an existing set.
      - Create options are C(family) (V(ipv4) or V(ipv6)), C(timeout) in seconds, C(comment), C(counters), C(skbinfo),
        C(forceadd) (V(true) or V(false) each), C(hashsize), C(maxelem), C(size), C(range), C(netmask), C(bitmask),
        C(markmask), C(bucketsize) and C(initval), each for the types for which C(ipset) supports it.
      - A changed option is also applied with a swap. A changed type or family cannot be swapped. It is refused while a
        rule or a list uses the set.
    type: list
    elements: dict
    default: []
  prefix:
    description:
      - Prefix of the names of owned sets. Sets with this prefix that are not listed in O(sets) are destroyed.
      - If empty, only listed sets are changed.
    type: str
    default: ''
  state:
    description:
      - V(absent) destroys the listed sets and those with the O(prefix). Entries of O(sets) then need only a C(name).
      - A set cannot be destroyed while a rule or a list uses it. The task then fails and names both.
      - The state applies to the whole task, so that changing this option alone removes everything that the task
        declares. To remove one of several sets, remove it from O(sets) and use a O(prefix).
    type: str
    choices: [present, absent]
    default: present
  save_to:
    description:
      - A file on the node that stores the declared sets for C(ipset restore) at boot. Its folder must exist. The module
        writes the file if it differs, and removes it if there is nothing to store. RV(boot) is the command that loads
        it.
    type: path
seealso:
  - module: homelab.loadbalancer.iptables_chains
"""

EXAMPLES = r"""
- name: Declare two sets, and destroy other sets with the prefix LB-
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

- name: Ensure that an address is in a shared set
  homelab.loadbalancer.ipset:
    sets:
      - {name: monitoring, type: "hash:ip", append: true, entries: [192.0.2.7]}

- name: Destroy all sets with the prefix LB-
  homelab.loadbalancer.ipset:
    prefix: LB-
    state: absent
"""

RETURN = r"""
boot:
  description:
    - The command that restores the sets in O(save_to), at boot or now, in the syntax of C(ExecStart) of a systemd unit.
      Empty if there is no such file.
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
        # In check mode, ipset may be installed by an earlier task of a real run. Only the options can be checked now.
        module.warn("%s. Nothing more can be predicted" % error)
        module.exit_json(changed=options["state"] == "present", boot=[])
    except (InputError, NodeError, CommandError, OSError) as error:
        module.fail_json(msg=str(error))
    module.exit_json(**result)


if __name__ == "__main__":
    main()
