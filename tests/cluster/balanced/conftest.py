# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One controller of the Gateway API for Gateways and routes."""

from __future__ import annotations

from typing import Iterator

import pytest

from ansible_collections.homelab.loadbalancer.tests.cluster.balanced.gateways import NAME, Gateways
from ansible_collections.homelab.loadbalancer.tests.cluster.cluster_lab import Cluster

KINDS = "gateways.gateway.networking.k8s.io"


@pytest.fixture(scope="session")
def gateways(balanced: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateways]:
    """Traefik with the Gateways `public` and `more`. Nothing of them is left."""
    kinds = balanced.kubectl("get", "crd", KINDS, "--ignore-not-found", "-o", "name")
    lab = Gateways(balanced, tmp_path_factory.mktemp("keys"))
    try:
        lab.run(lab.gateway(), lab.gateway({"name": "http", "port": 8080}, name="more"))
        yield lab
    finally:
        lab.run(gateway_state="absent", gateway_remove_crds=not kinds)
    assert balanced.kubectl("get", "namespace", NAME, "--ignore-not-found") == ""
    assert balanced.kubectl("get", "clusterrole", "-o", "name").count(NAME) == 0
    assert balanced.kubectl("get", "crd", KINDS, "--ignore-not-found", "-o", "name") == kinds
