# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How it is before the role was applied, after a check run, and after the role was taken away."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.homelab.loadbalancer.molecule.conftest import Node
from ansible_collections.homelab.loadbalancer.molecule.firewalld_ports.hosts import as_it_was, echo, keeps_asking


@pytest.mark.parametrize("protocol", ["tcp", "udp"])
def test_peers_do_not_hear_of_each_other(client: Any, protocol: str) -> None:
    assert echo(client, protocol, "192.168.10.1") == ""
    # Where nothing filters, the same way.
    assert echo(client, protocol, "192.168.10.3") == "hello"


@pytest.mark.parametrize("name", ["running", "stopped"])
def test_the_zones_are_as_they_were(name: str) -> None:
    node = Node(name)
    assert node.output("/root/zones") == node.output("cat /root/zones.before")


def test_a_node_without_firewalld_is_as_it_was() -> None:
    assert as_it_was(Node("without"))


def test_the_pod_has_answered_all_the_time(client: Any) -> None:
    assert keeps_asking(client)
