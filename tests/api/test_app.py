# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module and role app on a real API server: created, kept and removed objects. Nothing rolls out there."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.homelab.loadbalancer.tests.api.api_server import ApiServer, writes
from ansible_collections.homelab.loadbalancer.tests.api.in_process import Cluster
from ansible_collections.homelab.loadbalancer.tests.api.plays import role, show, shown

IMAGE = "registry.example.org/team/web:1"
CLAIM = {"name": "data", "path": "/data", "claim": {"size": "1Gi"}}


class Apps:
    """The module in one namespace, without its waiting."""

    def __init__(self, api: ApiServer, namespace: str) -> None:
        self.api = api
        self.namespace = namespace

    def __call__(self, *calls: dict[str, Any]) -> list[dict[str, Any]]:
        """The result of each call, in this process. `check` runs a call in check mode."""
        options = {"wait": False, "timeout": 20, "namespace": self.namespace, "image": IMAGE, "prefix": "app_"}
        return Cluster(self.api).action("app", *calls, **options)

    def names(self, kinds: str = "configmap,deployment,service,persistentvolumeclaim") -> list[str]:
        """The objects of the namespace, except those that Kubernetes puts into each."""
        listed = self.api.kubectl("get", kinds, "-n", self.namespace, "-o", "name").out.split()
        return sorted(name for name in listed if name != "configmap/kube-root-ca.crt")

    def path(self, kind: str, name: str) -> str:
        group = "/apis/apps/v1" if kind == "deployments" else "/api/v1"
        return "%s/namespaces/%s/%s/%s" % (group, self.namespace, kind, name)


@pytest.fixture
def apps(api: ApiServer, controllers: None, namespace: str) -> Apps:
    return Apps(api, namespace)


def test_lifecycle(apps: Apps) -> None:
    web: dict[str, Any] = {"name": "web", "config": {"a": "b"}}
    with apps.api.record() as asked:
        (predicted,) = apps({**web, "check": True})
    assert writes(asked) == []
    made, again, changed, gone, nothing = apps(
        web,
        {**web, "check": True},
        {**web, "replicas": 2},
        {"name": "web", "state": "absent"},
        {"name": "web", "state": "absent"},
    )
    inside = " %s/web" % apps.namespace
    objects = ["ConfigMap" + inside, "Deployment" + inside, "Service" + inside]
    assert made["changes"] == predicted["changes"] == ["create " + name for name in objects]
    assert made["diff"] == predicted["diff"]
    assert (again["changed"], again["changes"], again["diff"]) == (False, [], [])
    assert changed["changes"] == ["update Deployment" + inside]
    assert (changed["diff"][0]["before"], changed["diff"][0]["after"]) == (
        {"spec": {"replicas": 1}},
        {"spec": {"replicas": 2}},
    )
    assert gone["changes"] == ["delete " + name for name in reversed(objects)]
    assert (nothing["changed"], apps.names()) == (False, [])


def test_undeclared_objects_removed_foreign_objects_kept(apps: Apps) -> None:
    apps({"name": "web"})
    apps.api.kubectl("create", "configmap", "web", "-n", apps.namespace, "--from-literal=of=others")
    apps.api.kubectl("annotate", "deployment", "web", "-n", apps.namespace, "example.org/note=mine")
    bare: dict[str, Any] = {"name": "web", "ports": []}
    same, waiting, changed = apps({"name": "web"}, {**bare, "remove_undeclared": False}, bare)
    assert not same["changed"]
    reference = {"name": "web", "namespace": apps.namespace}
    assert waiting["undeclared"] == [{"apiVersion": "v1", "kind": "Service", "metadata": reference}]
    assert "delete Service %s/web" % apps.namespace in changed["changes"]
    assert (changed["undeclared"], apps.names()) == ([], ["configmap/web", "deployment.apps/web"])
    live = apps.api.get(apps.path("deployments", "web"))
    assert live is not None and live["metadata"]["annotations"]["example.org/note"] == "mine"
    # absent keeps it, too.
    apps({"name": "web", "state": "absent", "config": {"of": "ours"}})
    assert apps.names() == ["configmap/web"]


def test_conflict_leaves_all_objects_unchanged(apps: Apps) -> None:
    apps({"name": "web"})
    apps.api.kubectl("scale", "deployment", "web", "-n", apps.namespace, "--replicas=3")
    wanted: dict[str, Any] = {"name": "web", "config": {"a": "b"}, "replicas": 2}
    (refused,) = apps(wanted)
    assert refused["failed"]
    assert refused["msg"].startswith("nothing was changed")
    assert "kubectl" in refused["msg"]
    assert apps.names() == ["deployment.apps/web", "service/web"]
    taken, again, left = apps({**wanted, "force_conflicts": True}, wanted, {**wanted, "replicas": None})
    assert taken["changed"] and not again["changed"]
    assert not left["changed"]  # we set them, and no other manager did
    live = apps.api.get(apps.path("deployments", "web"))
    assert live is not None and live["spec"]["replicas"] == 2


def test_claim_outlives_its_application(apps: Apps) -> None:
    claim = "PersistentVolumeClaim %s/web-data" % apps.namespace
    dummy, gone = apps({"name": "web", "volumes": [CLAIM]}, {"name": "web", "state": "absent"})
    assert gone["notes"] == [claim, "These hold data, so they are kept. app_delete_data: true removes them."]
    assert apps.names() == ["persistentvolumeclaim/web-data"]
    # The controller that removes this finalizer does not run here.
    path = apps.path("persistentvolumeclaims", "web-data")
    apps.api.kubectl("patch", "pvc", "web-data", "-n", apps.namespace, "-p", '{"metadata":{"finalizers":null}}')
    (deleted,) = apps({"name": "web", "state": "absent", "delete_data": True})
    assert deleted["changes"] == ["delete " + claim]
    assert apps.api.get(path) is None


def test_undeclared_application_of_a_site_is_removed(apps: Apps) -> None:
    site = {"part_of": "site-" + apps.namespace}
    one, two, none = apps({**site, "name": "one"}, {**site, "name": "two"}, {**site, "name": "", "state": "absent"})
    assert one["changed"] and two["changed"]
    assert "delete Deployment %s/one" % apps.namespace in two["changes"]
    assert none["changes"] == ["delete Service %s/two" % apps.namespace, "delete Deployment %s/two" % apps.namespace]
    assert apps.names() == []


def test_namespace_with_foreign_objects_is_kept(apps: Apps) -> None:
    labels = {"app.kubernetes.io/managed-by": "homelab.loadbalancer", "app.kubernetes.io/part-of": apps.namespace}
    space = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": apps.namespace, "labels": labels}}
    apps.api.kubectl("label", "namespace", apps.namespace, *("%s=%s" % one for one in labels.items()))
    apps.api.kubectl("create", "secret", "generic", "precious", "-n", apps.namespace)
    site = {"part_of": apps.namespace}
    made, gone = apps({**site, "name": "web", "manifests": [space]}, {**site, "state": "absent"})
    assert "create Service %s/web" % apps.namespace in made["changes"]
    assert gone["notes"] == [
        "Namespace %s stays, with what is in it and not of this declaration: Secret precious" % apps.namespace
    ]
    assert "delete Namespace " + apps.namespace not in gone["changes"]


def test_refused_object_leaves_all_others_unchanged(apps: Apps) -> None:
    node_port: dict[str, Any] = {"service_type": "NodePort", "ports": [{"port": 80, "node_port": 30911}]}
    first, taken, missing, predicted = apps(
        {"name": "first", **node_port},
        {"name": "web", **node_port},
        {"name": "web", "namespace": "missing-" + apps.namespace},
        {"name": "web", "namespace": "missing-" + apps.namespace, "check": True},
    )
    assert first["changed"]
    assert taken["msg"].startswith(
        "nothing was changed, because the cluster refuses\nService %s/web: " % apps.namespace
    )
    assert "provided port is already allocated" in taken["msg"]
    assert (
        "the namespace missing-%s does not exist: create it, or declare it as well" % apps.namespace in missing["msg"]
    )
    assert [change.split(" ")[0] for change in predicted["changes"]] == ["create", "create"]
    assert apps.names() == ["deployment.apps/first", "service/first"]


def test_missing_load_balancer_is_explained(apps: Apps) -> None:
    spec = {"type": "LoadBalancer", "loadBalancerClass": "example.org/none", "ports": [{"port": 80}]}
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "web", "namespace": apps.namespace},
        "spec": spec,
    }
    (late,) = apps({"manifests": [service], "wait": True, "wait_for_address": True, "timeout": 1})
    assert late["unfinished"] == ["Service %s/web" % apps.namespace]
    assert "Service %s/web: no load balancer has given it an address" % apps.namespace in late["msg"]
    assert "MetalLB is not installed" in late["msg"] or "its loadBalancerClass is example.org/none" in late["msg"]
    status = {"loadBalancer": {"ingress": [{"ip": "192.0.2.9"}]}}
    change = json.dumps({"status": status})
    apps.api.kubectl("patch", "service", "web", "-n", apps.namespace, "--subresource=status", "-p", change)
    (served,) = apps({"manifests": [service], "wait": True, "wait_for_address": True, "timeout": 1})
    assert (served["changed"], served["addresses"]) == (False, {apps.namespace + "/web": ["192.0.2.9"]})


def test_role_publishes_undeclared_objects_and_changes(
    api: ApiServer, controllers: None, namespace: str, tmp_path: Path
) -> None:
    more = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "more", "namespace": namespace}}
    file = tmp_path / "more.json"
    file.write_text(json.dumps(more))
    variables = {"app_namespace": namespace, "app_image": IMAGE, "app_wait": False, "app_manifest_files": [str(file)]}
    first = role("app", app_name="web", app_volumes=[CLAIM])
    kept = role("app", app_name="web", app_ports=[], app_remove_undeclared=False)
    gone = role("app", app_name="web", app_state="absent")
    left = show("[app_undeclared | map(attribute='kind') | list, app_rollout.changes]")
    said = api.play([first, left, kept, left, gone], **variables).out
    names = ["ConfigMap %s/more", "PersistentVolumeClaim %s/web-data", "Deployment %s/web", "Service %s/web"]
    # The volume's entry is gone, too: its claim is kept, and the Service is left for a later removal.
    assert shown(said) == [
        [[], ["create " + name % namespace for name in names]],
        [["Service"], ["update Deployment %s/web" % namespace]],
    ]
    assert "app_delete_data: true removes them." in " ".join(said.split())  # lines are broken
    names = api.kubectl("get", "configmap,deployment,service,pvc", "-n", namespace, "-o", "name").out.split()
    assert set(names) - {"configmap/kube-root-ca.crt"} == {"persistentvolumeclaim/web-data"}
