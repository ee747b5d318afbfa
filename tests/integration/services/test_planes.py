# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The data planes that have services with a prefix on a node."""

from __future__ import annotations

import pytest

from ansible_collections.homelab.loadbalancer.plugins.module_utils._common.command import run
from ansible_collections.homelab.loadbalancer.plugins.module_utils._services.planes import has_nftables, others
from ansible_collections.homelab.loadbalancer.tests.integration.namespaces import BACKENDS, module
from ansible_collections.homelab.loadbalancer.tests.integration.services_lab import VIP, endpoints

pytestmark = pytest.mark.usefixtures("fresh_node")
WEB = {"name": "web", "address": VIP, "port": 80, "endpoints": endpoints(1)}
PLANES = ("iptables", "nftables", "ipvs")


def found() -> dict[str, list[str]]:
    """What each data plane finds besides itself."""
    return {plane: others(plane, "LB-") for plane in PLANES}


def test_nothing_is_found_on_a_bare_node() -> None:
    assert found() == {"iptables": [], "nftables": [], "ipvs": []}


def test_services_by_nftables_are_found() -> None:
    assert module("nftables_services", services=[WEB])["others"] == []
    assert found() == {"iptables": ["nftables"], "nftables": [], "ipvs": ["nftables"]}
    assert others("iptables", "site-") == []


def test_a_foreign_table_with_the_name_of_ours_is_not_found() -> None:
    run(["nft", "add table inet LB; add chain inet LB services"])
    assert not has_nftables("LB")
    assert found()["iptables"] == []
    assert module("iptables_services", services=[WEB])["others"] == []


@pytest.mark.parametrize("backend", BACKENDS)
def test_services_by_iptables_are_found(backend: str) -> None:
    assert module("iptables_services", services=[WEB], backend=backend)["others"] == []
    assert found() == {"iptables": [], "nftables": ["iptables"], "ipvs": []}
    assert others("nftables", "site-") == []
    # IPVS has the same chains, and sets.
    run(["ipset", "create", "LB-CLUSTER-IP", "hash:ip,port"])
    assert found()["nftables"] == ["ipvs"]
