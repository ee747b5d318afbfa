# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module and the role `metallb` on a real API server, by a manifest whose pods the test itself makes ready."""

from __future__ import annotations

import contextlib
import hashlib
from pathlib import Path
from typing import Any, Iterator

import pytest
import yaml

from ansible_collections.homelab.loadbalancer.plugins.module_utils._common.errors import InputError
from ansible_collections.homelab.loadbalancer.plugins.plugin_utils._k8s.engine import FailedError, RefusedError
from ansible_collections.homelab.loadbalancer.plugins.plugin_utils._k8s.model import Planner
from ansible_collections.homelab.loadbalancer.plugins.plugin_utils._metallb.manifest import RECORD, read
from ansible_collections.homelab.loadbalancer.plugins.plugin_utils._metallb.plan import EXCLUDED, plan, queries
from ansible_collections.homelab.loadbalancer.tests.api.api_server import ApiServer, Refused
from ansible_collections.homelab.loadbalancer.tests.api.in_process import Cluster, repeated
from ansible_collections.homelab.loadbalancer.tests.api.objects import config_map, path, pool, thing
from ansible_collections.homelab.loadbalancer.tests.api.plays import must_fail, role, shown
from ansible_collections.homelab.loadbalancer.tests.api.stub import Fault, Proxy
from ansible_collections.homelab.loadbalancer.tests.integration.namespaces import wait_for

NAMESPACE = "metallb-system"
HOME = "/api/v1/namespaces/" + NAMESPACE
WORKLOADS = "/apis/apps/v1/namespaces/%s/" % NAMESPACE
MERGE = "application/merge-patch+json"
# The status of a Deployment and of a DaemonSet whose one pod runs.
READY = {
    **dict.fromkeys(("replicas", "readyReplicas", "updatedReplicas", "availableReplicas"), 1),
    **dict.fromkeys(("currentNumberScheduled", "desiredNumberScheduled", "updatedNumberScheduled"), 1),
    **dict.fromkeys(("numberAvailable", "numberReady"), 1),
    "numberMisscheduled": 0,
}


def workload(kind: str, name: str, version: str = "1") -> dict[str, Any]:
    labels = {"component": name}
    container = {"name": name, "image": "registry.test/%s:%s" % (name, version)}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [container]}}
    return thing("apps/v1", kind, NAMESPACE, name, spec={"selector": {"matchLabels": labels}, "template": template})


def documents(version: str = "1") -> list[dict[str, Any]]:
    """A manifest like MetalLB's, without its kinds, which the API server has. The first version has one object more."""
    more = [config_map(NAMESPACE, "only-in-1")] if version == "1" else []
    own = [thing("v1", "Namespace", "", NAMESPACE), thing("v1", "ServiceAccount", NAMESPACE, "controller"), *more]
    return [*own, workload("Deployment", "controller", version), workload("DaemonSet", "speaker", version)]


def options(state: str = "present", version: str = "1", **more: Any) -> dict[str, Any]:
    """The options of the module, as the action passes them to the planner."""
    return {
        "state": state,
        "include_excluded_nodes": False,
        "strict_arp": True,
        "take_over": False,
        "allow_moves": False,
        "leaving": [],
        "timeout": 60,
        "prefix": "metallb_",
        "now": "2026-01-02T00:00:00Z",
        "wanted": read(yaml.safe_dump_all(documents(version)), "metallb_manifest") if state == "present" else [],
        **more,
    }


def run(cluster: Cluster, check_mode: bool = False, **given: Any) -> dict[str, Any]:
    return cluster.module(Planner(queries, plan), options(**given), check_mode)


@contextlib.contextmanager
def running_pods(api: ApiServer) -> Iterator[None]:
    """As if there were a node: workloads are ready a moment after each change."""

    def work() -> None:
        for name in ("deployments/controller", "daemonsets/speaker"):
            found = api.get(WORKLOADS + name)
            if found and (found.get("status") or {}).get("observedGeneration") != found["metadata"]["generation"]:
                status = {**READY, "observedGeneration": found["metadata"]["generation"]}
                with contextlib.suppress(Refused):  # it was deleted just now
                    api.ask("PATCH", WORKLOADS + name + "/status", {"status": status}, MERGE)

    with repeated(work):
        yield


@pytest.fixture
def cluster(api: ApiServer, controllers: None) -> Iterator[Cluster]:
    """A cluster without MetalLB, in which pods run. MetalLB is removed afterwards."""
    with running_pods(api):
        yield Cluster(api)
    if api.get(HOME):
        api.ask("DELETE", HOME)
        wait_for(lambda: api.get(HOME) is None, "the end of the namespace " + NAMESPACE, 60)


def recorded(api: ApiServer) -> str:
    text: str = api.get(path(NAMESPACE, RECORD))["data"]["objects"]
    return text


def test_lifecycle_with_an_upgrade(api: ApiServer, cluster: Cluster) -> None:
    for given in ({}, {"version": "2"}, {"state": "absent"}):
        predicted = run(cluster, check_mode=True, **given)
        made = run(cluster, **given)
        again = run(cluster, **given)
        assert predicted["changes"] == made["changes"] != []
        assert again["changes"] == []
        if given == {"version": "2"}:
            assert "delete ConfigMap metallb-system/only-in-1" in made["changes"]
            assert "only-in-1" not in recorded(api)
            # The removal deletes a foreign pool as well, before MetalLB.
            place = "/apis/metallb.io/v1beta1/namespaces/%s/ipaddresspools/mine" % NAMESPACE
            api.apply(place, pool(NAMESPACE, "mine", "192.0.2.0/30"))
    customs = [one for one in made["changes"] if one.startswith("delete IPAddressPool ")]
    assert "delete IPAddressPool metallb-system/mine" in customs
    assert made["changes"][: len(customs)] == customs
    assert made["changes"][-1] == "delete Namespace metallb-system"
    assert made["notes"][0] == "Open firewall ports, strict ARP and the labels of nodes stay as they are."
    assert again["notes"][0] == "No MetalLB that this role installed was in the cluster."
    assert api.get(HOME) is None


def test_interrupted_upgrade_is_completed_by_the_next_run(api: ApiServer, cluster: Cluster) -> None:
    run(cluster)
    with Proxy(api) as proxy:
        proxy.faults.append(Fault("DELETE " + path(NAMESPACE, "only-in-1"), (403, "not now"), times=9))
        with pytest.raises((FailedError, RefusedError), match="not now"):
            run(Cluster(api, proxy.kubeconfig), version="2")
    run(cluster, version="2")
    assert api.get(path(NAMESPACE, "only-in-1")) is None
    assert "only-in-1" not in recorded(api)


def test_foreign_metallb_is_taken_over_only_with_take_over(api: ApiServer, cluster: Cluster) -> None:
    api.ask("POST", "/api/v1/namespaces", {"metadata": {"name": NAMESPACE}})
    api.apply(WORKLOADS + "deployments/controller", workload("Deployment", "controller", "other"))
    with pytest.raises(RefusedError, match="somebody"):
        run(cluster)
    assert api.get(path(NAMESPACE, RECORD)) is None
    assert "update Deployment metallb-system/controller" in run(cluster, take_over=True)["changes"]
    assert run(cluster)["changes"] == []


def test_metallb_is_ready_when_its_webhook_accepts_a_pool(api: ApiServer, cluster: Cluster) -> None:
    place = "/apis/metallb.io/v1beta1/namespaces/%s/ipaddresspools/homelab-loadbalancer-probe" % NAMESPACE
    said = "Internal error occurred: failed calling webhook: connection refused"
    with Proxy(api) as proxy:
        slow = Cluster(api, proxy.kubeconfig)
        proxy.faults.append(Fault(r"PATCH \(dry\) " + place, (500, said), times=2))
        assert run(slow)["changed"]
        proxy.faults[:] = [Fault(r"PATCH \(dry\) " + place, (500, said))]
        with pytest.raises(FailedError) as caught:
            run(slow, timeout=1)
    assert str(caught.value).startswith("MetalLB accepted no pool within 1 seconds. Seen last: " + said)
    assert "see that kube-proxy runs on the API server's own node" in str(caught.value)
    assert api.get(place) is None


def test_removal_is_refused_while_services_have_addresses(api: ApiServer, cluster: Cluster, namespace: str) -> None:
    run(cluster)
    place = path(namespace, "web", "services")
    spec = {"type": "LoadBalancer", "ports": [{"port": 80}], "selector": {"app": "web"}}
    about = {"name": "web", "annotations": {"metallb.io/ip-allocated-from-pool": "public"}}
    api.ask("POST", "/api/v1/namespaces/%s/services" % namespace, {"metadata": about, "spec": spec})
    api.ask("PATCH", place + "/status", {"status": {"loadBalancer": {"ingress": [{"ip": "172.16.0.100"}]}}}, MERGE)
    said = "Service %s/web (172.16.0.100)" % namespace
    with pytest.raises(InputError) as caught:
        run(cluster, state="absent")
    assert str(caught.value).startswith(said + " would lose their addresses: remove these Services first")
    asked = run(cluster, check_mode=True, state="absent", allow_moves=True, leaving=[{"app": "none"}])
    assert asked["losses"] == [said]
    assert run(cluster, state="absent", allow_moves=True)["changed"]


def test_strict_arp_is_set_and_excluded_nodes_are_included(api: ApiServer, cluster: Cluster) -> None:
    """As kubeadm installs kube-proxy."""
    config = "kind: KubeProxyConfiguration\nmode: ipvs\nipvs:\n  strictARP: false\n  scheduler: rr\n"
    labels = {"k8s-app": "kube-proxy"}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "a", "image": "registry.test/a:1"}]}}
    spec = {"selector": {"matchLabels": labels}, "template": template}
    places = [path("kube-system", "kube-proxy"), "/apis/apps/v1/namespaces/kube-system/daemonsets/kube-proxy"]
    node = "/api/v1/nodes/control1"
    api.apply(places[0], thing("v1", "ConfigMap", "kube-system", "kube-proxy", data={"config.conf": config, "a": "b"}))
    api.apply(places[1], thing("apps/v1", "DaemonSet", "kube-system", "kube-proxy", spec=spec))
    api.ask("POST", "/api/v1/nodes", {"metadata": {"name": "control1", "labels": {EXCLUDED: "", "other": "stays"}}})
    try:
        made = run(cluster)
        wanted = ["update ConfigMap kube-system/kube-proxy", "update DaemonSet kube-system/kube-proxy"]
        assert made["changes"][:2] == wanted
        assert made["notes"][0].startswith("MetalLB announces nothing from control1, which has the label ")
        assert api.get(places[0])["data"] == {"config.conf": config.replace("false", "true"), "a": "b"}
        assert run(cluster, include_excluded_nodes=True)["changes"] == ["update Node control1"]
        assert api.get(node)["metadata"]["labels"] == {"other": "stays"}
        assert run(cluster, include_excluded_nodes=True)["changes"] == []
        # As after a run that was interrupted between the two.
        restart = {"spec": {"template": {"metadata": {"annotations": {"kubectl.kubernetes.io/restartedAt": None}}}}}
        api.ask("PATCH", places[1], restart, MERGE)
        assert run(cluster)["changes"] == wanted[1:]
    finally:
        for place in (*places, node):
            api.ask("DELETE", place)


def test_role_reads_a_manifest_of_the_control_node(api: ApiServer, cluster: Cluster, tmp_path: Path) -> None:
    file = tmp_path / "metallb.yaml"
    file.write_text(yaml.safe_dump_all(documents()))
    checksum = hashlib.sha256(file.read_bytes()).hexdigest()

    refused = [
        {"metallb_manifest": "https://127.0.0.1:1/x.yaml", "metallb_version": "9.9.9"},
        {"metallb_manifest": "https://127.0.0.1:1/x.yaml"},
        {"metallb_manifest": str(file), "metallb_manifest_checksum": "0" * 64},
        {"metallb_manifest": str(tmp_path / "missing")},
    ]
    tasks = [must_fail(role("metallb", **variables)) for variables in refused]
    tasks.append(role("metallb", metallb_manifest=str(file), metallb_manifest_checksum=checksum))
    said = api.play([*tasks, role("metallb", metallb_state="absent")]).out
    unknown, unreachable, changed, missing = shown(said)
    assert "no checksum of MetalLB 9.9.9 in mode native is known: set metallb_manifest_checksum to the SHA" in unknown
    assert "https://127.0.0.1:1/x.yaml cannot be fetched" in unreachable
    assert "has the SHA-256 %s instead of %s: it was changed" % (checksum, "0" * 64) in changed
    assert "%s/missing cannot be read" % tmp_path in missing
    assert "strict ARP and the labels of nodes stay as they are" in said
    assert "changed=2 " in said and "rescued=4 " in said
