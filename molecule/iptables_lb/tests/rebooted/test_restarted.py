# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Restarts of programs that remove rules and addresses."""

from __future__ import annotations

import json
from typing import Any

import pytest


@pytest.fixture
def foreign(router: Any) -> Any:
    """Load the rules of others again, which the restart removes too, except those of the legacy iptables."""
    yield
    if router.name != "legacy":
        router.output("systemctl restart foreign-rules.service")


@pytest.mark.usefixtures("foreign")
def test_a_restart_of_nftables_does_not_remove_the_rules(router: Any, client: Any, addresses: Any) -> None:
    router.output("systemctl restart nftables.service")
    assert client.pages(f"http://{addresses.vip}/") == {"Hello from pod1", "Hello from pod2"}
    for command in ("stop", "start"):
        router.output(f"systemctl {command} nftables.service")
    assert client.pages(f"http://{addresses.vip}/") == {"Hello from pod1", "Hello from pod2"}
    router.output("systemctl stop nftables.service")
    router.output("systemctl restart homelab-loadbalancer-rules.service")


def test_a_restart_of_the_network_does_not_remove_the_addresses(router: Any, client: Any, addresses: Any) -> None:
    service = "systemd-networkd" if router.name == "legacy" else "networking"
    router.output(f"systemctl restart {service}.service")
    client.wait_for(f"http://{addresses.vip}/")
    link = json.loads(router.output("ip -json address show dev eth0"))[0]
    assert {addresses.vip, addresses.vip6} <= {entry["local"] for entry in link["addr_info"]}
