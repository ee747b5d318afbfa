# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A cluster that gives addresses to Services, for all tests of this folder.

It is a package, for pytest ends a fixture with its folder only where that is one.
"""

from __future__ import annotations

from typing import Iterator

import pytest

from ansible_collections.homelab.loadbalancer.tests.cluster.cluster_lab import Cluster


@pytest.fixture(scope="package")
def balanced(cluster: Cluster) -> Iterator[Cluster]:
    """The cluster with MetalLB and its pool, and nothing of it afterwards."""
    try:
        cluster.playbook("metallb")
        yield cluster
    finally:
        cluster.playbook("metallb", metallb_state="absent", firewalld_ports_state="absent")
