# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A Kubernetes cluster, for all tests of this folder."""

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
