# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The roles `metallb` and `metallb_pool` on a real cluster: an upgrade, a renamed pool, and what a removal leaves.

What needs neither pods nor packets is in tests/api.
"""

from __future__ import annotations

import json
import re
from typing import Any, Iterator

import pytest

from ansible_collections.homelab.loadbalancer.tests.cluster.cluster_lab import (
    IMAGE,
    Cluster,
    Visitor,
    everything,
    recap,
)
from ansible_collections.homelab.loadbalancer.tests.integration.namespaces import wait_for

VIP = "172.16.0.100"
BEFORE, NOW = "0.14.9", "0.15.2"
LABELS = {"app": "web"}
POD = {
    "containers": [
        {
            "name": "web",
            "image": IMAGE,
            "args": ["netexec", "--http-port=8080"],
        }
    ]
}
WEB = [
    {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "pools"}},
    {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "web", "namespace": "pools"},
        "spec": {
            "replicas": 2,
            "selector": {"matchLabels": LABELS},
            "template": {"metadata": {"labels": LABELS}, "spec": POD},
        },
    },
    {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "web", "namespace": "pools"},
        "spec": {"type": "LoadBalancer", "selector": LABELS, "ports": [{"port": 80, "targetPort": 8080}]},
    },
]


def metallb(**variables: Any) -> dict[str, Any]:
    return {"role": "metallb", **variables}


def pools(*addresses: str, name: str = "public-pool", **variables: Any) -> dict[str, Any]:
    """The role `metallb_pool` with one pool."""
    return {
        "role": "metallb_pool",
        "metallb_pool_pools": [{"name": name, "addresses": list(addresses) or ["172.16.0.100-172.16.0.149"]}],
        "metallb_pool_l2_advertisements": [{"name": "public", "pools": [name]}],
        **variables,
    }


def answer(cluster: Cluster, address: str = VIP, patience: int = 2) -> str:
    """The pod that answers the client within so many seconds, or an empty string."""
    return cluster.client("curl", "-sSf", "--max-time", str(patience), "http://%s/hostname" % address, check=False)


def address(cluster: Cluster) -> str:
    """The address of the Service, or an empty string."""
    path = "jsonpath={.status.loadBalancer.ingress[*].ip}"
    return cluster.kubectl("get", "service", "web", "-n", "pools", "-o", path)


def flat(text: str) -> str:
    return re.sub(r"\s+", " ", text)


def refused(cluster: Cluster, role: dict[str, Any]) -> str:
    """What a role says that fails before it changes anything."""
    output = cluster.roles(role, rc=2)
    assert not any(recap(output).values()), output
    return flat(output)


@pytest.fixture(scope="module")
def installed(cluster: Cluster) -> Iterator[Cluster]:
    """The older MetalLB with the default pool, and a Service that has an address of it."""
    for obj in WEB:
        cluster.kubectl("apply", "-f", "-", stdin=json.dumps(obj))
    cluster.kubectl("rollout", "status", "deployment/web", "-n", "pools", "--timeout=120s")
    before = everything(cluster)
    fresh = (metallb(metallb_version=BEFORE), pools())
    try:
        predicted = cluster.roles(*fresh, options=("--check", "--diff"))
        assert everything(cluster) == before
        made = cluster.roles(*fresh)
        assert recap(predicted) == recap(made)
        wait_for(lambda: answer(cluster), "the VIP")
        yield cluster
        # Under a Service that still wants an address.
        said = "Service pools/web (%s) would lose their addresses" % VIP
        assert said in refused(cluster, metallb(metallb_state="absent"))
        output = flat(cluster.roles(metallb(metallb_state="absent", metallb_pool_allow_moves=True)))
        assert "strict ARP and the labels of nodes stay as they are" in output
        assert everything(cluster) == before
        assert (address(cluster), answer(cluster)) == ("", "")
        assert not any(recap(cluster.roles(metallb(metallb_state="absent"))).values())
    finally:
        cluster.roles(metallb(metallb_state="absent", metallb_pool_allow_moves=True))
        cluster.kubectl("delete", "namespace", "pools")


def test_an_upgrade_keeps_addresses_and_answers(installed: Cluster, capsys: pytest.CaptureFixture[str]) -> None:
    options = ("--check", "--diff")
    assert not any(recap(installed.roles(metallb(metallb_version=BEFORE), pools(), options=options)).values())
    assert "ServiceBGPStatus" not in installed.kubectl("api-resources")
    with Visitor(lambda: answer(installed)) as visitor:
        assert recap(installed.roles(metallb(metallb_version=NOW), pools())) == {"operator": 1}
    with capsys.disabled():
        print("the VIP did not answer for %.1f s while MetalLB was replaced" % visitor.gap)
    assert visitor.gap < 10
    assert address(installed) == VIP
    assert "ServiceBGPStatus" in installed.kubectl("api-resources")
    assert not any(recap(installed.roles(metallb(), pools())).values())


def test_going_back_removes_what_only_the_newer_one_has(installed: Cluster) -> None:
    installed.roles(metallb(metallb_version=NOW))
    installed.roles(metallb(metallb_version=BEFORE))
    assert "ServiceBGPStatus" not in installed.kubectl("api-resources")
    assert not any(recap(installed.roles(metallb(metallb_version=BEFORE))).values())
    assert address(installed) == VIP


def test_a_pool_is_renamed_when_its_services_may_move(installed: Cluster) -> None:
    """MetalLB's webhook takes no pool that overlaps another one: the old one must be gone before."""
    renamed = pools(name="renamed", metallb_pool_allow_moves=True)
    predicted = installed.roles(renamed, options=("--check", "--diff"))
    output = installed.roles(renamed)
    assert "Service pools/web has 172.16.0.100" in flat(output)
    assert any(recap(predicted).values())
    listed = [entry["metadata"]["name"] for entry in installed.objects("ipaddresspools", "-A")]
    assert listed == ["renamed"]
    wait_for(lambda: answer(installed, address(installed) or VIP), "the VIP")
    assert not any(recap(installed.roles(renamed)).values())
    installed.roles(pools(metallb_pool_allow_moves=True))
    wait_for(lambda: answer(installed, address(installed) or VIP), "the VIP")
