# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A lab of its own for a test, from the inventory that users start from, driven by the project's playbooks."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import re
import sys
from pathlib import Path
from typing import Any, Iterator

import yaml

from ansible_collections.homelab.loadbalancer.plugins.module_utils._common.command import run
from ansible_collections.homelab.loadbalancer.plugins.module_utils._netns.apply import apply
from ansible_collections.homelab.loadbalancer.plugins.module_utils._netns.model import Lab as Declared
from ansible_collections.homelab.loadbalancer.plugins.module_utils._netns.model import parse_lab
from ansible_collections.homelab.loadbalancer.plugins.module_utils._netns.node import read
from ansible_collections.homelab.loadbalancer.plugins.module_utils._netns.plan import plan, sysctls_of

# Ansible insists on UTF-8. Tables are as wide as on a wide terminal.
ENVIRONMENT = {"ANSIBLE_NOCOLOR": "1", "COLUMNS": "160", "LC_ALL": "C.UTF-8"}
_numbers = itertools.count()


@contextlib.contextmanager
def in_repository(root: Path) -> Iterator[None]:
    """Work as a user who has called `make`: in the repository's folder, with its programs on PATH."""
    home, path = Path.cwd(), os.environ.get("PATH", "")
    os.chdir(root)
    os.environ["PATH"] = "%s:%s" % (Path(sys.executable).parent, path)
    try:
        yield
    finally:
        os.chdir(home)
        os.environ["PATH"] = path


def ansible_playbook(inventory: str, names: str, options: tuple[str, ...], rc: int, values: dict[str, Any]) -> str:
    """Run the project's playbooks of these names, in one run from the repository, and return the output."""
    playbooks = ["playbooks/%s.yml" % name for name in names.split()]
    argv = ["ansible-playbook", "-i", inventory, *playbooks, "-e", json.dumps(values), *options]
    done = run(argv, env=ENVIRONMENT, check=False)
    assert done.rc == rc, done.out + done.err
    return done.out + done.err


class Lab:
    """A lab of a name of its own. Playbooks are run from the repository, which must be the working folder."""

    inventory = "inventories/lab"
    client, pod, pod_address, vip, text = "a", "b", "192.168.20.20", "192.168.10.100", "Hello from Pod B"

    def __init__(self) -> None:
        self.name = "vlt%dx%d" % (os.getpid(), next(_numbers))

    def variables(self, *names: str) -> dict[str, Any]:
        """Variables of the inventory, of the files that are named: group_vars/all/lab, for instance."""
        found: dict[str, Any] = {}
        for name in names:
            found.update(yaml.safe_load(Path(self.inventory, name + ".yml").read_text(encoding="utf-8")))
        return found

    def build(self) -> None:
        """What playbooks/lab.yml does, without Ansible."""
        declared = self.variables("group_vars/all/lab", "group_vars/all/network")
        lab = parse_lab(self.name, declared["vlan_lab_hosts"], declared["vlan_lab_servers"])
        apply(plan(read(self.name, sysctls_of(lab)), lab, present=True))

    def playbook(self, playbook: str, *options: str, rc: int = 0, **variables: Any) -> str:
        return ansible_playbook(self.inventory, playbook, options, rc, {"vlan_lab_name": self.name, **variables})

    def run(self, host: str, *argv: str, check: bool = True, stdin: str | None = None) -> str:
        return run(["ip", "netns", "exec", "%s-%s" % (self.name, host), *argv], stdin, check=check).out

    def several_routers(self, file: Path, cases: dict[str, dict[str, Any]]) -> tuple[str, ...]:
        """Options that make the router several hosts of one play: one host a case, each with its own variables."""
        hosts = {name: {"ansible_netns_name": "router", **variables} for name, variables in cases.items()}
        file.write_text(json.dumps({"lab": {"children": {"cases": {"hosts": hosts}}}}), encoding="utf-8")
        return ("-i", str(file), "-e", "lb_hosts=cases")

    def remove(self) -> None:
        """Without Ansible, and whatever state the lab is in."""
        apply(plan(read(self.name, {}), Declared(self.name, (), ()), present=False))

    def traces(self) -> list[str]:
        """What is left of the lab on this machine: namespaces, processes, files."""
        found = [line for line in run(["ip", "netns", "list"]).out.splitlines() if line.startswith(self.name)]
        found += [
            line for line in run(["ps", "-eo", "args"]).out.splitlines() if "netns-lab-server " + self.name in line
        ]
        found += [line for line in run(["ip", "-o", "link"]).out.splitlines() if self.name in line]
        return found + run(["find", "/run", "/tmp", "-xdev", "-name", "*%s*" % self.name], check=False).out.splitlines()


def changes(output: str) -> int:
    """How many tasks of a play changed something, on all hosts. None may have failed."""
    found = re.findall(r"changed=(\d+)\s+unreachable=0\s+failed=0", output)
    assert len(found) == output.count("unreachable="), output
    assert found, output
    return sum(map(int, found))


def refused_hosts(output: str) -> dict[str, str]:
    """What ansible-playbook printed of each host that failed, in one line."""
    found = re.findall(r"^(?:fatal|failed): \[([^]]+)\].*? =>(.*?)(?=^\S|\Z)", output, re.DOTALL | re.MULTILINE)
    # YAML writes an apostrophe twice between apostrophes.
    return {host: re.sub(r"\s+", " ", said.replace("''", "'")) for host, said in found}


def diff_of(output: str) -> list[str]:
    """The lines of the diffs in what ansible-playbook printed."""
    return [line for line in output.splitlines() if line and line[0] in "+-@ "]
