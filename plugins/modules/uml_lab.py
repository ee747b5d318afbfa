#!/usr/bin/python

# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: uml_lab
short_description: Build a lab of user-mode Linux virtual machines
author:
  - The homelab.loadbalancer authors (@homelab-loadbalancer)
description:
  - Declares a whole network of Linux nodes on one machine in one task. Each node is a user-mode Linux kernel with
    systemd and an SSH server. It has what a network namespace lacks, for instance IPVS, dummy links and reboots.
  - A node's kernel runs in the network namespace NAME-NODE, where NAME is O(name). Its links are connected to the links
    of that namespace, and these to the bridges that M(homelab.loadbalancer.netns_lab) makes. The machine's own links,
    addresses, routes, firewall rules and sysctls stay unchanged.
  - SSH reaches the C(mgmt) links of the nodes from the namespace NAME-admin. Log in with the file C(ssh_config) in
    O(folder).
  - A node that is not running is started. A node with a changed declaration is shut down and started again, and keeps
    its disk unless O(image) changed. Undeclared nodes are removed with their disks.
requirements:
  - iproute2, netcat-openbsd, openssh-client, user-mode-linux
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
options:
  folder:
    description:
      - A folder on this machine for the lab's disks, keys and consoles. Nothing else may use it.
    type: path
    required: true
  image:
    description:
      - The ext4 file system that the nodes start from, as C(tools/node-image) builds it. Required for
        O(state=present).
    type: path
    default: ''
  hosts:
    description:
      - All nodes of the lab. Each has a link called C(mgmt) with an address. C(memory) is its memory in MiB, by default
        256. The names V(switch) and V(admin) are reserved.
  timeout:
    description:
      - Seconds in which all nodes must answer SSH.
    type: int
    default: 180
"""

EXAMPLES = r"""
- name: Boot a router and a client
  homelab.loadbalancer.uml_lab:
    name: nodes
    folder: /var/lib/homelab-loadbalancer/nodes
    image: "{{ image }}"
    hosts:
      - name: director
        memory: 512
        links:
          - {name: mgmt, vlan: 1, addresses: [172.31.0.11/24]}
          - {name: eth0, vlan: 10, addresses: [192.168.10.1/24]}
        sysctls:
          net.ipv4.ip_forward: 1
      - name: client
        links:
          - {name: mgmt, vlan: 1, addresses: [172.31.0.14/24]}
          - {name: eth0, vlan: 10, addresses: [192.168.10.10/24]}
        gateways: [192.168.10.1]

- name: Remove the lab
  homelab.loadbalancer.uml_lab:
    name: nodes
    folder: /var/lib/homelab-loadbalancer/nodes
    state: absent
"""

RETURN = r"""
ssh_config:
  description: The configuration file for C(ssh -F FILE NODE).
  type: str
  returned: success
  sample: /var/lib/homelab-loadbalancer/nodes/ssh_config
addresses:
  description: The address of each node for SSH.
  type: dict
  returned: success
  sample: {director: 172.31.0.11, client: 172.31.0.14}
"""

import os

from ..module_utils._common.command import CommandError
from ..module_utils._common.errors import InputError
from ..module_utils._common.module import Module
from ..module_utils._uml.model import parse_nodes
from ..module_utils._uml.node import apply, preflight, read, wait
from ..module_utils._uml.plan import plan


def main() -> None:
    module = Module(
        needs_linux="the lab",
        argument_spec={
            "name": {"type": "str", "required": True},
            "folder": {"type": "path", "required": True},
            "image": {"type": "path", "default": ""},
            # The model validates the entries of both lists. Its messages name them by index.
            "hosts": {"type": "list", "elements": "dict", "default": []},
            "servers": {"type": "list", "elements": "dict", "default": []},
            "timeout": {"type": "int", "default": 180},
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
    present = options["state"] == "present"
    keys = ("name", "folder", "image", "hosts", "servers")
    try:
        lab = parse_nodes(*(options[key] for key in keys), prefix=options["prefix"])
        planned = plan(read(lab), lab, present, options["prefix"])
        preflight(lab, planned)
        if not module.check_mode:
            apply(lab, planned)
            if present:
                wait(lab, options["timeout"])
    except (InputError, CommandError, OSError) as error:
        module.fail_json(msg=str(error))
    module.exit_json(
        changed=planned.changed,
        diff={"before": planned.before, "after": planned.after},
        ssh_config=lab.ssh_config,
        addresses={node.name: node.address for node in lab.nodes},
    )


if __name__ == "__main__":
    main()
