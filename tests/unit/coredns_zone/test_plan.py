# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The plan of a declared zone: its changes, and objects that it keeps."""

from __future__ import annotations

import re
from typing import Any, NamedTuple, Sequence

import pytest

from ansible_collections.homelab.loadbalancer.plugins.module_utils._common.errors import InputError
from ansible_collections.homelab.loadbalancer.plugins.plugin_utils._common.objects import MANAGED_BY, MANAGER, name_of
from ansible_collections.homelab.loadbalancer.plugins.plugin_utils._coredns_zone import plan as planner
from ansible_collections.homelab.loadbalancer.plugins.plugin_utils._k8s.model import (
    Apply,
    Outcome,
    Rehearsal,
    Remove,
    Rollout,
)

VIP = "172.16.0.100"
COREFILE = ".:53 {\n    errors\n    kubernetes cluster.local in-addr.arpa ip6.arpa {\n    }\n    reload\n}"
IMAGE = "registry.k8s.io/coredns/coredns:v1.12.2"
LABELS = {"k8s-app": "kube-dns"}


NODE = {"address": "172.16.0.11", "port": 30053}


def thing(name: str, namespace: str = "kube-system", **rest: Any) -> dict[str, Any]:
    return {
        "metadata": {"name": name, "namespace": namespace, "resourceVersion": "7", **rest.pop("metadata", {})},
        **rest,
    }


def pod_template(config: str = "coredns") -> dict[str, Any]:
    container = {"name": "coredns", "image": IMAGE, "lifecycle": {"preStop": {}}}
    volumes = [{"name": "config", "configMap": {"name": config}}, {"name": "other", "configMap": {"name": "other"}}]
    return {"metadata": {"labels": LABELS}, "spec": {"containers": [container], "volumes": volumes}}


def cluster(**kinds: Any) -> dict[str, Any]:
    """A cluster as kubeadm makes it."""
    address = {"type": "InternalIP", "address": "172.16.0.11"}
    return {
        "ConfigMap": [thing("coredns", data={"Corefile": COREFILE})],
        "Deployment": [
            thing("coredns", spec={"selector": {"matchLabels": LABELS}, "template": pod_template()}),
        ],
        "Service": [thing("kube-dns", spec={"ports": [{"port": 53}]})],
        "Node": [thing("control1", "", status={"addresses": [{"type": "Hostname", "address": "control1"}, address]})],
        **kinds,
    }


class Made(NamedTuple):
    """The changes of a plan, and the servers of the zone without an address of a load balancer."""

    trial: list[Any]
    apply: list[Any]
    remove: list[Any]
    servers: list[dict[str, Any]]


def answers(kinds: dict[str, Any]) -> list[dict[str, Any]]:
    return [{"kind": kind, "api_found": True, "resources": things} for kind, things in kinds.items()]


def plan(options: dict[str, Any], kinds: dict[str, Any], got: Sequence[str] = ()) -> Made:
    """got -- the addresses of the Service in the end"""
    made = planner.plan(options, answers(kinds))
    by_type: dict[Any, list[Any]] = {}
    for step in made.steps:
        by_type.setdefault(type(step), []).extend(getattr(step, "objects", ()))
    assert by_type.get(Rollout, []) == by_type.get(Apply, [])
    outcome = Outcome(addresses={"kube-system/coredns-zone": list(got)} if got else {})
    assert callable(made.result)
    trial, applied, removed = (by_type.get(kind, []) for kind in (Rehearsal, Apply, Remove))
    return Made(trial, applied, removed, made.result(outcome)["servers"])


def after(made: Made, before: dict[str, Any]) -> dict[str, Any]:
    """The cluster when a plan was applied to it."""
    cluster = {kind: {entry["metadata"]["name"]: entry for entry in entries} for kind, entries in before.items()}
    for entry in made.apply:
        standing = cluster[entry["kind"]].get(entry["metadata"]["name"], {})
        metadata = {"resourceVersion": "8", **standing.get("metadata", {}), **entry["metadata"]}
        kept = {"spec": standing["spec"]} if name_of(entry) == "Deployment kube-system/coredns" else {}
        cluster[entry["kind"]][entry["metadata"]["name"]] = {**standing, **entry, **kept, "metadata": metadata}
    for entry in made.remove:
        del cluster[entry["kind"]][entry["metadata"]["name"]]
    return {kind: list(entries.values()) for kind, entries in cluster.items()}


def declared(**variables: Any) -> dict[str, Any]:
    return {
        "state": "present",
        "prefix": "coredns_zone_",
        "name": "k8s.local",
        "mode": "cluster",
        "records": [{"name": "web", "addresses": [VIP]}],
        "ttl": 60,
        "node_port": 30053,
        "load_balancer": False,
        "image": "",
        "replicas": 2,
        "extra": "",
        "from_routes": True,
        "trial_timeout": 60,
        "timeout": 300,
        **variables,
    }


def names(objects: list[dict[str, Any]]) -> list[str]:
    return [name_of(entry).replace("kube-system/", "") for entry in objects]


def only(made: Made, name: str) -> dict[str, Any]:
    found: dict[str, Any]
    (found,) = [entry for entry in made.apply if name_of(entry).replace("kube-system/", "") == name]
    return found


def test_mode_cluster() -> None:
    made = plan(declared(), cluster())
    assert names(made.apply) == ["Service coredns-zone", "ConfigMap coredns", "Deployment coredns"]
    assert made.remove == []
    config = only(made, "ConfigMap coredns")
    assert config["data"]["Corefile"].endswith("\n" + COREFILE)
    assert "k8s.local:53,\nk8s.local:1053 {" in config["data"]["Corefile"]
    assert config["metadata"]["resourceVersion"] == "7"
    assert MANAGED_BY not in config["metadata"].get("labels", {})
    spec = only(made, "Service coredns-zone")["spec"]
    assert (spec["type"], spec["selector"]) == ("NodePort", LABELS)
    assert [(port["protocol"], port["port"], port["targetPort"], port["nodePort"]) for port in spec["ports"]] == [
        ("UDP", 53, 1053, 30053),
        ("TCP", 53, 1053, 30053),
    ]
    assert made.servers == [NODE]


def test_mode_deployment() -> None:
    made = plan(declared(mode="deployment"), cluster())
    assert names(made.apply) == ["Service coredns-zone", "ConfigMap coredns-zone", "Deployment coredns-zone"]
    spec = only(made, "Deployment coredns-zone")["spec"]
    container = spec["template"]["spec"]["containers"][0]
    assert (spec["replicas"], container["image"]) == (2, IMAGE)
    assert only(made, "Service coredns-zone")["spec"]["selector"] == spec["selector"]["matchLabels"]
    text = only(made, "ConfigMap coredns-zone")["data"]["Corefile"]
    assert re.findall(r"^\S+:\d+", text, re.MULTILINE) == ["k8s.local:1053", "100.0.16.172.in-addr.arpa:1053"]


@pytest.mark.parametrize("mode", ["cluster", "deployment"])
def test_trial_pod_is_no_endpoint_of_a_service(mode: str) -> None:
    made = plan(declared(mode=mode), cluster())
    config, deployment = made.trial
    assert names(made.trial) == ["ConfigMap coredns-zone-trial", "Deployment coredns-zone-trial"]
    assert config["data"] == made.apply[1]["data"]
    labels = deployment["spec"]["template"]["metadata"]["labels"]
    for entry in made.apply:
        selector = entry.get("spec", {}).get("selector")
        assert not selector or not selector.items() <= labels.items()
    pod = deployment["spec"]["template"]["spec"]
    assert pod["volumes"][0]["configMap"]["name"] == "coredns-zone-trial"
    assert "lifecycle" not in pod["containers"][0]
    # The one it was made of is as before.
    assert plan(declared(mode=mode), cluster()) == made


@pytest.mark.parametrize("mode", ["cluster", "deployment"])
def test_a_second_run_has_nothing_to_try_and_applies_the_same(mode: str) -> None:
    first = plan(declared(mode=mode), cluster())
    second = plan(declared(mode=mode), after(first, cluster()))
    assert (second.trial, second.remove) == ([], [])
    assert [entry.get("data") or entry.get("spec") for entry in second.apply] == [
        entry.get("data") or entry.get("spec") for entry in first.apply
    ]


@pytest.mark.parametrize("mode", ["cluster", "deployment"])
def test_removal_restores_the_corefile(mode: str) -> None:
    standing = after(plan(declared(mode=mode), cluster()), cluster())
    made = plan(declared(state="absent", records=["not", "looked", "at"]), standing)
    left = after(made, standing)
    assert {kind: [name_of({**entry, "kind": kind}) for entry in entries] for kind, entries in left.items()} == {
        kind: [name_of({**entry, "kind": kind}) for entry in entries] for kind, entries in cluster().items()
    }
    assert left["ConfigMap"][0]["data"] == {"Corefile": COREFILE}
    assert (made.trial, made.servers) == ([], [])
    assert plan(declared(state="absent"), left) == Made([], [], [], [])


def test_from_one_mode_to_the_other_and_back() -> None:
    own = after(plan(declared(mode="deployment"), cluster()), cluster())
    made = plan(declared(), own)
    assert sorted(names(made.remove)) == ["ConfigMap coredns-zone", "Deployment coredns-zone"]
    back = plan(declared(mode="deployment"), after(made, own))
    assert only(back, "ConfigMap coredns")["data"]["Corefile"] == COREFILE
    assert "spec" not in only(back, "Deployment coredns")
    assert back.remove == []


@pytest.mark.parametrize(
    ("raw", "kind", "annotation", "addresses"),
    [
        (True, "LoadBalancer", None, []),
        ("true", "LoadBalancer", None, []),
        (VIP, "LoadBalancer", VIP, [VIP]),
        ([VIP, "FD00::1"], "LoadBalancer", VIP + ",fd00::1", [VIP, "fd00::1"]),
        ("false", "NodePort", None, []),
    ],
)
def test_a_load_balancer(raw: Any, kind: str, annotation: Any, addresses: list[str]) -> None:
    made = plan(declared(load_balancer=raw), cluster())
    service = only(made, "Service coredns-zone")
    assert service["spec"]["type"] == kind
    assert service["metadata"].get("annotations", {}).get("metallb.io/loadBalancerIPs") == annotation
    assert made.servers == [*({"address": address, "port": 53} for address in addresses), NODE]


def test_zone_without_an_external_address_has_no_servers() -> None:
    made = plan(declared(node_port=0), cluster())
    assert only(made, "Service coredns-zone")["spec"]["type"] == "ClusterIP"
    assert made.servers == []


OTHERS_PORT = thing("web", "default", spec={"ports": [{"port": 80, "nodePort": 30053}]})
OTHERS_ADDRESS = thing("web", "default", status={"loadBalancer": {"ingress": [{"ip": VIP}]}})


@pytest.mark.parametrize(
    ("variables", "kinds", "message"),
    [
        ({}, {"Service": [OTHERS_PORT]}, "coredns_zone_node_port 30053 is already that of Service default/web: "),
        ({"node_port": 70000}, {}, "coredns_zone_node_port 70000 is not a port, or 0 for none, from 0 to 65535"),
        ({"load_balancer": VIP}, {"Service": [OTHERS_ADDRESS]},
         "coredns_zone_load_balancer 172.16.0.100 is already the address of Service default/web: "),
        ({"load_balancer": "yes"}, {}, "coredns_zone_load_balancer yes is not an IP address"),
        ({"load_balancer": []}, {}, "coredns_zone_load_balancer is empty: "),
        ({"name": "cluster.local"}, {}, "coredns_zone_name cluster.local would hide names of the zone cluster.local"),
        ({"name": "local"}, {}, "coredns_zone_name local would hide names of the zone cluster.local"),
        ({"name": "svc.cluster.local"}, {}, "coredns_zone_name svc.cluster.local would hide names of the zone"),
        ({"extra": "# END homelab.loadbalancer coredns_zone"}, {}, "coredns_zone_extra has a line that marks"),
        ({"mode": "deployment", "image": "Not An Image"}, {}, "coredns_zone_image Not An Image is not an image"),
        ({"mode": "deployment"}, {"Deployment": []}, "coredns_zone_image is empty, and the cluster has no CoreDNS"),
        ({}, {"Deployment": []}, "the cluster has no Deployment and ConfigMap kube-system/coredns with a Corefile: "),
        ({}, {"ConfigMap": [thing("coredns")]}, "the cluster has no Deployment and ConfigMap kube-system/coredns"),
        ({}, {"ConfigMap": [thing("coredns-zone")]}, "ConfigMap kube-system/coredns-zone is not of this role: "),
    ],
)  # fmt: skip
def test_invalid_options_are_refused(variables: dict[str, Any], kinds: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match="^" + re.escape(message)):
        plan(declared(**variables), cluster(**kinds))


@pytest.mark.parametrize(
    "head", ["k8s.local {", "k8s.local:53 {", "a.org:53, K8s.local. {", "dns://k8s.local:5353 {", "k8s.local,\na.org {"]
)
def test_zone_in_the_foreign_corefile_is_refused(head: str) -> None:
    corefile = {"Corefile": COREFILE + "\n" + head + "\n    hosts\n}\n"}
    with pytest.raises(InputError, match=r"^coredns_zone_name k8s\.local has another server block"):
        plan(declared(), cluster(ConfigMap=[thing("coredns", data=corefile)]))


@pytest.mark.parametrize("head", ["k8s.localdomain {", "dev.k8s.local:53 {", "# k8s.local {", "k8sxlocal {"])
def test_similar_zones_are_accepted(head: str) -> None:
    corefile = {"Corefile": COREFILE + "\n" + head + "\n    forward k8s.local 10.0.0.1 {\n    }\n}\n"}
    assert plan(declared(), cluster(ConfigMap=[thing("coredns", data=corefile)])).trial


def test_own_objects_are_no_conflict() -> None:
    labels = {"labels": {MANAGED_BY: MANAGER}}
    status = {"loadBalancer": {"ingress": [{"ip": VIP}]}}
    ours = thing("coredns-zone", metadata=labels, spec={"ports": [{"nodePort": 30053}]}, status=status)
    assert plan(declared(load_balancer=True), cluster(Service=[ours])).servers == [{"address": VIP, "port": 53}, NODE]
    elsewhere = {**OTHERS_PORT, "metadata": {"name": "coredns-zone", "namespace": "default"}}
    with pytest.raises(InputError, match="Service default/coredns-zone"):
        plan(declared(), cluster(Service=[elsewhere]))


def steps(options: dict[str, Any], kinds: dict[str, Any]) -> list[Any]:
    return [(type(step), names(getattr(step, "objects", []))) for step in planner.plan(options, answers(kinds)).steps]


def test_other_pods_serve_before_the_service_leads_to_them() -> None:
    own = after(plan(declared(mode="deployment"), cluster()), cluster())
    dns, service = ["ConfigMap coredns", "Deployment coredns"], ["Service coredns-zone"]
    made = ["ConfigMap coredns-zone", "Deployment coredns-zone"]
    there = [(Apply, dns), (Rollout, dns), (Apply, service), (Rollout, service), (Remove, made)]
    assert steps(declared(), own)[1:] == there
    back = after(plan(declared(), own), own)
    assert steps(declared(mode="deployment"), back)[1:] == [
        (Apply, made), (Rollout, made), (Apply, [*service, *dns]), (Rollout, [*service, *dns]),
    ]  # fmt: skip


def test_a_service_that_is_refused_leaves_the_rest_unapplied() -> None:
    standing = after(plan(declared(), cluster()), cluster())
    for kinds in (cluster(), standing):
        made = planner.plan(declared(node_port=80), answers(kinds))
        (applied,) = [step for step in made.steps if isinstance(step, Apply)]
        assert names(list(applied.objects))[0] == "Service coredns-zone"


def test_a_new_corefile_is_tried_first() -> None:
    made = planner.plan(declared(), answers(cluster()))
    assert [type(step) for step in made.steps] == [Rehearsal, Apply, Rollout]
    trial, applied, rollout = made.steps
    assert isinstance(trial, Rehearsal) and isinstance(applied, Apply) and isinstance(rollout, Rollout)
    assert (trial.timeout, made.timeout, applied.force, rollout.addresses) == (60, 300, True, True)
    assert "what is not of this role in it is coredns_zone_extra, and in mode" in trial.failure


def test_the_servers_are_those_that_the_service_got() -> None:
    made = plan(declared(load_balancer=True), cluster(), got=[VIP])
    assert made.servers == [{"address": VIP, "port": 53}, NODE]
    assert plan(declared(), cluster(), got=[VIP]).servers == [NODE]


@pytest.mark.parametrize("state", ["present", "absent"])
def test_remains_of_a_killed_trial_are_removed(state: str) -> None:
    standing = after(plan(declared(), cluster()), cluster())
    labels = {"labels": {MANAGED_BY: MANAGER}}
    standing["Deployment"].append(thing("coredns-zone-trial", metadata=labels))
    made = plan(declared(state=state), standing)
    assert made.trial == [] and "Deployment coredns-zone-trial" in names(made.remove)
    # A new trial takes its place, and goes.
    assert plan(declared(ttl=61), standing).remove == []


@pytest.mark.parametrize(("from_routes", "state", "routed"), [(True, "present", True), (False, "present", False),
                                                              (True, "absent", False)])  # fmt: skip
def test_routes_are_read_only_with_from_routes(from_routes: bool, state: str, routed: bool) -> None:
    kinds = {query["kind"] for query in planner.queries(declared(from_routes=from_routes, state=state))}
    assert ("HTTPRoute" in kinds) is ("Gateway" in kinds) is routed
    assert {"ConfigMap", "Deployment", "Service"} <= kinds
