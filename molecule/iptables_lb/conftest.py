# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Each test of the fixture `router` runs on all routers."""

from __future__ import annotations

import pytest

from ansible_collections.homelab.loadbalancer.molecule.conftest import Node
from ansible_collections.homelab.loadbalancer.molecule.iptables_lb.hosts import ADDRESSES, Addresses


@pytest.fixture(params=ADDRESSES)
def router(request: pytest.FixtureRequest) -> Node:
    """Where the role was applied."""
    return Node(request.param)


@pytest.fixture
def addresses(router: Node) -> Addresses:
    """The addresses of the router."""
    return ADDRESSES[router.name]
