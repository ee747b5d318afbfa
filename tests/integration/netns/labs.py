# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Labs of the module netns_lab, by the module itself or, faster, by what it is made of."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
from pathlib import Path
from typing import Any, Callable, Iterator

from ansible_collections.homelab.loadbalancer.plugins.module_utils._common.command import Completed, run
from ansible_collections.homelab.loadbalancer.plugins.module_utils._netns import apply as netns_apply
from ansible_collections.homelab.loadbalancer.plugins.module_utils._netns.model import parse_lab
from ansible_collections.homelab.loadbalancer.plugins.module_utils._netns.node import read
from ansible_collections.homelab.loadbalancer.plugins.module_utils._netns.plan import plan, sysctls_of
from ansible_collections.homelab.loadbalancer.tests.integration.namespaces import COLLECTIONS, module_argv

POD = "192.168.20.20"
POD6 = "fd00:20::20"
_numbers = itertools.count()


class Lab:
    """A lab of a name of its own: a - VLAN 10 - router - VLAN 20 - b, which serves HTTP and UDP."""

    def __init__(self) -> None:
        self.name = "nlt%dx%d" % (os.getpid(), next(_numbers))
        self.hosts: list[dict[str, Any]] = [
            {
                "name": "a",
                "links": [{"name": "eth0", "vlan": 10, "addresses": ["192.168.10.10/24", "fd00:10::10/64"]}],
                "gateways": ["192.168.10.1", "fd00:10::1"],
            },
            {
                "name": "router",
                "links": [
                    {"name": "eth0", "vlan": 10, "addresses": ["192.168.10.1/24", "fd00:10::1/64"]},
                    {"name": "eth1", "vlan": 20, "addresses": ["192.168.20.1/24", "fd00:20::1/64"]},
                ],
                "sysctls": {"net.ipv4.ip_forward": 1, "net.ipv6.conf.all.forwarding": 1},
            },
            {
                "name": "b",
                "links": [{"name": "eth0", "vlan": 20, "addresses": [POD + "/24", POD6 + "/64"]}],
                "gateways": ["192.168.20.1", "fd00:20::1"],
            },
        ]
        self.servers: list[dict[str, Any]] = [
            {"host": "b", "port": 80, "text": "Hello from Pod B"},
            {"host": "b", "port": 53, "text": "今日は", "protocol": "udp"},
        ]

    def command(self) -> list[str]:
        return module_argv("netns_lab")

    def module(
        self, state: str = "present", check: bool = False, command: list[str] | None = None, **more: Any
    ) -> dict[str, Any]:
        arguments = {
            "name": self.name,
            "hosts": self.hosts,
            "servers": self.servers,
            "state": state,
            "_ansible_check_mode": check,
            "_ansible_diff": True,
            **more,
        }
        done = run(
            command or self.command(),
            stdin=json.dumps({"ANSIBLE_MODULE_ARGS": arguments}),
            env=COLLECTIONS,
            check=False,
        )
        assert done.out.strip(), done.err
        result: dict[str, Any] = json.loads(done.out)
        return result

    def quick(self, state: str = "present", check: bool = False) -> dict[str, Any]:
        """What the module does, without starting it."""
        lab = parse_lab(self.name, self.hosts, self.servers)
        planned = plan(read(lab.name, sysctls_of(lab)), lab, state == "present")
        if not check:
            netns_apply.apply(planned)
        return {"changed": planned.changed, "diff": {"before": planned.before, "after": planned.after}}

    def apply(self, state: str = "present", run: Callable[..., dict[str, Any]] | None = None) -> dict[str, Any]:
        """Check mode, then a real run, which must do and show the same, then another, which must do nothing."""
        run = run or self.quick
        predicted, done, again = run(state, check=True), run(state), run(state)
        assert not done.get("failed"), done
        for side in ("before", "after"):
            assert predicted["diff"][side].splitlines() == done["diff"][side].splitlines()
        assert predicted["changed"] == done["changed"]
        assert not again["changed"], again["diff"]
        assert again["diff"]["before"] == again["diff"]["after"] == done["diff"]["after"]
        return done

    def namespace(self, host: str) -> str:
        return "%s-%s" % (self.name, host)

    def ip(self, host: str, *arguments: str) -> str:
        return run(["ip", "-n", self.namespace(host), *arguments]).out

    def run(self, host: str, *argv: str, check: bool = True) -> Completed:
        return run(["ip", "netns", "exec", self.namespace(host), *argv], check=check)

    def namespaces(self) -> list[str]:
        names = [line.split()[0] for line in run(["ip", "netns", "list"]).out.splitlines()]
        return sorted(name for name in names if name.startswith(self.name + "-"))

    def curl(self, address: str = POD) -> str:
        return self.run("a", "curl", "-s", "--max-time", "5", "http://%s/" % address, check=False).out

    def works(self) -> None:
        """Packets pass between the VLANs, by IPv4 and IPv6, at once."""
        self.run("a", "ping", "-c1", "-W5", POD)
        self.run("a", "ping", "-c1", "-W5", POD6)
        assert self.curl() == self.curl("[%s]" % POD6) == "Hello from Pod B\n"

    def server_pids(self) -> list[int]:
        found = []
        for entry in os.listdir("/proc"):
            with contextlib.suppress(OSError):
                if entry.isdigit() and self.name.encode() in Path("/proc", entry, "cmdline").read_bytes().split(b"\0"):
                    found.append(int(entry))
        return sorted(found)


@contextlib.contextmanager
def fresh_lab() -> Iterator[Lab]:
    """A lab of which nothing is left in the end."""
    lab = Lab()
    try:
        yield lab
    finally:
        # Whatever the test declared last, also what is refused.
        lab.hosts, lab.servers = [], []
        lab.quick("absent")
        assert (lab.namespaces(), lab.server_pids()) == ([], [])
