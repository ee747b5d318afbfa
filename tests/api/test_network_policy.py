# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The role and the module `network_policy` on a real API server."""

from __future__ import annotations

import re
from typing import Any

from ansible_collections.homelab.loadbalancer.tests.api.api_server import ApiServer, writes
from ansible_collections.homelab.loadbalancer.tests.api.in_process import Cluster
from ansible_collections.homelab.loadbalancer.tests.api.objects import placed
from ansible_collections.homelab.loadbalancer.tests.api.plays import must_fail, role, shown

POLICIES = "/apis/networking.k8s.io/v1/namespaces/%s/networkpolicies"
DENY: dict[str, Any] = {"name": "deny-all", "ingress": "deny", "egress": "deny"}
# A policy with all options.
WEB: dict[str, Any] = {
    "name": "web",
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
OTHERS = {"metadata": {"name": "others"}, "spec": {"podSelector": {}, "policyTypes": ["Ingress"]}}


def names(api: ApiServer, namespace: str) -> list[str]:
    return sorted(one["metadata"]["name"] for one in api.get(POLICIES % namespace)["items"])


def test_lifecycle(api: ApiServer, cluster: Cluster, namespace: str) -> None:
    created = [text % namespace for text in ("create NetworkPolicy %s/deny-all", "create NetworkPolicy %s/web")]
    both, absent = {"policies": placed(namespace, DENY, WEB)}, {"state": "absent"}
    with api.record() as asked:
        (predicted,) = cluster.action("network_policy", {**both, "check": True})
    assert writes(asked) == []
    made, again = cluster.action("network_policy", both, both)
    assert made["changes"] == predicted["changes"] == created
    assert len(predicted["diff"]) == 2 and not again["changed"]
    assert made["enforcement"].startswith("no known CNI plugin enforces")
    # The API server drops unknown fields, so it knows these.
    [ingress] = api.get(POLICIES % namespace + "/web")["spec"]["ingress"]
    assert ingress["from"][2] == {"ipBlock": {"cidr": "172.16.0.0/24", "except": ["172.16.0.99/32"]}}
    assert ingress["ports"][1:] == [
        {"port": "metrics", "protocol": "TCP"},
        {"port": 9000, "endPort": 9010, "protocol": "UDP"},
    ]
    api.ask("POST", POLICIES % namespace, OTHERS)
    fewer, gone, nothing = cluster.action("network_policy", {"policies": placed(namespace, WEB)}, absent, absent)
    assert fewer["changes"] == ["delete NetworkPolicy %s/deny-all" % namespace]
    assert gone["changes"] == ["delete NetworkPolicy %s/web" % namespace]
    assert not nothing["changed"]
    assert names(api, namespace) == ["others"]


def test_role_refuses_prints_the_enforcement_and_removes(api: ApiServer, namespace: str) -> None:
    api.ask("POST", POLICIES % namespace, OTHERS)
    foreign = placed(namespace, DENY, {**DENY, "name": "others"})
    tasks = [
        must_fail(role("network_policy", network_policy_policies=foreign)),
        must_fail(role("network_policy")),
        role("network_policy", network_policy_policies=placed(namespace, DENY)),
        role("network_policy", network_policy_state="absent"),
    ]
    with api.record() as asked:
        done = api.play(tasks)
    taken, undefined = shown(done.out)
    refusal = "network_policy_policies[1] others already exists in the namespace %s, and this role did not make it"
    assert taken.startswith(refusal % namespace)
    assert "network_policy_policies is undefined or null" in undefined
    assert "no known CNI plugin enforces network policies in this cluster" in re.sub(r"\s+", " ", done.out)
    assert [one.verb for one in writes(asked)] == ["patch", "delete"]
    assert names(api, namespace) == ["others"]
