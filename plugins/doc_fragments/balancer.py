# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Options of the modules for load-balanced services that concern the rest of the node, whatever the data plane."""

from __future__ import annotations


class ModuleDocFragment:
    """Used as `extends_documentation_fragment: homelab.loadbalancer.balancer`."""

    DOCUMENTATION = r"""
options:
  state:
    description:
      - V(absent) removes everything, whatever O(services) declares. Kernel modules and parameters stay.
    type: str
    choices: [present, absent]
    default: present
  interface:
    description:
      - The link that gets the services' addresses. Without it, the module manages no addresses.
      - It must exist, unless O(dummy=true) or addresses are only removed.
      - An undeclared address is removed before its rules, and a new one is added after them. So clients never reach the
        node's own servers at it.
    type: str
  addresses:
    description:
      - With V(present), the services' addresses are on O(interface), and all others with the mark of O(metric) are
        removed from every link of the node.
      - With V(absent), all addresses with that mark are removed.
    type: str
    choices: [present, absent]
    default: present
  metric:
    description:
      - The number that marks an address as added by this declaration, as the option
        O(homelab.loadbalancer.virtual_address#module:metric) describes it.
    type: int
    default: 27746
  probe:
    description:
      - Whether to refuse a new address if another host on the link answers for it.
    type: bool
    default: true
  dummy:
    description:
      - Whether O(interface) is a dummy link. The module creates it if it is missing, and removes it with its last
        address.
    type: bool
    default: false
  forwarding:
    description:
      - Whether to enable packet forwarding (C(net.ipv4.ip_forward), C(net.ipv6.conf.all.forwarding)) for the address
        families of the services. O(sysctls) can override the parameters.
    type: bool
    default: false
  sysctls:
    description:
      - Kernel parameters to set, a mapping of names to values, as the option
        O(homelab.loadbalancer.sysctls#module:values) describes it.
    type: dict
    default: {}
  kernel_modules:
    description:
      - Kernel modules to load first. A container uses the kernel of its host, where they must be loaded.
    type: list
    elements: str
    default: []
  boot_path:
    description:
      - The folder for the state that a boot restores. It must belong to this declaration, or not exist yet. Without it,
        the module neither writes nor removes files.
    type: path
  boot:
    description:
      - With V(present), systemd units and the files in O(boot_path) restore everything at boot, the rules before any
        interface is configured. It is refused in a network namespace with a name, where files and units are those of
        the machine.
      - With V(absent), the units and files are removed.
    type: str
    choices: [present, absent]
    default: present
  boot_name:
    description:
      - The beginning of the names of the systemd units. Each declaration of a node needs its own.
    type: str
    default: homelab-loadbalancer
  verify:
    description:
      - Whether to read everything back after a change, and to fail if it differs from the declaration.
    type: bool
    default: true
  variables:
    description:
      - The names of options in error messages, a mapping of option names to variable names. Roles set it, so that
        messages name their variables.
    type: dict
    default: {}
"""
