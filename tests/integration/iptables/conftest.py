# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The iptables of the network namespace that a test runs in."""

from __future__ import annotations

import pytest

from ansible_collections.homelab.loadbalancer.tests.integration.namespaces import BACKENDS, FAMILIES, Firewall


@pytest.fixture(params=[(backend, family) for backend in BACKENDS for family in FAMILIES], ids="-".join)
def firewall(request: pytest.FixtureRequest) -> Firewall:
    """Each backend and address family in turn."""
    return Firewall(*request.param)
