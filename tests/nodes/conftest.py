# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One lab of user-mode Linux nodes for all tests of this folder."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Iterator

import pytest

from ansible_collections.homelab.loadbalancer.tests.integration.lab import in_repository
from ansible_collections.homelab.loadbalancer.tests.nodes.nodes_lab import NodesLab, own_network


@pytest.fixture(scope="session")
def lab(root: Path) -> Iterator[NodesLab]:
    """No node runs until a test boots an inventory. Nothing is left at the end."""
    if os.geteuid() != 0:
        pytest.skip("not root: run `make nodes`, or pytest by sudo")
    with in_repository(root):
        made = NodesLab()
        before = own_network()
        try:
            yield made
            assert own_network() == before
        finally:
            made.remove()
        assert made.traces() == []
        assert own_network() == before


@pytest.fixture
def nodes(lab: NodesLab) -> NodesLab:
    """The nodes of inventories/nodes. A test that changes one puts it back."""
    lab.boot("nodes")
    return lab
