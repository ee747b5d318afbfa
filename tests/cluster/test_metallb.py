# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The roles `metallb` and `metallb_pool` on a real cluster: another version, and a renamed pool.

What needs neither pods nor packets is in tests/api.
"""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.homelab.loadbalancer.tests.cluster.cluster_lab import (
    Cluster,
    Visitor,
    changed,
    flat,
    recap,
    wait_for,
)

VIP = "172.16.0.100"
BEFORE, NOW = "0.14.9", "0.15.2"


def metallb(**variables: Any) -> dict[str, Any]:
    return {"role": "metallb", **variables}


def pools(name: str = "public-pool", **variables: Any) -> dict[str, Any]:
    """The role `metallb_pool` with one pool."""
    return {
        "role": "metallb_pool",
        "metallb_pool_pools": [{"name": name, "addresses": ["172.16.0.100-172.16.0.149"]}],
        "metallb_pool_l2_advertisements": [{"name": "public", "pools": [name]}],
        **variables,
    }


def test_going_back_removes_kinds_of_the_newer_version(balanced: Cluster) -> None:
    assert "ServiceBGPStatus" in balanced.kubectl("api-resources")
    balanced.roles(metallb(metallb_version=BEFORE), pools())
    assert "ServiceBGPStatus" not in balanced.kubectl("api-resources")
    assert balanced.address("web", "web") == VIP


def test_an_upgrade_keeps_addresses_and_answers(balanced: Cluster, capsys: pytest.CaptureFixture[str]) -> None:
    with Visitor(balanced.network("client"), "http://%s/hostname" % VIP) as visits:
        assert recap(balanced.roles(metallb(metallb_version=NOW), pools())) == {"operator": 1}
    with capsys.disabled():
        print("the VIP did not answer for %.1f s while MetalLB was replaced" % visits.gap)
    assert visits.gap < 10
    assert balanced.address("web", "web") == VIP
    assert "ServiceBGPStatus" in balanced.kubectl("api-resources")
    assert not changed(balanced.roles(metallb(), pools()))


def test_a_pool_is_renamed_when_its_services_may_move(balanced: Cluster) -> None:
    """MetalLB's webhook refuses a pool that overlaps another one: the old one must be gone before."""

    def answers() -> bool:
        address = balanced.address("web", "web")
        return address != "" and balanced.client("curl", "-s", "--max-time", "2", address, check=False) != ""

    output = balanced.roles(pools("renamed", metallb_pool_allow_moves=True))
    assert "Service web/web has 172.16.0.100" in flat(output)
    listed = [entry["metadata"]["name"] for entry in balanced.objects("ipaddresspools", "-A")]
    assert listed == ["renamed"]
    wait_for(answers, "the VIP")
    balanced.roles({"role": "metallb_pool", "metallb_pool_allow_moves": True})
    wait_for(answers, "the VIP")
