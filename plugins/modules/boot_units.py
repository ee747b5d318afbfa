#!/usr/bin/python
# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: boot_units
short_description: Systemd units that restore a load balancer at boot
version_added: 0.2.0
description:
  - Makes a boot load kernel modules, rules, kernel parameters and addresses before any interface is configured, and add
    the addresses once more when the network is online.
  - The units do not run when they are written. The modules that return O(commands) and O(addresses) have done by then
    what a boot does.
  - A node may have several declarations, such as its own services and those of a cluster. Each has its own O(name) and
    O(path).
author:
  - The homelab.loadbalancer authors (@homelab-loadbalancer)
requirements:
  - systemd on the node
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
  state:
    description:
      - With V(present) a boot restores the declaration. It is refused in a network namespace with a name, where files
        and units are those of the machine.
      - With V(absent) the units and our files are removed, and the folder O(path) if nothing else is in it.
    type: str
    choices: [present, absent]
    default: present
  name:
    description: The beginning of the names of the units, and the name of the file with the kernel modules.
    type: str
    default: homelab-loadbalancer
  path:
    description:
      - The folder for the files that the units read. Its file C(owner) names the declaration that it belongs to.
      - A folder that exists without that file, or belongs to another declaration, is refused.
    type: path
    default: /etc/homelab-loadbalancer
  kernel_modules:
    description: Kernel modules to load at boot.
    type: list
    elements: str
    default: []
  commands:
    description: Commands that load the rules, in order, as C(ExecStart) of a systemd unit takes them.
    type: list
    elements: str
    default: []
  addresses:
    description: Lines for C(ip -batch) that add the addresses.
    type: list
    elements: str
    default: []
  sysctls:
    description: Kernel parameters to set after the rules have been loaded, a mapping of names to values.
    type: dict
    default: {}
seealso:
  - module: homelab.loadbalancer.iptables_chains
  - module: homelab.loadbalancer.virtual_address
"""

EXAMPLES = r"""
- name: Declare rules, and keep them in a file
  homelab.loadbalancer.iptables_chains:
    prefix: SITE-
    tables: "{{ site_tables }}"
    save_to: /etc/site.rules
  register: rules

- name: Put a virtual address on a link
  homelab.loadbalancer.virtual_address:
    interface: eth0
    addresses: [192.168.10.100]
  register: addresses

- name: Restore both at boot
  homelab.loadbalancer.boot_units:
    name: site
    path: /etc/site-boot
    commands: "{{ rules.boot }}"
    addresses: "{{ addresses.batch }}"
    sysctls: {net.ipv4.ip_forward: 1}
"""

RETURN = r"""
units:
  description: The names of the units.
  returned: success
  type: list
  elements: str
  sample: [homelab-loadbalancer-rules.service, homelab-loadbalancer-addresses.service]
"""

from ..module_utils._boot.run import converge
from ..module_utils._common.command import CommandError
from ..module_utils._common.errors import InputError, NodeError
from ..module_utils._common.module import NodeModule

ARGUMENTS = {
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    "name": {"type": "str", "default": "homelab-loadbalancer"},
    "path": {"type": "path", "default": "/etc/homelab-loadbalancer"},
    "kernel_modules": {"type": "list", "elements": "str", "default": []},
    "commands": {"type": "list", "elements": "str", "default": []},
    "addresses": {"type": "list", "elements": "str", "default": []},
    "sysctls": {"type": "dict", "default": {}},
}


def main() -> None:
    module = NodeModule(argument_spec=ARGUMENTS)
    try:
        result = converge(module.params, module.check_mode)
    except (InputError, NodeError, CommandError, OSError) as error:
        module.fail_json(msg=str(error))
    module.exit_json(**result)


if __name__ == "__main__":
    main()
