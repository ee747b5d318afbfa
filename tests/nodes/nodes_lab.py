# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A lab of nodes of a test's own, from the project's inventory, driven by the project's playbooks."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from ansible_collections.homelab.loadbalancer.plugins.module_utils._common.command import Completed, run
from ansible_collections.homelab.loadbalancer.plugins.module_utils._netns.node import processes
from ansible_collections.homelab.loadbalancer.plugins.module_utils._uml.model import parse_nodes
from ansible_collections.homelab.loadbalancer.plugins.module_utils._uml.node import apply, read
from ansible_collections.homelab.loadbalancer.plugins.module_utils._uml.plan import plan
from ansible_collections.homelab.loadbalancer.tests.integration.lab import ENVIRONMENT, ansible_playbook

FOLDER = "/var/lib/homelab-loadbalancer/"


class NodesLab:
    """A lab of a name of its own. Playbooks are run from the repository, which must be the working folder."""

    def __init__(self, inventory: str = "nodes", name: str = "") -> None:
        self.inventory = "inventories/" + inventory
        self.name = name or "ntt%d" % os.getpid()
        self.folder = FOLDER + self.name

    def playbook(self, playbook: str, *options: str, rc: int = 0, **variables: Any) -> str:
        """Run one of the project's playbooks and return what it printed."""
        return ansible_playbook(self.inventory, playbook, options, rc, {"node_lab_name": self.name, **variables})

    def ansible(self, host: str, name: str, arguments: str, **variables: Any) -> str:
        """Run one module on a node, as a user of Ansible does."""
        values = json.dumps({"node_lab_name": self.name, **variables})
        argv = ["ansible", "-i", self.inventory, "-e", values, host, "-m", name, "-a", arguments]
        return run(argv, env=ENVIRONMENT).out

    def ssh(self, host: str, command: str, stdin: str | None = None) -> str:
        """What a command prints on a node, where it must succeed."""
        return run(["ssh", "-F", self.folder + "/ssh_config", host, command], stdin).out

    def try_ssh(self, host: str, command: str) -> Completed:
        """Run a command on a node, where it may fail."""
        return run(["ssh", "-F", self.folder + "/ssh_config", host, command], check=False)

    def boot_id(self, host: str) -> str:
        """Another one after each boot."""
        return self.ssh(host, "cat /proc/sys/kernel/random/boot_id")

    def pids(self, host: str) -> list[int]:
        """The processes of a node's kernel."""
        namespace = "%s-%s" % (self.name, host)
        return processes([namespace])[namespace]

    def remove(self) -> None:
        """Without Ansible, and whatever state the lab is in."""
        lab = parse_nodes(self.name, self.folder, "", [], [])
        apply(lab, plan(read(lab), lab, present=False))

    def traces(self) -> list[str]:
        """What is left of the lab on this machine: namespaces, processes, links, mounts, files."""
        listed = [
            *run(["ip", "netns", "list"]).out.splitlines(),
            *run(["ip", "-o", "link"]).out.splitlines(),
            # Not what has ended and waits for its parent only.
            *[line for line in run(["ps", "-eo", "stat,args"]).out.splitlines() if not line.startswith("Z")],
            *Path("/proc/self/mountinfo").read_text().splitlines(),
            *(map(str, Path(FOLDER).glob("*")) if os.path.isdir(FOLDER) else ()),
        ]
        return [line for line in listed if self.name in line]


def own_network() -> str:
    """The machine's own links, addresses, routes and rules."""
    commands = ("ip -brief link", "ip -brief address", "ip route", "ip -6 route", "nft --stateless list ruleset")
    return "\n".join(run(command.split()).out for command in commands)
