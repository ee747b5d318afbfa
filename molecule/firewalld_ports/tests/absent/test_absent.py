# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A check run changes nothing, and removal restores the state before the role."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.homelab.loadbalancer.molecule.conftest import Node
from ansible_collections.homelab.loadbalancer.molecule.firewalld_ports.hosts import echo, keeps_answering


@pytest.mark.parametrize("protocol", ["tcp", "udp"])
def test_peers_cannot_reach_each_other(client: Any, protocol: str) -> None:
    assert echo(client, protocol, "192.168.10.1") == ""
    # The control: a node without a firewall answers.
    assert echo(client, protocol, "192.168.10.3") == "hello"


@pytest.mark.parametrize("name", ["running", "stopped"])
def test_zones_unchanged(name: str) -> None:
    node = Node(name)
    assert node.output("/root/zones") == node.output("cat /root/zones.before")


def test_node_without_firewalld_unchanged() -> None:
    assert Node("without").changes() == ""


def test_pod_answered_without_interruption(client: Any) -> None:
    assert keeps_answering(client)
