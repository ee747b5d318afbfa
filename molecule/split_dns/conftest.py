# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Each test of the fixture `client` runs on all clients."""

from __future__ import annotations

import pytest

from ansible_collections.homelab.loadbalancer.molecule.conftest import Node


@pytest.fixture(params=["resolved", "dnsmasq", "nm"])
def client(request: pytest.FixtureRequest) -> Node:
    """A client, which has the name of its resolver."""
    return Node(request.param)
