# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""firewalld was stopped during the role and started later: it filters, and the ports are open."""

from __future__ import annotations

from typing import Any

from ansible_collections.homelab.loadbalancer.molecule.conftest import Node
from ansible_collections.homelab.loadbalancer.molecule.firewalld_ports.hosts import echo


def test_firewalld_filters(client: Any) -> None:
    assert Node("stopped").output("firewall-cmd --state") == "running"
    assert echo(client, "tcp", "192.168.10.2") == "hello"
    # The firewall rejects an undeclared port with this error. The host itself would refuse the connection.
    assert "No route to host" in client.host.run("bash -c '</dev/tcp/192.168.10.2/7947'").stderr


def test_zones_hold_the_declared_ports() -> None:
    ports = Node("stopped").output("firewall-cmd --zone=internal --list-ports")
    assert set(ports.split()) == {"7946/tcp", "7946/udp"}


def test_zones_keep_undeclared_settings() -> None:
    # Packets between the interfaces of a zone, as between pods, are forwarded.
    assert Node("stopped").output("firewall-cmd --permanent --zone=public --query-forward") == "yes"
