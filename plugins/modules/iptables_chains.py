#!/usr/bin/python
# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: iptables_chains
short_description: Own iptables chains with their whole, ordered content
version_added: 0.2.0
description:
  - Declares all chains with names that begin with O(prefix), with their rules, and the jumps to them from other
    chains. One task covers all tables of one address family.
  - All changes take effect in one transaction, or none does. Other rules, chains and policies stay unchanged.
  - Rules are written as on the command line. The module compares them in the kernel's own spelling, which it gets from
    iptables. It fails on an invalid rule before it changes the node, in check mode too.
  - Works with the nft and the legacy backend. RV(iptables) says which one was used. The module warns if the other
    backend holds rules too.
author:
  - The homelab.loadbalancer authors (@homelab-loadbalancer)
requirements:
  - iptables 1.8.0 or newer on the node
  - ipset on the node, if a rule matches a set
extends_documentation_fragment:
  - homelab.loadbalancer.attributes
  - homelab.loadbalancer.iptables
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
    details:
      - Shows each changed chain in the format of C(iptables-save), before and after.
  idempotent:
    support: full
options:
  family:
    description:
      - The address family of the rules. V(ipv4) uses C(iptables), V(ipv6) uses C(ip6tables).
    type: str
    choices: [ipv4, ipv6]
    default: ipv4
  prefix:
    description:
      - Prefix of the names of all owned chains, in every table. Undeclared owned chains are removed.
      - If any other rule still jumps to a chain that is to be removed, the task fails and names that rule.
    type: str
    required: true
  tables:
    description:
      - The declared chains and jumps of each table, a mapping with the name of the table as the key (V(raw),
        V(mangle), V(nat), V(filter) or V(security)). Each value is a mapping of C(chains) and C(jumps).
      - C(chains) maps the name of a chain to its rules, in order, without C(-A) and the chain's name. An empty list
        declares an empty chain. Quotes and backslashes have the same meaning as in a shell. V($) and V(*) have no
        special meaning.
      - C(jumps) maps the name of another chain, usually a built-in one, to a list of rules that jump from it to a chain
        under C(chains). The place of a jump is C(position=first) (the default) or C(position=last), or C(before) or
        C(after) the rule that jumps to the given chain or target.
      - Undeclared jumps to owned chains are removed from the built-in chains and from the chains named under C(jumps).
    type: dict
    default: {}
  state:
    description:
      - V(absent) removes all owned chains and all jumps to them, whatever O(tables) declares. Jumps are found only in
        the built-in chains and in the chains named under C(jumps), so keep naming the latter.
    type: str
    choices: [present, absent]
    default: present
  save_to:
    description:
      - A file on the node that stores the declared state for C(iptables-restore --noflush) at boot. Its folder must
        exist. The module writes the file if it differs, and removes it with O(state=absent). It does not configure the
        boot to load the file; use RV(boot) for that.
      - The rules in the file are in the kernel's own spelling, with addresses in place of host names. So a boot needs
        no name resolution.
    type: path
seealso:
  - module: homelab.loadbalancer.iptables_services
"""

EXAMPLES = r"""
- name: Block a network before Docker's rules
  homelab.loadbalancer.iptables_chains:
    prefix: SITE-
    tables:
      filter:
        chains:
          SITE-FORWARD:
            - -s 203.0.113.0/24 -j DROP
            - -p tcp --dport 25 -j REJECT
        jumps:
          FORWARD:
            - rule: -j SITE-FORWARD
              before: DOCKER-USER

- name: Forward a port
  homelab.loadbalancer.iptables_chains:
    prefix: WEB-
    tables:
      nat:
        chains:
          WEB-IN:
            - -d 192.168.10.100 -p tcp --dport 80 -j DNAT --to-destination 192.168.20.20:80
          WEB-OUT:
            - -d 192.168.20.20 -p tcp --dport 80 -j MASQUERADE
        jumps:
          PREROUTING: [{rule: -j WEB-IN}]
          POSTROUTING: [{rule: -j WEB-OUT, position: last}]

- name: Remove all chains with this prefix, and the jumps to them
  homelab.loadbalancer.iptables_chains:
    prefix: WEB-
    state: absent
"""

RETURN = r"""
iptables:
  description: The command that was used, with its version and backend.
  returned: success
  type: list
  elements: str
  sample: ["iptables v1.8.9 (nf_tables)"]
backend:
  description: The backend that was used.
  returned: success
  type: str
  sample: nft
boot:
  description:
    - Commands that restore the state in O(save_to) at boot, in the syntax of C(ExecStart) of a systemd unit. Commands
      that begin with a hyphen may fail. They remove jumps that already exist, and create chains outside O(prefix) that
      hold jumps, if they do not exist yet.
  returned: success
  type: list
  elements: str
  sample:
    - -iptables --wait 30 -t nat -D PREROUTING -j WEB-IN
    - iptables-restore --noflush --wait 30 /etc/site/rules.v4
"""

from typing import Any

from ..module_utils._common.module import NodeModule
from ..module_utils._iptables.change import Declaration
from ..module_utils._iptables.input import parse_prefix, parse_tables
from ..module_utils._iptables.node import find_iptables
from ..module_utils._iptables.rules import Wanted, WantedTable
from ..module_utils._iptables.run import COMMON_ARGUMENTS, run_module

ARGUMENTS = {
    "family": {"type": "str", "choices": ["ipv4", "ipv6"], "default": "ipv4"},
    "prefix": {"type": "str", "required": True},
    "tables": {"type": "dict", "default": {}},
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    "save_to": {"type": "path"},
    **COMMON_ARGUMENTS,
}


def declare(options: dict[str, Any]) -> Declaration:
    """The declared state of one family."""
    prefix = parse_prefix(options["prefix"])
    wanted = parse_tables(options["tables"], prefix)
    present = options["state"] == "present"
    tool = find_iptables(options["family"], options["backend"], options["wait"], prefix, present)
    return Declaration(tool, prefix, wanted if present else _without(wanted))


def _without(wanted: Wanted) -> Wanted:
    """No owned chain, and no jump to one in the other chains that `wanted` names."""
    return {name: WantedTable({}, {chain: [] for chain in content.jumps}) for name, content in wanted.items()}


def main() -> None:
    run_module(NodeModule(argument_spec=ARGUMENTS), declare)


if __name__ == "__main__":
    main()
