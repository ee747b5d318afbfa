#!/usr/bin/python

# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: netns_lab
short_description: Build a lab of hosts and VLANs from network namespaces
version_added: 0.2.0
author:
  - The homelab.loadbalancer authors (@homelab-loadbalancer)
description:
  - Declares a whole network on one Linux machine in one task. Each host is a network namespace. Each VLAN is a bridge
    in a separate namespace, the switch. So the machine's own links, addresses, routes, firewall rules and sysctls stay
    unchanged.
  - The namespace of a host is called NAME-HOST and that of the switch NAME-switch, where NAME is O(name).
  - Repairs everything that differs from the declaration. Undeclared hosts, links, static routes, servers and addresses
    of the lab are removed.
  - Keeps undeclared addresses with the prefix length 32 (IPv4) or 128 (IPv6), because they are virtual addresses that
    something else added. It also keeps links and routes that something else made inside the hosts, and packet filter
    rules.
  - IPv6 addresses are usable at once, because duplicate address detection is off in the lab.
requirements:
  - iproute2
  - root
extends_documentation_fragment:
  - homelab.loadbalancer.attributes
  - homelab.loadbalancer.lab
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
  idempotent:
    support: full
notes:
  - To run tasks in a host, use the connection plugin P(homelab.loadbalancer.netns#connection).
"""

EXAMPLES = r"""
- name: Build a client, a router and a pod
  homelab.loadbalancer.netns_lab:
    name: lab
    hosts:
      - name: a
        links:
          - {name: eth0, vlan: 10, addresses: [192.168.10.10/24, "fd00:10::10/64"]}
        gateways: [192.168.10.1, "fd00:10::1"]
      - name: router
        links:
          - {name: eth0, vlan: 10, addresses: [192.168.10.1/24, "fd00:10::1/64"]}
          - {name: eth1, vlan: 20, addresses: [192.168.20.1/24, "fd00:20::1/64"]}
        sysctls:
          net.ipv4.ip_forward: 1
          net.ipv6.conf.all.forwarding: 1
      - name: b
        links:
          - {name: eth0, vlan: 20, addresses: [192.168.20.20/24, "fd00:20::20/64"]}
        gateways: [192.168.20.1, "fd00:20::1"]
    servers:
      - {host: b, port: 80, text: Hello from Pod B}

- name: Remove the lab
  homelab.loadbalancer.netns_lab:
    name: lab
    state: absent
"""

RETURN = r"""
namespaces:
  description: The name of the network namespace of each declared host.
  type: dict
  returned: success
  sample: {a: lab-a, router: lab-router, b: lab-b}
"""

import os

from ..module_utils._common.command import CommandError
from ..module_utils._common.errors import InputError
from ..module_utils._common.module import Module
from ..module_utils._netns.apply import apply
from ..module_utils._netns.model import parse_lab
from ..module_utils._netns.node import read
from ..module_utils._netns.plan import plan, sysctls_of


def main() -> None:
    module = Module(
        needs_linux="the lab",
        argument_spec={
            "name": {"type": "str", "required": True},
            # The model validates the entries of both lists. Its messages name them by index.
            "hosts": {"type": "list", "elements": "dict", "default": []},
            "servers": {"type": "list", "elements": "dict", "default": []},
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
            "prefix": {"type": "str", "default": ""},
        },
        supports_check_mode=True,
    )
    if module.get_bin_path("ip", opt_dirs=["/usr/sbin", "/sbin"]) is None:
        module.fail_json(msg="the program ip is not installed: install the package iproute2")
    if os.geteuid() != 0:
        module.fail_json(msg="only root can make network namespaces: run Ansible as root, for instance by sudo")
    options = module.params
    try:
        lab = parse_lab(options["name"], options["hosts"], options["servers"], options["prefix"])
        planned = plan(read(lab.name, sysctls_of(lab)), lab, options["state"] == "present", options["prefix"])
        if not module.check_mode:
            apply(planned)
    except (InputError, CommandError, OSError) as error:
        module.fail_json(msg=str(error))
    module.exit_json(
        changed=planned.changed,
        diff={"before": planned.before, "after": planned.after},
        namespaces={host.name: lab.namespace(host.name) for host in lab.hosts},
    )


if __name__ == "__main__":
    main()
