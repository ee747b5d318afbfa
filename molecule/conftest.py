# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The hosts of a molecule scenario for its tests."""

from __future__ import annotations

import difflib
import os
import time
from typing import Dict, List

import pytest
import testinfra
from testinfra.host import Host

Tables = Dict[str, List[str]]


def tables(text: str) -> Tables:
    """The lines of iptables-save's form by table, without dates and counters."""
    found: Tables = {}
    for line in text.splitlines():
        if line.startswith("*"):
            current = found.setdefault(line[1:], [])
        elif line.startswith((":", "-")):
            current.append(line.split(" [")[0])
    return found


class Node:
    """A container of the scenario, in which tests run commands."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.host: Host = testinfra.get_host("podman://%s-%s" % (os.environ["MOLECULE_SCENARIO_NAME"], name))

    def output(self, command: str) -> str:
        """Run a command, which must succeed, and return its output."""
        return str(self.host.check_output(command))

    def rules(self, save: str) -> Tables:
        """The current rules by table, from iptables-save or ip6tables-save."""
        return tables(self.output(save))

    def rules_before(self, save: str) -> Tables:
        """The rules before the role was applied, as prepare-node recorded them."""
        backend = "legacy" if "legacy" in self.output("iptables --version") else "nft"
        section = "== " + save.replace("tables-", "tables-%s-" % backend)
        noted = self.output("cat /root/node-state.before")
        return tables(noted.split(section)[1].split("\n==")[0])

    def changes(self) -> str:
        """The difference between the recorded state and the current one, which is empty if they are equal."""
        before, now = self.output("cat /root/node-state.before"), self.output("/molecule/node-state")
        lines = difflib.unified_diff(before.splitlines(), now.splitlines(), "before", "now", lineterm="", n=0)
        return "\n".join(lines)

    def reaches(self, address: str) -> bool:
        """Whether the address answers a ping."""
        return int(self.host.run(f"ping -c 1 -W 1 {address}").rc) == 0

    def pages(self, url: str, times: int = 40) -> set[str]:
        """The distinct pages that new connections to a URL return."""
        self.wait_for(url)
        once = f"curl --silent --show-error --max-time 5 '{url}'"
        return set(self.output(f"for i in $(seq {times}); do {once} || exit; done").splitlines())

    def wait_for(self, url: str, limit: float = 20) -> None:
        """Wait for the first answer, for instance after a boot."""
        end = time.monotonic() + limit
        while (asked := self.curl(url)).rc != 0:
            assert time.monotonic() < end, f"{url} does not answer: {asked.stderr}"

    def curl(self, url: str) -> testinfra.backend.base.CommandResult:
        """Try once to read a URL, for at most a second."""
        return self.host.run(f"curl --silent --show-error --max-time 1 '{url}'")


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Give each run its own report, for a scenario has several runs."""
    if config.option.xmlpath:
        config.option.xmlpath = "%s-%d.xml" % (config.option.xmlpath.removesuffix(".xml"), os.getpid())


@pytest.fixture(scope="session")
def client() -> Node:
    """The users' host in VLAN 10."""
    return Node("client")
