# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A test of a client is a test of all."""

from __future__ import annotations

import pytest

from ansible_collections.homelab.loadbalancer.molecule.conftest import Node


@pytest.fixture(params=["resolved", "dnsmasq", "nm"])
def client(request: pytest.FixtureRequest) -> Node:
    """A client, by the name of what resolves names there."""
    return Node(request.param)
