# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The lab of inventories/lab, whose router is a container of another release."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path

LAB = "compat"
PROGRAMS = {
    "Python": ["python3", "--version"],
    "iptables": ["iptables", "--version"],
    "nft": ["nft", "--version"],
    "iproute2": ["ip", "-V"],
}
NUMBER = re.compile(r"\d+(?:\.\d+)+")


class Router:
    """The container, and the playbooks that are run on it."""

    def __init__(self, root: Path, tree: str, folder: Path) -> None:
        self.root = root
        self.tree = tree
        self.inventory = folder / "router.json"
        self.name = LAB + "-router"

    def start(self) -> None:
        """Build the lab and start the router in it."""
        self.stop()
        variables = {
            "ansible_connection": "homelab.loadbalancer.podman",
            "ansible_host": self.name,
            "ansible_python_interpreter": "/usr/bin/python3",
        }
        self.inventory.write_text(json.dumps({"routers": {"hosts": {"router": variables}}}))
        self.play("playbooks/lab.yml")
        self._podman(
            *("run", "--detach", "--name=" + self.name, "--network=ns:/run/netns/" + self.name),
            *("--cap-add=NET_ADMIN,NET_RAW,SYS_ADMIN", "--security-opt=unmask=ALL"),
            *("--security-opt=seccomp=unconfined", "--security-opt=apparmor=unconfined"),
            *("--dns=none", "--no-hosts", "--rootfs", self.tree + ":O", "sleep", "infinity"),
        )
        # Only the network's own kernel settings stay writable, because the others are the whole machine's.
        for argv in (("--bind", "/proc/sys"), ("--bind", "/proc/sys/net"), ("-o", "remount,bind,ro", "/proc/sys")):
            self.output("mount", *argv, *(argv[-1:] if argv[0] == "--bind" else ()))

    def stop(self) -> None:
        """Remove the router and the lab."""
        self._podman("rm", "--force", "--time=0", "--ignore", self.name)
        self.play("playbooks/lab_down.yml")

    def play(self, playbook: str, **variables: str) -> str:
        """Run a playbook, which must succeed, and return what it printed."""
        inventories = ["-i", "inventories/lab"]
        if self.inventory.exists():
            inventories += ["-i", str(self.inventory)]
        extra = json.dumps({"vlan_lab_name": LAB, **variables})
        done = subprocess.run(
            ["ansible-playbook", *inventories, "-e", extra, playbook],
            cwd=self.root,
            env={**os.environ, "ANSIBLE_NOCOLOR": "1", "ANSIBLE_STDOUT_CALLBACK": "default"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout
        return done.stdout

    def output(self, *argv: str) -> str:
        """What a program of the router prints."""
        return self._podman("exec", self.name, *argv)

    def page(self, address: str) -> str:
        """The page that the client reads from an address; empty if it reaches none within a second."""
        argv = ["ip", "netns", "exec", LAB + "-a", "curl", "--silent", "--max-time", "1", "http://%s" % address]
        return subprocess.run(argv, stdout=subprocess.PIPE, text=True, check=False).stdout.strip()

    def versions(self) -> str:
        """The versions of the programs that matter, in one line."""
        found = {name: NUMBER.search(self.output(*argv)) for name, argv in PROGRAMS.items()}
        return ", ".join("%s %s" % (name, number[0]) for name, number in found.items() if number)

    def _podman(self, *argv: str) -> str:
        done = subprocess.run(["podman", *argv], stdout=subprocess.PIPE, text=True, check=False)
        assert done.returncode == 0, argv
        return done.stdout


def changed(said: str) -> list[str]:
    """The hosts that a play changed, from its recap."""
    recap = said.partition("PLAY RECAP")[2]
    assert "changed=" in recap, said
    return [line.split()[0] for line in recap.splitlines() if re.search(r"changed=[1-9]", line)]
