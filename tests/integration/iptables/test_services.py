# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""iptables_services by its packets, besides what all data planes have in common."""

from __future__ import annotations

import pytest

from ansible_collections.homelab.loadbalancer.tests.integration.services.test_packets import (
    FRONTS,
    FULL_LAYOUTS,
    both,
    service,
)
from ansible_collections.homelab.loadbalancer.tests.integration.services_lab import ROUTER, VIP, ServicesLab, pod


@pytest.mark.parametrize("layout", FULL_LAYOUTS)
def test_vip_works_with_forward_policy_drop(net: ServicesLab, backend: str, layout: str) -> None:
    """Docker sets it. The way to the VIP is open all the same, and no other."""
    for command in ("iptables-", "ip6tables-"):
        net.run("router", command + backend, "-w", "-P", "FORWARD", "DROP")
    for options in ({}, {"masquerade": False}, {"pod_cidr": ["192.168.10.0/24", "fd00:10::/64"]}):
        net.apply(backend, both(1), layout=layout, **options)
        for family, vip in FRONTS.items():
            assert net.ask("client", vip, 80, timeout=5)[0].server == "pod1"
            assert net.dropped("client", pod(1, family), 8080)


@pytest.mark.parametrize("layout", FULL_LAYOUTS)
def test_foreign_translations_are_not_forwarded(net: ServicesLab, backend: str, layout: str) -> None:
    """A port that somebody else publishes, and shuts in FORWARD, stays shut."""
    iptables = ["iptables-" + backend, "-w"]
    published = ["-p", "tcp", "--dport", "8000", "-j", "DNAT", "--to-destination", pod(2) + ":8080"]
    net.run("router", *iptables, "-t", "nat", "-A", "PREROUTING", *published)
    net.run("router", *iptables, "-P", "FORWARD", "DROP")
    for options in ({}, {"masquerade": False}, {"pod_cidr": ["192.168.10.0/24"]}):
        net.apply(backend, [service(1)], layout=layout, **options)
        assert net.dropped("client", VIP, 8000)


def test_pod_reaches_itself_by_the_vip_in_the_minimal_layout(net: ServicesLab, backend: str) -> None:
    net.apply(backend, [service(1)], layout="minimal")
    assert net.ask_once("pod1", VIP, 80) == ("pod1", ROUTER)
