# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The role `network_policy` on a real API server, in a cluster that enforces none."""

from __future__ import annotations

from typing import Any, Iterator

import pytest

from ansible_collections.homelab.loadbalancer.tests.cluster.cluster_lab import Cluster, changed

NAMESPACE = "policy-test"
DENY = {"name": "deny-all", "namespace": NAMESPACE, "ingress": "deny", "egress": "deny"}
# One of everything that a policy can say.
WEB = {
    "name": "web",
    "namespace": NAMESPACE,
    "pods": {"app": "web"},
    "ingress": [
        {
            "from": [
                {"pods": {"app": "front"}},
                {"namespace": "kube-system", "pods": {"k8s-app": "probe"}},
                {"network": "172.16.0.0/24", "except": ["172.16.0.99/32"]},
                {"namespaces": {}},
            ],
            "ports": [8080, "metrics", {"port": 9000, "end_port": 9010, "protocol": "udp"}],
        }
    ],
    "egress": [{"ports": [53, {"port": 53, "protocol": "udp"}]}, {"to": [{"network": "fd00:16::/64"}]}],
}

OTHERS = (
    """
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: others, namespace: %s}
spec: {podSelector: {}, policyTypes: [Ingress]}
"""
    % NAMESPACE
)


@pytest.fixture
def namespace(cluster: Cluster) -> Iterator[Cluster]:
    """The cluster with a namespace that goes with all that is in it."""
    cluster.kubectl("create", "namespace", NAMESPACE)
    try:
        yield cluster
    finally:
        cluster.kubectl("delete", "namespace", NAMESPACE)


def policies(cluster: Cluster, *declared: dict[str, Any], options: tuple[str, ...] = (), state: str = "present") -> str:
    """Run the role and return what it printed."""
    role = {"role": "network_policy", "network_policy_policies": list(declared), "network_policy_state": state}
    return cluster.roles(role, options=options)


def names(cluster: Cluster) -> list[str]:
    """The policies of the namespace."""
    return [entry["metadata"]["name"] for entry in cluster.objects("networkpolicy", "-n", NAMESPACE)]


def test_from_nothing_to_nothing(namespace: Cluster) -> None:
    predicted = policies(namespace, DENY, WEB, options=("--check", "--diff"))
    assert changed(predicted)
    assert "+    kind: NetworkPolicy" in predicted
    assert names(namespace) == []

    said = policies(namespace, DENY, WEB)
    assert changed(said)
    assert "nothing known enforces network policies in this cluster" in " ".join(said.split())
    assert names(namespace) == ["deny-all", "web"]
    # Nothing was lost on the way: the API server drops the fields that it does not know.
    read = namespace.objects("networkpolicy", "-n", NAMESPACE)[1]["spec"]
    assert read["ingress"][0]["from"][2] == {"ipBlock": {"cidr": "172.16.0.0/24", "except": ["172.16.0.99/32"]}}
    assert read["ingress"][0]["ports"][1:] == [
        {"port": "metrics", "protocol": "TCP"},
        {"port": 9000, "endPort": 9010, "protocol": "UDP"},
    ]
    assert not changed(policies(namespace, DENY, WEB))

    # What is declared no more goes, what somebody else made stays.
    namespace.kubectl("apply", "-f", "-", stdin=OTHERS)
    assert changed(policies(namespace, WEB))
    assert names(namespace) == ["others", "web"]
    assert not changed(policies(namespace, WEB, options=("--check", "--diff")))
    assert changed(policies(namespace, state="absent"))
    assert names(namespace) == ["others"]
