# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One Kubernetes cluster for all tests of this folder, with one application and one MetalLB for those that need it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Iterator

import pytest

from ansible_collections.homelab.loadbalancer.tests.cluster.cluster_lab import NODE_PORT, PATIENCE, Cluster, web_objects
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
        try:
            lab.playbook("cluster_lab")
            assert own_network() == before
            yield lab
        finally:
            if not lab.stays:
                lab.remove()
        assert lab.stays or lab.traces() == []
        assert own_network() == before


@pytest.fixture(scope="session")
def web(cluster: Cluster) -> Iterator[Cluster]:
    """The cluster with two pods that answer HTTP with their names, behind a Service of the type LoadBalancer.

    Only a cluster that stays needs a removal, here and in `balanced`.
    """
    ports = [{"name": "http", "port": 80, "targetPort": 8080, "nodePort": NODE_PORT}]
    try:
        cluster.apply(*web_objects("web", type="LoadBalancer", ports=ports))
        cluster.kubectl("rollout", "status", "deployment/web", "-n", "web", PATIENCE)
        yield cluster
    finally:
        if cluster.stays:
            cluster.kubectl("delete", "namespace", "web")


@pytest.fixture(scope="session")
def balanced(web: Cluster) -> Iterator[Cluster]:
    """The same with MetalLB and its pool, which give the Service an address."""
    try:
        web.playbook("metallb", external_access_wait=60)
        yield web
    finally:
        if web.stays:
            # MetalLB stays while a Service has an address of it.
            web.kubectl("delete", "service", "web", "-n", "web")
            web.playbook("metallb", metallb_state="absent", firewalld_ports_state="absent")


# The whole chain comes first, from nothing; then what needs no MetalLB, and then what shares one.
ORDER = (
    "test_site",
    "test_app",
    "test_k8s_tools",
    "test_inspect",
    "test_endpoints",
    "test_external_access",
    "test_metallb",
    "test_homelab",
    "test_coredns_zone",
    "test_gateway",
    "test_httproute",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Sort the files of this folder. The sort is stable: within a file the order stays."""
    here = Path(__file__).parent
    places = [place for place, item in enumerate(items) if here in item.path.parents]
    wanted = sorted((items[place] for place in places), key=lambda item: ORDER.index(item.path.stem))
    for place, item in zip(places, wanted):
        items[place] = item
