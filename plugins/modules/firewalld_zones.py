#!/usr/bin/python
# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: firewalld_zones
short_description: Ports, services, rich rules and sources of firewalld's zones
version_added: 0.2.0
description:
  - Adds values to any number of firewalld's zones, or removes them, in the permanent and the running configuration.
    Other values stay unchanged.
  - Never reloads firewalld, because a reload removes running rules of other programs such as kube-proxy.
  - Before changing anything, the module tries the new values with firewalld's own tool on a copy of its configuration.
    If the tool rejects a value, the task fails, in check mode too. If a change fails later, the earlier changes are
    undone.
  - If firewalld is stopped, the module changes only the permanent configuration, which takes effect when firewalld
    starts. So the module also works while an image is built. Without firewalld, it does nothing.
  - Uses C(firewall-cmd) and C(firewall-offline-cmd). In contrast to M(ansible.posix.firewalld), it takes all values at
    once, shows a diff, recognises a port within an open range, and, if firewalld is stopped, keeps settings of a zone
    that it does not know.
author:
  - The homelab.loadbalancer authors (@homelab-loadbalancer)
extends_documentation_fragment:
  - homelab.loadbalancer.attributes
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
  idempotent:
    support: full
options:
  zones:
    description:
      - The zones, with their values.
    type: list
    elements: dict
    required: true
    suboptions:
      zone:
        description:
          - The name of an existing zone.
        type: str
        required: true
      ports:
        description:
          - Ports to open, such as V(7946/tcp) or V(30000-32767/udp).
        type: list
        elements: str
        default: []
      services:
        description:
          - Services to allow, by their names in firewalld.
        type: list
        elements: str
        default: []
      rich_rules:
        description:
          - Rules in firewalld's rich language, see C(firewalld.richlanguage(5\)).
        type: list
        elements: str
        default: []
      sources:
        description:
          - Sources of packets that belong to this zone, whatever their interface. A source is an address, a network, a
            hardware address, or V(ipset:NAME). It can belong to one zone only.
        type: list
        elements: str
        default: []
  prefix:
    description:
      - Prefix of O(zones) in error messages. A role sets it to the prefix of its variables.
    type: str
    default: ''
  state:
    description:
      - V(present) adds the values to the zones.
      - V(absent) removes exactly these values. A port within a wider open range stays open. Zones are never removed.
    type: str
    choices: [present, absent]
    default: present
seealso:
  - module: ansible.posix.firewalld
"""

EXAMPLES = r"""
- name: Open the ports that MetalLB's speakers use among each other
  homelab.loadbalancer.firewalld_zones:
    zones:
      - zone: public
        ports: [7946/tcp, 7946/udp]
      - zone: internal
        ports: [7946/tcp, 7946/udp]

- name: Accept all packets from pods
  homelab.loadbalancer.firewalld_zones:
    zones:
      - zone: trusted
        sources: [10.244.0.0/16]
"""

RETURN = r"""
firewalld:
  description: V(running), V(stopped) (only the permanent configuration was managed), or V(missing) on this node.
  returned: success
  type: str
  sample: running
"""

from ..module_utils._common.command import CommandError
from ..module_utils._common.errors import InputError
from ..module_utils._common.module import NodeModule
from ..module_utils._firewalld.node import converge
from ..module_utils._firewalld.plan import KINDS


def main() -> None:
    values = {kind: {"type": "list", "elements": "str", "default": []} for kind in KINDS}
    module = NodeModule(
        argument_spec={
            "zones": {
                "type": "list",
                "elements": "dict",
                "required": True,
                "options": {"zone": {"type": "str", "required": True}, **values},
            },
            "prefix": {"type": "str", "default": ""},
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
        },
    )
    try:
        result = converge(
            module.params["zones"],
            module.params["state"] == "present",
            module.check_mode,
            module.params["prefix"] + "zones",
        )
    except PermissionError as error:
        module.fail_json(msg="changing firewalld needs root on the node (become: true): %s" % error)
    except (InputError, CommandError, OSError) as error:
        module.fail_json(msg=str(error))
    module.exit_json(**result)


if __name__ == "__main__":
    main()
