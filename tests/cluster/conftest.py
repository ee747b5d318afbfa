# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A Kubernetes cluster for all tests of this folder, and one MetalLB for those that need addresses."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Iterator

import pytest

from ansible_collections.homelab.loadbalancer.tests.cluster.cluster_lab import Cluster
from ansible_collections.homelab.loadbalancer.tests.integration.lab import in_repository
from ansible_collections.homelab.loadbalancer.tests.nodes.nodes_lab import own_network


@pytest.fixture(scope="session")
def cluster(root: Path) -> Iterator[Cluster]:
    """The project's cluster, running. Nothing is left of it, unless it was there before."""
    if os.geteuid() != 0:
        pytest.skip("not root: run `make cluster`, or pytest by sudo")
    with in_repository(root):
        lab = Cluster()
        before = own_network()
        stood = lab.traces() != []
        try:
            lab.playbook("cluster_lab")
            assert own_network() == before
            yield lab
        finally:
            if not stood:
                lab.remove()
        assert stood or lab.traces() == []
        assert own_network() == before


@pytest.fixture(scope="session")
def balanced(cluster: Cluster) -> Iterator[Cluster]:
    """The cluster with MetalLB and its pool, and nothing of it afterwards."""
    try:
        cluster.playbook("metallb")
        yield cluster
    finally:
        cluster.playbook("metallb", metallb_state="absent", firewalld_ports_state="absent")


# Those that begin without MetalLB come first, and those that share it last.
ORDER = ("test_metallb", "test_external_access", "test_homelab", "test_coredns_zone", "test_gateway", "test_httproute")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Installed once, MetalLB stays until the end. The sort is stable: the rest stays before, in its order."""
    here = Path(__file__).parent
    places = [place for place, item in enumerate(items) if here in item.path.parents]
    wanted = sorted((items[place] for place in places), key=_rank)
    for place, item in zip(places, wanted):
        items[place] = item


def _rank(item: pytest.Item) -> int:
    # The whole chain has a MetalLB of its own, and is run alone by `make test`.
    name = item.path.stem
    return ORDER.index(name) if name in ORDER else -1
