# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Names of the zone are resolved by the cluster's server alone, all others by the usual server alone."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.homelab.loadbalancer.molecule.split_dns.hosts import CLUSTER, USUAL, resolve


@pytest.mark.parametrize("domain", ["k8s.local", "staging.k8s.local"])
def test_zone_resolved_by_the_cluster(client: Any, domain: str) -> None:
    assert resolve(client, domain) == (CLUSTER, {"cluster"})


@pytest.mark.parametrize("domain", ["example.test", "xk8s.local.test"])
def test_other_names_resolved_by_the_usual_server(client: Any, domain: str) -> None:
    assert resolve(client, domain) == (USUAL, {"usual"})
