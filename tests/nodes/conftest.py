# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Nodes with kernels of their own, for all tests of this folder."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Iterator

import pytest

from ansible_collections.homelab.loadbalancer.tests.integration.lab import in_repository
from ansible_collections.homelab.loadbalancer.tests.nodes.nodes_lab import NodesLab, own_network


@pytest.fixture(scope="session")
def nodes(root: Path) -> Iterator[NodesLab]:
    """The project's nodes, running. A test that breaks one brings it back by the playbook. Nothing is left of them."""
    if os.geteuid() != 0:
        pytest.skip("not root: run `make nodes`, or pytest by sudo")
    with in_repository(root):
        lab = NodesLab()
        before = own_network()
        try:
            lab.playbook("nodes")
            assert own_network() == before
            yield lab
        finally:
            lab.remove()
        assert lab.traces() == []
        assert own_network() == before
