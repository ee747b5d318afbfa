# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Network policies: declarations, their objects, refusals, and the plugin that enforces them."""

from __future__ import annotations

import ipaddress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.homelab.loadbalancer.plugins.module_utils._common.errors import InputError
from ansible_collections.homelab.loadbalancer.plugins.plugin_utils._k8s.model import Apply, Plan, Remove
from ansible_collections.homelab.loadbalancer.plugins.plugin_utils._network_policy import plan as planner

LABELS = {"app.kubernetes.io/managed-by": "homelab.loadbalancer"}
BASE = {"name": "web", "namespace": "shop"}


def looked_up(**resources: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The answers of a cluster, by kinds."""
    kinds = ("NetworkPolicy", "DaemonSet", "Node")
    return [{"kind": kind, "api_found": True, "resources": resources.get(kind, [])} for kind in kinds]


def options(policies: Any, **others: Any) -> dict[str, Any]:
    """The options of the module, as the role gives them."""
    return {"state": "present", "policies": policies, "prefix": "network_policy_", **others}


def plan(policies: Any, cluster: list[dict[str, Any]] | None = None, **others: Any) -> Plan:
    return planner.plan(options(policies, **others), looked_up() if cluster is None else cluster)


def applied(made: Plan) -> list[Any]:
    """The objects that a plan applies."""
    [step] = [step for step in made.steps if isinstance(step, Apply)]
    return list(step.objects)


def removed(made: Plan) -> list[tuple[str, str]]:
    """The namespaces and names of the objects that a plan removes."""
    [step] = [step for step in made.steps if isinstance(step, Remove)]
    return [(entry["metadata"]["namespace"], entry["metadata"]["name"]) for entry in step.objects]


def spec(**policy: Any) -> dict[str, Any]:
    """The spec of the object of one policy."""
    made: dict[str, Any] = applied(plan([{**BASE, **policy}]))[0]["spec"]
    return made


def peers(*entries: dict[str, Any]) -> list[dict[str, Any]]:
    """The peers in the object of a rule."""
    found: list[dict[str, Any]] = spec(ingress=[{"from": list(entries)}])["ingress"][0]["from"]
    return found


def refusal(policies: Any, cluster: list[dict[str, Any]] | None = None) -> str:
    """Why policies are refused; empty when they are not."""
    try:
        return "\n".join(plan(policies, cluster).refusals)
    except InputError as error:
        return str(error)


def live(name: str, namespace: str = "shop", ours: bool = True) -> dict[str, Any]:
    metadata = {"name": name, "namespace": namespace, "labels": LABELS if ours else {"app": "x"}}
    return {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": metadata, "spec": {}}


def daemon_set(name: str, ready: int = 3) -> dict[str, Any]:
    status = {"numberReady": ready, "desiredNumberScheduled": 3}
    return {"metadata": {"name": name, "namespace": "kube-system"}, "status": status}


def node(version: str) -> dict[str, Any]:
    return {"metadata": {"name": "one"}, "status": {"nodeInfo": {"kubeletVersion": version}}}


def test_objects_have_the_label_of_the_role() -> None:
    made = applied(plan([{**BASE, "ingress": "deny"}]))
    assert made == [
        {
            "apiVersion": "networking.k8s.io/v1",
            "kind": "NetworkPolicy",
            "metadata": {"name": "web", "namespace": "shop", "labels": LABELS},
            "spec": {"podSelector": {}, "policyTypes": ["Ingress"]},
        }
    ]


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        ({"ingress": "deny", "egress": "deny"}, {"policyTypes": ["Ingress", "Egress"]}),
        ({"egress": "deny"}, {"policyTypes": ["Egress"]}),
        # A rule without anything in it allows everything.
        ({"ingress": [{}]}, {"policyTypes": ["Ingress"], "ingress": [{}]}),
        (
            {"egress": [{"to": [{"pods": {"app": "db"}}], "ports": [5432]}]},
            {
                "policyTypes": ["Egress"],
                "egress": [
                    {
                        "to": [{"podSelector": {"matchLabels": {"app": "db"}}}],
                        "ports": [{"port": 5432, "protocol": "TCP"}],
                    }
                ],
            },
        ),
    ],
)
def test_directions(policy: dict[str, Any], expected: dict[str, Any]) -> None:
    assert spec(**policy) == {"podSelector": {}, **expected}


def test_pods_are_selected() -> None:
    assert spec(pods={"app": "web", "tier": 1}, ingress="deny")["podSelector"] == {
        "matchLabels": {"app": "web", "tier": "1"}
    }


@pytest.mark.parametrize(
    ("entry", "peer"),
    [
        ({"pods": {}}, {"podSelector": {}}),
        ({"namespaces": {}}, {"namespaceSelector": {}}),
        ({"namespaces": {"team": "a"}}, {"namespaceSelector": {"matchLabels": {"team": "a"}}}),
        (
            {"namespace": "monitoring", "pods": {"app": "probe"}},
            {
                "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}},
                "podSelector": {"matchLabels": {"app": "probe"}},
            },
        ),
        ({"network": "0.0.0.0/0"}, {"ipBlock": {"cidr": "0.0.0.0/0"}}),
        ({"network": "172.16.0.21"}, {"ipBlock": {"cidr": "172.16.0.21/32"}}),
        (
            {"network": "fd00::/16", "except": ["fd00:1::/32"]},
            {"ipBlock": {"cidr": "fd00::/16", "except": ["fd00:1::/32"]}},
        ),
    ],
)
def test_peers_are_translated(entry: dict[str, Any], peer: dict[str, Any]) -> None:
    assert peers(entry) == [peer]


@pytest.mark.parametrize(
    ("port", "expected"),
    [
        (80, {"port": 80, "protocol": "TCP"}),
        ("80", {"port": 80, "protocol": "TCP"}),
        ("metrics", {"port": "metrics", "protocol": "TCP"}),
        ({"port": 53, "protocol": "udp"}, {"port": 53, "protocol": "UDP"}),
        ({"port": 8000, "end_port": 8010}, {"port": 8000, "endPort": 8010, "protocol": "TCP"}),
    ],
)
def test_ports(port: Any, expected: dict[str, Any]) -> None:
    assert spec(ingress=[{"ports": [port]}])["ingress"] == [{"ports": [expected]}]


def ingress(**rule: Any) -> dict[str, Any]:
    return {**BASE, "ingress": [rule]}


@pytest.mark.parametrize(
    ("policy", "message"),
    [
        ({**BASE}, "network_policy_policies[0] has neither ingress nor egress"),
        ({"name": "web", "ingress": "deny"}, "network_policy_policies[0].namespace is missing"),
        ({**BASE, "name": "Web", "ingress": "deny"}, "network_policy_policies[0].name Web is not"),
        ({**BASE, "namespace": "a.b", "ingress": "deny"}, "network_policy_policies[0].namespace a.b is not"),
        ({**BASE, "ingress": "allow"}, "network_policy_policies[0].ingress allow is neither deny nor a list"),
        ({**BASE, "egress": []}, "network_policy_policies[0].egress is empty: write deny"),
        ({**BASE, "pods": {"a b": "c"}, "ingress": "deny"}, "network_policy_policies[0].pods a b is not"),
        ({**BASE, "egress": [{"from": []}]}, "network_policy_policies[0].egress[0].from is not a known key"),
        (ingress(**{"from": []}), "network_policy_policies[0].ingress[0].from is empty"),
        (ingress(ports=[]), "network_policy_policies[0].ingress[0].ports is empty"),
        (ingress(ports=[0]), "network_policy_policies[0].ingress[0].ports[0].port 0 is not a port"),
        (ingress(ports=["53/udp"]), "ports[0].port 53/udp is not a number or the name of a port"),
        (ingress(ports=[{"port": 9, "protocol": "icmp"}]), "ports[0].protocol icmp is not one of tcp, udp, sctp"),
        (ingress(ports=[{"port": 9, "end_port": 8}]), "ports[0].end_port 8 is not a port from 9 to 65535"),
        (ingress(ports=[{"port": "web", "end_port": 8}]), "ports[0].end_port needs a number as port"),
        (ingress(**{"from": [{}]}), "ingress[0].from[0] is empty: name pods"),
        (ingress(**{"from": [{"network": "172.16.0.1/24"}]}), "from[0].network 172.16.0.1/24 has host bits set"),
        (ingress(**{"from": [{"except": ["10.0.0.0/8"]}]}), "from[0].except needs a network"),
        (ingress(**{"from": [{"network": "10.0.0.0/8", "pods": {}}]}), "from[0] has a network and pods"),
        (
            ingress(**{"from": [{"network": "10.0.0.0/8", "except": ["11.0.0.0/16"]}]}),
            "from[0].except[0] 11.0.0.0/16 is not a part of 10.0.0.0/8",
        ),
        (ingress(**{"from": [{"namespace": "a", "namespaces": {}}]}), "from[0] has a namespace and labels"),
    ],
)
def test_invalid_policies_are_refused(policy: dict[str, Any], message: str) -> None:
    assert message in refusal([policy])


def test_duplicate_names_are_refused() -> None:
    deny = {**BASE, "ingress": "deny"}
    assert "network_policy_policies[1].name web is already that of network_policy_policies[0]" in refusal([deny, deny])
    assert refusal([deny, {**deny, "namespace": "other"}]) == ""


def test_undeclared_policies_removed_foreign_policies_kept() -> None:
    cluster = looked_up(NetworkPolicy=[live("web"), live("old"), live("web", "other"), live("theirs", ours=False)])
    assert removed(plan([{**BASE, "ingress": "deny"}], cluster)) == [("shop", "old"), ("other", "web")]
    everything = [("shop", "web"), ("shop", "old"), ("other", "web")]
    assert removed(plan([], cluster)) == everything
    assert removed(plan(None, cluster, state="absent")) == everything


def test_foreign_policy_is_refused() -> None:
    cluster = looked_up(NetworkPolicy=[live("web", ours=False)])
    said = refusal([{**BASE, "ingress": "deny"}], cluster)
    assert "network_policy_policies[0] web already exists in the namespace shop, and this role did not make it" in said


@pytest.mark.parametrize(
    ("cluster", "message"),
    [
        (
            {"DaemonSet": [daemon_set("calico-node")]},
            "Calico enforces them (DaemonSet kube-system/calico-node, ready on 3 of 3 nodes)",
        ),
        (
            {"DaemonSet": [daemon_set("cilium-envoy"), daemon_set("cilium", 1)]},
            "Cilium enforces them (DaemonSet kube-system/cilium, ready on 1 of 3 nodes)",
        ),
        ({"DaemonSet": [daemon_set("kube-router")]}, "kube-router enforces them"),
        ({"DaemonSet": [daemon_set("antrea-agent")]}, "Antrea enforces them"),
        ({"DaemonSet": [daemon_set("weave-net")]}, "Weave Net enforces them"),
        ({"DaemonSet": [daemon_set("rke2-canal")]}, "Canal enforces them"),
        ({"Node": [node("v1.33.1+k3s1")]}, "k3s enforces them, unless"),
        ({"Node": [node("v1.33.1")], "DaemonSet": [daemon_set("kube-flannel-ds")]}, "no known CNI plugin enforces"),
        ({"DaemonSet": [daemon_set("cilium-envoy")]}, "no known CNI plugin enforces"),
        ({}, "no known CNI plugin enforces"),
    ],
)
def test_enforcing_plugin_is_named(cluster: dict[str, Any], message: str) -> None:
    made = plan([{**BASE, "ingress": "deny"}], looked_up(**cluster))
    [said] = made.notes
    assert said.startswith(message)
    assert made.result == {"enforcement": said}


def test_enforcement_is_noted_only_with_declared_policies() -> None:
    assert plan([]).notes == []


@pytest.mark.parametrize(
    ("policies", "message"),
    [
        (None, "network_policy_policies is undefined or null: declare the policies, or write "
               "network_policy_policies: [] to remove everything that this role made"),
        ("deny", "network_policy_policies must be a list, not str"),
        ([BASE], "network_policy_policies[0] has neither ingress nor egress: write deny, or rules of what is allowed"),
    ],
)  # fmt: skip
def test_a_wrong_declaration_is_refused_before_the_cluster_is_read(policies: Any, message: str) -> None:
    with pytest.raises(InputError) as caught:
        planner.queries(options(policies))
    assert str(caught.value) == message


def test_all_foreign_policies_are_named() -> None:
    cluster = looked_up(NetworkPolicy=[live("web", ours=False), live("db", ours=False)])
    made = plan([{**BASE, "ingress": "deny"}, {**BASE, "name": "db", "ingress": "deny"}], cluster)
    assert [refusal.split(" already exists")[0] for refusal in made.refusals] == [
        "network_policy_policies[0] web",
        "network_policy_policies[1] db",
    ]


@given(st.ip_addresses(v=4), st.integers(1, 32), st.integers(0, 31))
def test_exception_must_be_a_proper_subnet(address: Any, length: int, whole: int) -> None:
    """The API server requires an exception that is inside the network and smaller."""
    part = ipaddress.ip_network((address, length), strict=False)
    network = ipaddress.ip_network((address, whole), strict=False)
    said = refusal([ingress(**{"from": [{"network": str(network), "except": [str(part)]}]})])
    assert (said == "") == (part != network and part.subnet_of(network))
