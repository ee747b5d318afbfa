#!/usr/bin/python
# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: firewalld_zones
short_description: Ports, services, rich rules and sources of firewalld's zones
version_added: 0.1.0
description:
  - Adds any number of values to any number of firewalld's zones, or removes them, in its permanent configuration and in
    the running one. Other values stay.
  - Never reloads firewalld, for a reload loses running rules of others, those of kube-proxy among them.
  - Everything is tried by firewalld's own tool on a copy of its configuration first. What it refuses there is refused
    before anything changes, in check mode too. When a change fails after that, those before it are taken back.
  - With firewalld stopped, only the permanent configuration is changed, which holds from its next start. So it works
    where an image is built. Without firewalld there is nothing to do.
  - Uses C(firewall-cmd) and C(firewall-offline-cmd). Compared with M(ansible.posix.firewalld) it takes all values at
    once, shows a diff, knows a port within a range that is open, and offline it keeps the settings of a zone that it
    does not know.
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
      - The zones, with what is to be in them.
    type: list
    elements: dict
    required: true
    suboptions:
      zone:
        description:
          - The name of a zone that firewalld has.
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
          - Where packets come from that belong to this zone, whatever the interface. An address, a network, a hardware
            address, or V(ipset:NAME). No other zone may have it.
        type: list
        elements: str
        default: []
  prefix:
    description:
      - What the name of the variable that O(zones) comes from begins with, for error messages.
    type: str
    default: ''
  state:
    description:
      - Whether the values are there.
      - With V(absent) exactly these values go. A port within a wider range that is open stays so. Zones stay.
    type: str
    choices: [present, absent]
    default: present
seealso:
  - module: ansible.posix.firewalld
"""

EXAMPLES = r"""
- name: Let MetalLB's speakers hear of each other
  homelab.loadbalancer.firewalld_zones:
    zones:
      - zone: public
        ports: [7946/tcp, 7946/udp]
      - zone: internal
        ports: [7946/tcp, 7946/udp]

- name: Trust the pods
  homelab.loadbalancer.firewalld_zones:
    zones:
      - zone: trusted
        sources: [10.244.0.0/16]
"""

RETURN = r"""
firewalld:
  description: V(running), V(stopped), when only the permanent configuration was looked at, or V(missing) on this node.
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
