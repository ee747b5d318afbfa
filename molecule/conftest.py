# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The hosts of a molecule scenario, for its tests."""

from __future__ import annotations

import os
import time

import pytest
import testinfra
from testinfra.host import Host


class Node:
    """A container of the scenario: what can be asked of it, and asked of others from it."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.host: Host = testinfra.get_host("podman://%s-%s" % (os.environ["MOLECULE_SCENARIO_NAME"], name))

    def output(self, command: str) -> str:
        """What a command prints; it must succeed."""
        return str(self.host.check_output(command))

    def saved_rules(self, command: str = "iptables-save") -> list[str]:
        """The rules in iptables-save's form, without dates and counters."""
        return [line.split(" [")[0] for line in self.output(command).splitlines() if not line.startswith("#")]

    def reaches(self, address: str) -> bool:
        """Whether the address answers a ping."""
        return int(self.host.run(f"ping -c 1 -W 1 {address}").rc) == 0

    def pages(self, url: str, times: int = 40) -> set[str]:
        """The different pages that new connections to a URL show."""
        self.wait_for(url)
        once = f"curl --silent --show-error --max-time 5 '{url}'"
        return set(self.output(f"for i in $(seq {times}); do {once} || exit; done").splitlines())

    def wait_for(self, url: str, limit: float = 20) -> None:
        """Wait for the first answer: after a boot, hosts have to find each other."""
        end = time.monotonic() + limit
        while (asked := self.curl(url)).rc != 0:
            assert time.monotonic() < end, f"{url} does not answer: {asked.stderr}"

    def curl(self, url: str) -> testinfra.backend.base.CommandResult:
        """One try to read a URL, of at most a second."""
        return self.host.run(f"curl --silent --show-error --max-time 1 '{url}'")


@pytest.fixture(scope="session")
def router() -> Node:
    """Where the role was applied."""
    return Node("router")


@pytest.fixture(scope="session")
def client() -> Node:
    """A host of VLAN 10, from where users come."""
    return Node("client")
