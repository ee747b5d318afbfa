#!/usr/bin/python
# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: iptables_chains
short_description: Own iptables chains with their whole, ordered content
version_added: 0.1.0
description:
  - Declares every chain whose name begins with O(prefix), rule by rule, and the jumps that lead into them from
    chains of others, over all tables of one family.
  - All of it lands in one transaction or none of it does. Rules, chains and policies of others stay as they are.
  - Rules are written as for the command line, and compared in the kernel's own spelling, which iptables itself
    gives; rules that it refuses are refused before the node is touched, in check mode too.
  - Works with the nft and the legacy backend. RV(iptables) says which one was used, and there is a warning when the
    other one holds rules too.
author:
  - The homelab.loadbalancer authors (@homelab-loadbalancer)
requirements:
  - iptables 1.8.0 or newer on the node
  - ipset on the node, for rules that match a set
extends_documentation_fragment:
  - homelab.loadbalancer.attributes
  - homelab.loadbalancer.iptables
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
    details:
      - Shows each chain that changes as C(iptables-save) would, before and after.
  idempotent:
    support: full
options:
  family:
    description:
      - The family of the rules, so that V(ipv4) means C(iptables) and V(ipv6) means C(ip6tables).
    type: str
    choices: [ipv4, ipv6]
    default: ipv4
  prefix:
    description:
      - What the names of all owned chains begin with, in every table. Owned chains that are not declared are removed.
      - A chain that a rule of somebody else jumps to is not removed, and the task fails and names that rule.
    type: str
    required: true
  tables:
    description:
      - What to own, by the name of the table (V(raw), V(mangle), V(nat), V(filter), V(security)).
      - C(chains) maps the name of a chain to its rules, in order, without C(-A) and the chain's name. An empty list
        is an empty chain. Quotes and backslashes mean in a rule what they mean to a shell; V($) and V(*) stand for
        themselves.
      - C(jumps) maps the name of a chain of somebody else, most often a built-in one, to a list of rules that jump
        from there to a chain under C(chains). A jump stands C(position=first) (the default) or C(position=last), or
        C(before) or C(after) the rule that jumps to the chain or target named there.
      - In the built-in chains, and in those named under C(jumps), jumps to owned chains that are not declared are
        removed.
    type: dict
    default: {}
  state:
    description:
      - With V(absent), no owned chain is left, nor a jump to one, whatever O(tables) declares. Name the chains of
        others that are not built in under C(jumps) all the same, for jumps are looked for there only.
    type: str
    choices: [present, absent]
    default: present
  save_to:
    description:
      - A file on the node that keeps the declared state for C(iptables-restore --noflush) at boot. Its folder must
        exist. Written when it differs, removed with O(state=absent). Ansible alone does not make a boot use it.
      - It holds the rules as the kernel gave them back when they were tried, so that a boot needs no resolver; a host
        name is kept as the addresses it had.
    type: path
seealso:
  - module: homelab.loadbalancer.iptables_services
"""

EXAMPLES = r"""
- name: Block a network, before Docker's own rules
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

- name: Forward a port, by hand
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

- name: Leave nothing of it
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
    - Commands by which a boot brings the state in O(save_to) back, as C(ExecStart) of a systemd unit takes them. Those
      with a hyphen before them may fail; they take out jumps that are there already, and make chains of others
      that hold jumps, if they are not there yet.
  returned: success
  type: list
  elements: str
  sample:
    - -iptables --wait 30 -t nat -D PREROUTING -j WEB-IN
    - iptables-restore --noflush --wait 30 /etc/site/rules.v4
"""

from typing import Any

from ..module_utils._common.module import NodeModule
from ..module_utils._iptables.input import parse_prefix, parse_tables
from ..module_utils._iptables.node import find_iptables
from ..module_utils._iptables.rules import Wanted, WantedTable
from ..module_utils._iptables.run import COMMON_ARGUMENTS, Declaration, run_module

ARGUMENTS = {
    "family": {"type": "str", "choices": ["ipv4", "ipv6"], "default": "ipv4"},
    "prefix": {"type": "str", "required": True},
    "tables": {"type": "dict", "default": {}},
    "save_to": {"type": "path"},
    **COMMON_ARGUMENTS,
}


def declare(options: dict[str, Any]) -> list[Declaration]:
    """The wanted state of one family."""
    prefix = parse_prefix(options["prefix"])
    wanted = parse_tables(options["tables"], prefix)
    present = options["state"] == "present"
    tool = find_iptables(options["family"], options["backend"], options["wait"], prefix, present)
    return [Declaration(tool, prefix, wanted if present else _without(wanted), options["save_to"] or "")]


def _without(wanted: Wanted) -> Wanted:
    """Nothing of ours, and no jump in the chains of others that are named."""
    return {name: WantedTable({}, {chain: [] for chain in content.jumps}) for name, content in wanted.items()}


def main() -> None:
    run_module(NodeModule(argument_spec=ARGUMENTS), declare)


if __name__ == "__main__":
    main()
