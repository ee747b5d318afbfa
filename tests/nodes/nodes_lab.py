# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The test session's own lab of nodes, from the project's inventories and driven by the project's playbooks."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any, Iterable

from ansible_collections.homelab.loadbalancer.plugins.module_utils._common.command import Completed, run
from ansible_collections.homelab.loadbalancer.plugins.module_utils._netns.node import processes
from ansible_collections.homelab.loadbalancer.plugins.module_utils._uml.model import parse_nodes
from ansible_collections.homelab.loadbalancer.plugins.module_utils._uml.node import apply, read
from ansible_collections.homelab.loadbalancer.plugins.module_utils._uml.plan import plan
from ansible_collections.homelab.loadbalancer.tests.integration.lab import ansible_playbook

FOLDER = "/var/lib/homelab-loadbalancer/"
CURL = "curl --silent --show-error --max-time 10 --header 'Connection: close' "


class NodesLab:
    """A lab with a name of its own. Playbooks are run from the repository, which must be the working folder."""

    def __init__(self) -> None:
        self.name = "ntt%d" % os.getpid()
        self.folder = FOLDER + self.name
        # Of the nodes that run; empty when there are none.
        self.inventory = ""

    def boot(self, inventory: str) -> None:
        """Have the nodes of this inventory run."""
        if self.inventory != "inventories/" + inventory:
            self.inventory = "inventories/" + inventory
            self.playbook("nodes")

    def playbook(self, names: str, *options: str, rc: int = 0, **variables: Any) -> str:
        """Run some of the project's playbooks, in one run, and return the output."""
        return ansible_playbook(self.inventory, names, options, rc, {"node_lab_name": self.name, **variables})

    def ssh(self, host: str, command: str) -> str:
        """The output of a command on a node, where it must succeed."""
        return run(["ssh", "-F", self.folder + "/ssh_config", host, command]).out

    def try_ssh(self, host: str, command: str) -> Completed:
        """Run a command on a node, where it may fail."""
        return run(["ssh", "-F", self.folder + "/ssh_config", host, command], check=False)

    def boot_ids(self, hosts: Iterable[str]) -> dict[str, str]:
        """The boot ID of each host; every boot makes a new one."""
        return {host: self.ssh(host, "cat /proc/sys/kernel/random/boot_id") for host in hosts}

    def kernel(self, host: str) -> int:
        """The first process of a node's kernel."""
        namespace = "%s-%s" % (self.name, host)
        return min(pid for pid in processes([namespace])[namespace] if os.getsid(pid) == pid)

    def kill(self, host: str) -> None:
        """As if the node's plug were pulled."""
        os.kill(self.kernel(host), signal.SIGKILL)

    def remove(self) -> None:
        """Without Ansible, and whatever state the lab is in."""
        lab = parse_nodes(self.name, self.folder, "", [], [])
        apply(lab, plan(read(lab), lab, present=False))
        self.inventory = ""

    def traces(self) -> list[str]:
        """Everything on this machine that belongs to the lab: namespaces, processes, links, mounts, files."""
        listed = [
            *run(["ip", "netns", "list"]).out.splitlines(),
            *run(["ip", "-o", "link"]).out.splitlines(),
            # Without those that have ended, and only wait for their parent.
            *[line for line in run(["ps", "-eo", "stat,args"]).out.splitlines() if not line.startswith("Z")],
            *Path("/proc/self/mountinfo").read_text().splitlines(),
            *(map(str, Path(FOLDER).glob("*")) if os.path.isdir(FOLDER) else ()),
        ]
        return [line for line in listed if self.name in line]


def own_network() -> str:
    """The machine's own links, addresses, routes and rules."""
    commands = ("ip -brief link", "ip -brief address", "ip route", "ip -6 route", "nft --stateless list ruleset")
    return "\n".join(run(command.split()).out for command in commands)
