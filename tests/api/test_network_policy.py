# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The role and the module `network_policy` on a real API server: from nothing to policies, and back to nothing."""

from __future__ import annotations

import re
from typing import Any

from ansible_collections.homelab.loadbalancer.tests.api.api_server import ApiServer, writes

POLICIES = "/apis/networking.k8s.io/v1/namespaces/%s/networkpolicies"
DENY: dict[str, Any] = {"name": "deny-all", "ingress": "deny", "egress": "deny"}
# One of everything that a policy can say.
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
ROLE = {"ansible.builtin.include_role": {"name": "homelab.loadbalancer.network_policy"}}


def declare(namespace: str, *policies: dict[str, Any], **rest: Any) -> dict[str, Any]:
    """The task that declares the policies, all in one namespace."""
    wanted = [{**policy, "namespace": namespace} for policy in policies]
    return {"homelab.loadbalancer.network_policy": {"policies": wanted}, "register": "done", **rest}


def check(*conditions: str) -> dict[str, Any]:
    return {"ansible.builtin.assert": {"that": list(conditions)}}


def names(api: ApiServer, namespace: str) -> list[str]:
    return sorted(one["metadata"]["name"] for one in api.get(POLICIES % namespace)["items"])


def flat(text: str) -> str:
    return re.sub(r"\s+", " ", text)


def test_policies_come_stay_and_go(api: ApiServer, namespace: str) -> None:
    created = [text % namespace for text in ("create NetworkPolicy %s/deny-all", "create NetworkPolicy %s/web")]
    with api.record() as asked:
        api.play(
            [
                declare(namespace, DENY, WEB, check_mode=True),
                check("done.changes == %s" % created, "done.diff | length == 2"),
            ]
        )
    assert writes(asked) == []
    api.play(
        [
            declare(namespace, DENY, WEB),
            check("done.changes == %s" % created, "done.enforcement is match('nothing known enforces')"),
            declare(namespace, DENY, WEB),
            check("done is not changed"),
        ]
    )
    # Nothing was lost on the way: the API server drops the fields that it does not know.
    [ingress] = api.get(POLICIES % namespace + "/web")["spec"]["ingress"]
    assert ingress["from"][2] == {"ipBlock": {"cidr": "172.16.0.0/24", "except": ["172.16.0.99/32"]}}
    assert ingress["ports"][1:] == [
        {"port": "metrics", "protocol": "TCP"},
        {"port": 9000, "endPort": 9010, "protocol": "UDP"},
    ]
    api.ask("POST", POLICIES % namespace, OTHERS)
    absent = {"homelab.loadbalancer.network_policy": {"state": "absent"}, "register": "done"}
    api.play(
        [
            declare(namespace, WEB),
            check("done.changes == ['delete NetworkPolicy %s/deny-all']" % namespace),
            absent,
            check("done.changes == ['delete NetworkPolicy %s/web']" % namespace),
            absent,
            check("done is not changed"),
        ]
    )
    assert names(api, namespace) == ["others"]


def test_a_refusal_changes_nothing(api: ApiServer, namespace: str) -> None:
    api.ask("POST", POLICIES % namespace, OTHERS)
    wanted = [{**policy, "namespace": namespace} for policy in (DENY, {**DENY, "name": "others"})]
    with api.record() as asked:
        said = api.play([{**ROLE, "vars": {"network_policy_policies": wanted}}], rc=2).out
        undefined = api.play([ROLE], rc=2).out
    assert "network_policy_policies[1] others is there in the namespace %s and is not of" % namespace in flat(said)
    assert "network_policy_policies is not defined, or null" in flat(undefined)
    assert writes(asked) == []


def test_the_role_says_who_enforces_the_policies(api: ApiServer, namespace: str) -> None:
    role = {**ROLE, "vars": {"network_policy_policies": [{**DENY, "namespace": namespace}]}}
    said = api.play([role]).out
    assert "nothing known enforces network policies in this cluster" in flat(said)
    assert names(api, namespace) == ["deny-all"]
    api.play([{**ROLE, "vars": {"network_policy_state": "absent"}}])
    assert names(api, namespace) == []
