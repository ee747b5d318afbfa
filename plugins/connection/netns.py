# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: netns
short_description: Run tasks inside a network namespace of the control node
version_added: 0.2.0
author:
  - The homelab.loadbalancer authors (@homelab-loadbalancer)
description:
  - Runs every task in a named network namespace of the machine that Ansible itself runs on, as C(ip netns exec) does.
  - The task sees the links, addresses, routes, firewall rules, network sysctls and C(/sys/class/net) of that
    namespace. The files C(/etc/netns/NAME/*) replace those in C(/etc). All other files and all processes are the
    machine's own.
  - In this way, each namespace of the role P(homelab.loadbalancer.vlan_lab#role) becomes a host of the inventory.
notes:
  - Ansible itself must run as root, because only root may enter a network namespace. O(ignore:become) changes the user
    inside the namespace.
  - The package iproute2 must be installed.
options:
  namespace:
    description:
      - Name of the network namespace, as C(ip netns list) shows it.
    type: string
    default: inventory_hostname
    vars:
      - name: inventory_hostname
      - name: ansible_netns_name
  prefix:
    description:
      - Prefix of the name of the namespace, before O(namespace). It is a separate option because C(inventory_hostname)
        in a template of O(namespace) would be the wrong host in a delegated task.
    type: string
    default: ''
    vars:
      - name: ansible_netns_prefix
  become_success_timeout:
    description:
      - Seconds to wait for become to succeed.
    type: int
    default: 10
    vars:
      - name: ansible_netns_become_success_timeout
  become_strip_preamble:
    description:
      - Whether to strip the output of become that precedes the command's output.
    type: bool
    default: true
    vars:
      - name: ansible_netns_become_strip_preamble
extends_documentation_fragment:
  - connection_pipelining
"""

EXAMPLES = r"""
# Inventory: the host router is the network namespace lab-router.
lab:
  hosts:
    router:
  vars:
    ansible_connection: homelab.loadbalancer.netns
    ansible_netns_prefix: lab-
    # All namespaces share the control node's files, so the interpreter need not be discovered.
    ansible_python_interpreter: "{{ ansible_playbook_python }}"
"""

import os
import re
import shlex
import shutil
from typing import Any

from ansible.errors import AnsibleConnectionFailure
from ansible.plugins.connection.local import Connection as LocalConnection

RUN_DIR = "/run/netns"
# Safe as an argument of `ip netns exec`: never an option or a path.
NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.:@+-]*")


def find_ip() -> str:
    """The path of the program ip, which is often missing from a normal user's PATH."""
    path = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin"])
    found = shutil.which("ip", path=path)
    if found is None:
        raise AnsibleConnectionFailure("the program ip is not installed on the control node: install iproute2")
    return found


def check_namespace(name: str) -> None:
    """Raise an error with a remedy unless the namespace can be entered."""
    if not NAME.fullmatch(name):
        raise AnsibleConnectionFailure(
            "%r is not the name of a network namespace: set ansible_netns_name to one that `ip netns list` shows" % name
        )
    if os.geteuid() != 0:
        raise AnsibleConnectionFailure(
            "only root may enter network namespace %r: run Ansible as root, for instance with sudo" % name
        )
    try:
        mounted = os.stat(os.path.join(RUN_DIR, name)).st_dev != os.stat(RUN_DIR).st_dev
    except FileNotFoundError:
        mounted = False
    if not mounted:
        # A plain file is left if `ip netns add` was interrupted, or if its mount is not visible from here.
        raise AnsibleConnectionFailure(
            "network namespace %r does not exist: create it with `ip netns add %s`, or create the whole lab with the "
            "playbook homelab.loadbalancer.lab (playbooks/lab.yml)" % (name, name)
        )


class Connection(LocalConnection):  # type: ignore[misc] # ansible-core carries no types
    """The local connection, except that commands run inside the namespace.

    Files are copied as by the local connection: a network namespace has no file system of its own.
    """

    transport = "homelab.loadbalancer.netns"
    has_pipelining = True

    def network_namespace(self) -> str:
        """The path of the namespace, for code in Ansible's own process that enters it."""
        name = "%s%s" % (self.get_option("prefix"), self.get_option("namespace"))
        check_namespace(name)
        return os.path.join(RUN_DIR, name)

    def exec_command(self, cmd: str, in_data: bytes | None = None, sudoable: bool = True) -> tuple[int, bytes, bytes]:
        """Run a shell command in the namespace; return its exit code, output and error output."""
        name = "%s%s" % (self.get_option("prefix"), self.get_option("namespace"))
        check_namespace(name)
        # The local connection's shell runs outside; a second shell inside runs the unchanged command.
        entered = [find_ip(), "netns", "exec", name, "/bin/sh", "-c", cmd]
        result: Any = super().exec_command(shlex.join(entered), in_data=in_data, sudoable=sudoable)
        return result  # type: ignore[no-any-return]
