# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""While the ports are open, peers reach each other, and everything else is unchanged."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.homelab.loadbalancer.molecule.conftest import Node
from ansible_collections.homelab.loadbalancer.molecule.firewalld_ports.hosts import echo, keeps_answering


@pytest.mark.parametrize("protocol", ["tcp", "udp"])
@pytest.mark.parametrize("number", [1, 2, 3])
def test_peers_reach_each_other(client: Any, protocol: str, number: int) -> None:
    assert echo(client, protocol, f"192.168.10.{number}") == "hello"


@pytest.mark.parametrize("command", ["firewall-offline-cmd", "firewall-cmd"])
def test_zones_hold_the_declared_entries(command: str) -> None:
    node = Node("running")
    for zone in ("public", "internal"):
        assert {"7946/tcp", "7946/udp"} <= set(node.output(f"{command} --zone={zone} --list-ports").split())
    assert set(node.output(f"{command} --zone=work --list-ports").split()) == {"80/tcp", "30000-32767/tcp"}
    assert "https" in node.output(f"{command} --zone=work --list-services").split()
    assert set(node.output(f"{command} --zone=work --list-sources").lower().split()) == {
        "10.244.0.0/16",
        "00:11:22:33:44:aa",
    }
    rule = 'rule family="ipv4" source address="10.0.0.0/8" service name="http" accept'
    assert node.output(f"{command} --zone=work --list-rich-rules") == rule


def test_pod_answered_without_interruption(client: Any) -> None:
    assert keeps_answering(client)


def test_foreign_runtime_entries_kept() -> None:
    node = Node("running")
    assert "9000-9010/tcp" in node.output("firewall-cmd --zone=public --list-ports").split()
    assert node.output("firewall-cmd --zone=internal --list-sources") == "10.99.0.0/16"
    assert node.output("firewall-offline-cmd --zone=internal --list-sources") == ""
    rules = node.rules("iptables-save")
    assert any("--dport 8080" in line for line in rules["nat"])
    assert {table: rules[table] for table in node.rules_before("iptables-save")} == node.rules_before("iptables-save")


def test_node_without_firewalld_unchanged() -> None:
    assert Node("without").changes() == ""
