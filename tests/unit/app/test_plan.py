# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The plan of the module app: its queries and steps."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.homelab.loadbalancer.plugins.action.app import ActionModule
from ansible_collections.homelab.loadbalancer.plugins.filter.app_manifest import app_manifest
from ansible_collections.homelab.loadbalancer.plugins.filter.site_plan import site_plan
from ansible_collections.homelab.loadbalancer.plugins.module_utils._common.errors import InputError
from ansible_collections.homelab.loadbalancer.plugins.plugin_utils._app import plan as planner
from ansible_collections.homelab.loadbalancer.plugins.plugin_utils._k8s.model import (
    Apply,
    Outcome,
    Plan,
    Remove,
    Rollout,
)

IMAGE = "registry.example.org/team/web:1.2"
MANAGER, SCALER = "homelab.loadbalancer", "kube-controller-manager"
OURS = {"app.kubernetes.io/managed-by": MANAGER, "app.kubernetes.io/part-of": "site"}
APP: dict[str, Any] = {"name": "web", "image": "example.org/web:1"}
CLAIM = {"name": "data", "path": "/data", "claim": {"size": "5Gi"}}
DEFAULTS = {name: argument.get("default") for name, argument in ActionModule.ARGUMENTS.items()}


def options(**given: Any) -> dict[str, Any]:
    return {**DEFAULTS, "prefix": "app_", "manifest_files": [], **given}


def planned(found: Any = (), **given: Any) -> Plan:
    return planner.plan(options(**given), found)


def site(apps: Any, found: Any = (), **given: Any) -> Plan:
    """The plan for the applications of a site."""
    return planned(found, manifests=site_plan(apps)["objects"] if apps else [], part_of="site", **given)


def named(objects: Any) -> list[tuple[str, str, str]]:
    return [(one["kind"], one["metadata"].get("namespace", ""), one["metadata"]["name"]) for one in objects]


def returned(plan: Plan) -> Any:
    """The results that the module returns besides the changes."""
    assert callable(plan.result)
    return plan.result(Outcome(addresses={"default/web": ["172.16.0.100"]}))


def kinds(objects: Any) -> list[str]:
    return [one["kind"] for one in objects]


def applied(plan: Plan) -> list[Any]:
    return [one for step in plan.steps if isinstance(step, Apply) for one in step.objects]


def removed(plan: Plan, first: bool = False) -> list[Any]:
    """The objects that are removed last, or first."""
    steps = [type(step) for step in plan.steps]
    at = steps.index(Apply) if Apply in steps else -1
    return [
        one
        for index, step in enumerate(plan.steps)
        if isinstance(step, Remove) and (index < at) is first
        for one in step.objects
    ]


def looked_up(*objects: dict[str, Any]) -> list[dict[str, Any]]:
    """Answers to queries, one for each object."""
    return [{"kind": one["kind"], "resources": [one], "api_found": True} for one in objects]


def namespace(name: str, **labels: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}


def test_an_application_is_found_by_its_labels() -> None:
    managed = "app.kubernetes.io/managed-by=homelab.loadbalancer"
    asked = planner.queries(options(**APP, namespace="prod"))
    assert [query["kind"] for query in asked] == ["PersistentVolumeClaim", "ConfigMap", "Deployment", "Service"]
    for query in asked:
        assert (query["namespace"], query["label_selectors"]) == ("prod", [managed, "app.kubernetes.io/name=web"])
    spaces, *others = planner.queries(options(part_of="site"))
    assert spaces == {"kind": "Namespace"}
    for query in others:
        assert "namespace" not in query
        assert query["label_selectors"] == [managed, "app.kubernetes.io/name", "app.kubernetes.io/part-of=site"]
    assert planner.queries(options(manifests=[namespace("prod")])) == []


def test_undeclared_objects_removed_after_the_rollout() -> None:
    old = app_manifest("web", IMAGE, config={"a": "b"})
    plan = planned(looked_up(*old), **APP, ports=[], wait_for_address=True, force_conflicts=True, timeout=7)
    assert [type(step) for step in plan.steps] == [Apply, Rollout, Remove]
    apply, rollout, remove = plan.steps
    assert isinstance(apply, Apply) and apply.force
    assert isinstance(rollout, Rollout) and rollout.addresses and rollout.objects == apply.objects
    assert isinstance(remove, Remove) and named(remove.objects) == [
        ("ConfigMap", "default", "web"),
        ("Service", "default", "web"),
    ]
    assert (plan.timeout, returned(plan)["undeclared"]) == (7, [])
    assert returned(plan)["addresses"] == {"default/web": ["172.16.0.100"]}
    assert [type(step) for step in planned(**APP, wait=False).steps] == [Apply]


def test_undeclared_objects_kept_with_remove_undeclared_false() -> None:
    old = app_manifest("web", IMAGE, config={"a": "b"})
    plan = planned(looked_up(*old), **APP, ports=[], remove_undeclared=False)
    assert removed(plan) == []
    names = {"name": "web", "namespace": "default"}
    assert returned(plan)["undeclared"] == [
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": names},
        {"apiVersion": "v1", "kind": "Service", "metadata": names},
    ]
    assert kinds(removed(planned(looked_up(*old), name="web", state="absent", remove_undeclared=False))) == kinds(old)


def test_removal_ignores_image_and_invalid_options() -> None:
    assert planned(name="web", state="absent", ports="none").steps == []
    with pytest.raises(InputError, match="app_image None is not an image"):
        planned(name="web")


@pytest.mark.parametrize(
    ("labels", "applied_labels"),
    [(None, {}), ({"tier": "front"}, {"tier": "front"})],
)
def test_objects_bear_the_name_of_the_declaration(labels: Any, applied_labels: dict[str, str]) -> None:
    for one in applied(planned(**APP, part_of="site", labels=labels)):
        assert one["metadata"]["labels"] == {**OURS, **applied_labels, "app.kubernetes.io/name": "web"}


def test_manifests_come_before_the_application() -> None:
    text = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n---\n---\napiVersion: v1\nkind: List\nitems: []\n"
    plan = planned(**APP, namespace="prod", manifests=[namespace("prod")], manifest_files=[("more.yml", text)])
    assert kinds(applied(plan)) == ["Namespace", "ConfigMap", "Deployment", "Service"]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({}, "app_name is empty: name the application and its image, or give app_manifests or app_manifest_files"),
        ({"manifests": [{"apiVersion": "v1"}]}, "app_manifests[0].kind is missing"),
        ({"manifests": [{"apiVersion": "v1", "kind": "Pod"}]}, "app_manifests[0].metadata.name is missing"),
        ({"manifests": {}}, "app_manifests must be a list, not dict"),
        ({"manifest_files": [("a.yml", "- 1")]}, "a.yml[0] must be a mapping, not list"),
        ({"manifest_files": [("a.yml", "a: [")]}, "a.yml line 2, column 1 is not YAML"),
        ({"part_of": "a,b"}, "app_part_of a,b is not a label's value"),
        ({**APP, "ports": ["x"]}, "app_ports[0].port x is not a port from 1 to 65535"),
        ({**APP, "part_of": "site", "labels": ["x"]}, "app_labels must be a mapping, not list"),
    ],
)
def test_wrong_input_is_refused_before_anything_is_read(given: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError) as error:
        planner.queries(options(**given))
    assert str(error.value).startswith(said)


@pytest.mark.parametrize(
    ("declared", "managers", "replicas"),
    [
        (None, [MANAGER], 4),  # until the autoscaler has set some, they stay: without them there would be one pod
        (None, [MANAGER, SCALER], None),
        (None, [SCALER], None),
        (2, [MANAGER], 2),
        (0, [MANAGER], 0),
    ],
)
def test_replicas_are_left_to_an_autoscaler(declared: int | None, managers: list[str], replicas: int | None) -> None:
    (live,) = app_manifest("web", IMAGE, ports=[], replicas=4)
    fields = [{"manager": name, "fieldsV1": {"f:spec": {"f:replicas": {}}}} for name in managers]
    live["metadata"]["managedFields"] = [*fields, {"manager": "kubelet", "fieldsV1": {"f:status": {}}}]
    (deployment,) = applied(planned(looked_up(live), **APP, ports=[], replicas=declared))
    assert deployment["spec"].get("replicas") == replicas


def test_undeclared_applications_of_a_site_are_removed() -> None:
    old = site_plan([{**APP, "namespace": "prod", "config": {"a": "b"}}])["objects"]
    new = site_plan([APP])["objects"]
    plan = site([APP], looked_up(*old, *new))
    assert named(applied(plan)) == named(new)
    # Not the namespace, in which others may have something.
    assert named(removed(plan)) == [(kind, "prod", "web") for kind in ("ConfigMap", "Deployment", "Service")]


def test_foreign_namespace_is_not_changed() -> None:
    apps = [{**APP, "namespace": "prod"}, {**APP, "namespace": "staging"}]
    wanted = site_plan(apps)["objects"]
    there = looked_up(namespace("prod"), namespace("staging", **OURS), namespace("gone", **OURS), *wanted[2:])
    assert ("Namespace", "", "prod") not in named(applied(site(apps, there)))
    assert ("Namespace", "", "staging") in named(applied(site(apps, there)))
    going = named(removed(site(apps, there, state="absent")))
    assert going[:2] == [("Namespace", "", "staging"), ("Namespace", "", "gone")]
    assert sorted(going[2:]) == sorted(named(wanted[2:]))
    # Without the name of a declaration it is as it is declared.
    assert ("Namespace", "", "prod") in named(applied(planned(manifests=wanted)))


def test_objects_of_different_namespaces_are_told_apart() -> None:
    (deployment,) = (one for one in site_plan([APP])["objects"] if one["kind"] == "Deployment")
    bare = {**deployment, "metadata": {"name": "web"}}
    assert removed(planned(looked_up(deployment), manifests=[bare], part_of="site")) == []


def content(kind: str, name: str, **metadata: Any) -> dict[str, Any]:
    """An object of the namespace prod, as a query of the kind * finds it."""
    return {"apiVersion": "v1", "kind": kind, "metadata": {"name": name, "namespace": "prod", **metadata}}


def test_namespace_with_foreign_objects_is_kept() -> None:
    wanted = site_plan([{**APP, "namespace": "prod"}])["objects"]
    there = looked_up(namespace("prod", **OURS), *wanted[1:])
    assert site([], there, state="absent").look == [{"kind": "*", "namespace": "prod"}]
    usual = [
        *wanted[1:],
        content("ServiceAccount", "default"),
        content("ConfigMap", "kube-root-ca.crt"),
        content("Secret", "default-token", annotations={"kubernetes.io/service-account.name": "default"}),
        content("ReplicaSet", "web-1", ownerReferences=[{"kind": "Deployment", "name": "web"}]),
        content("Endpoints", "web"),
        content("HTTPRoute", "web", labels=OURS),
        content("Pod", "going", deletionTimestamp="2026-01-01T00:00:00Z"),
    ]
    seen = [*there, {"kind": "*", "resources": usual, "api_found": True}]
    plan = site([], seen, state="absent")
    assert ("Namespace", "", "prod") in named(removed(plan))
    assert not plan.look  # it is known now
    # A claim of ours that is not removed holds data.
    foreign = [content("Secret", "precious"), content("PersistentVolumeClaim", "data", labels=OURS)]
    seen = [*there, {"kind": "*", "resources": usual + foreign, "api_found": True}]
    plan = site([], seen, state="absent")
    assert named(removed(plan)) == named(wanted[1:])
    assert plan.notes == [
        "Namespace prod stays, with what is in it and not of this declaration: PersistentVolumeClaim data, "
        "Secret precious"
    ]


@pytest.mark.parametrize("source", [{"existing_claim": "photos"}, {"host_path": "/srv/photos"}])
def test_two_applications_never_have_the_same_data_at_once(source: dict[str, str]) -> None:
    data = [{"name": "data", "path": "/data", **source}]
    old, new = ({**APP, "name": name, "volumes": data} for name in ("old", "new"))
    plan = site([new], looked_up(*site_plan([old])["objects"]))
    assert named(removed(plan, first=True)) == [("Deployment", "default", "old")]
    assert named(removed(plan)) == [("Service", "default", "old")]
    assert removed(site([new], looked_up(*site_plan([new])["objects"])), first=True) == []


def volumes(keep: bool) -> list[dict[str, Any]]:
    return [{**CLAIM, "claim": {"size": "5Gi", "keep": keep}}]


def test_a_claim_stays_with_its_namespace_when_the_application_goes() -> None:
    labels = {"app.kubernetes.io/part-of": "site"}
    made = app_manifest("photos", IMAGE, namespace="home", labels=labels, volumes=[CLAIM])
    there = looked_up(namespace("home", **OURS), *made)
    gone = site([], there, state="absent")
    assert kinds(removed(gone)) == ["Deployment", "Service"]
    assert gone.notes == [
        "PersistentVolumeClaim home/photos-data",
        "These hold data, so they are kept. app_delete_data: true removes them.",
    ]
    whole = site([], there, state="absent", delete_data=True)
    assert kinds(removed(whole)) == ["Namespace", "PersistentVolumeClaim", "Deployment", "Service"]
    assert whole.notes == []


@pytest.mark.parametrize("keep", [True, False])
def test_a_claim_stays_when_its_entry_goes(keep: bool) -> None:
    there = looked_up(*app_manifest("photos", IMAGE, volumes=volumes(keep)))
    photos = {"name": "photos", "image": IMAGE}
    after = planned(there, **photos)
    assert kinds(removed(after)) == ([] if keep else ["PersistentVolumeClaim"])
    assert after.notes[:1] == (["PersistentVolumeClaim default/photos-data"] if keep else [])
    # While it is declared, it is neither removed nor worth a word.
    declared = planned(there, **photos, volumes=volumes(keep))
    assert (removed(declared), declared.notes) == ([], [])
    gone = planned(there, name="photos", state="absent")
    assert ("PersistentVolumeClaim" in kinds(removed(gone))) != keep
