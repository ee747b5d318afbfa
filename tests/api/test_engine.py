# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The engine carries out plans on a real API server."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ansible_collections.homelab.loadbalancer.plugins.plugin_utils._k8s.engine import RefusedError
from ansible_collections.homelab.loadbalancer.plugins.plugin_utils._k8s.model import Apply, Patch, Plan, Remove
from ansible_collections.homelab.loadbalancer.tests.api.api_server import ApiServer, writes
from ansible_collections.homelab.loadbalancer.tests.api.in_process import Cluster, seen, unchanged
from ansible_collections.homelab.loadbalancer.tests.api.objects import (
    config_map,
    deployment,
    kind,
    path,
    pool,
    service,
    thing,
)
from ansible_collections.homelab.loadbalancer.tests.api.webhook import policy, webhook
from ansible_collections.homelab.loadbalancer.tests.integration.namespaces import wait_for

# Refusals: nothing is changed.


def refused(api: ApiServer, cluster: Cluster, namespace: str, wrong: dict[str, Any], message: str) -> None:
    """An object is refused, and none of those around it is applied, in check mode or not."""
    around = [config_map(namespace, "before"), wrong, config_map(namespace, "after")]
    names = seen(api, namespace)
    for check_mode in (True, False):
        with api.record() as asked, pytest.raises(RefusedError, match=message) as caught:
            cluster.apply(*around, check_mode=check_mode)
        assert wrong["metadata"]["name"] in str(caught.value)
        assert writes(asked) == []
        assert seen(api, namespace) == names


def test_object_refused_by_the_api_server_leaves_others_unapplied(
    api: ApiServer, cluster: Cluster, namespace: str
) -> None:
    refused(api, cluster, namespace, service(namespace, "web", {"name": "http", "port": 70000}), "between 1 and 65535")
    refused(api, cluster, namespace, pool(namespace, "web") | {"spec": {"addresses": [7]}}, "spec.addresses")
    refused(api, cluster, namespace, config_map(namespace, "Web!"), "RFC 1123")
    refused(api, cluster, namespace, service(namespace, "web", typo=1), "typo")


def test_object_refused_by_a_webhook_leaves_others_unapplied(api: ApiServer, cluster: Cluster, namespace: str) -> None:
    def judge(one: Any) -> str:
        return "web is not welcome" if one["metadata"]["name"] == "web" else ""

    with webhook(api, namespace, judge):
        refused(api, cluster, namespace, config_map(namespace, "web"), "web is not welcome")
        assert cluster.apply(config_map(namespace, "other")).changes == ["create ConfigMap %s/other" % namespace]


def test_object_refused_by_a_policy_leaves_others_unapplied(api: ApiServer, cluster: Cluster, namespace: str) -> None:
    with policy(api, namespace, "object.metadata.name != 'web'", "web is not allowed"):
        refused(api, cluster, namespace, config_map(namespace, "web"), "web is not allowed")
        assert cluster.apply(config_map(namespace, "other")).changes == ["create ConfigMap %s/other" % namespace]


def test_conflict_with_another_field_manager_leaves_others_unapplied(
    api: ApiServer, cluster: Cluster, namespace: str
) -> None:
    api.apply(path(namespace, "web"), config_map(namespace, "web", text="theirs"), manager="neighbour")
    ours = config_map(namespace, "web", text="ours")
    refused(api, cluster, namespace, ours, "neighbour")
    forced = cluster.apply(ours, force=True)
    assert forced.changes == ["update ConfigMap %s/web" % namespace]
    assert api.get(path(namespace, "web"))["data"] == {"text": "ours"}
    assert unchanged(cluster.apply(ours))


def test_same_value_of_another_field_manager_is_no_conflict(api: ApiServer, cluster: Cluster, namespace: str) -> None:
    ours = config_map(namespace, "web", text="same")
    api.apply(path(namespace, "web"), ours, manager="neighbour")
    assert cluster.apply(ours).changes == ["update ConfigMap %s/web" % namespace]  # from now on both managers own it
    assert unchanged(cluster.apply(ours))


def test_missing_namespace_or_kind_leaves_others_unapplied(api: ApiServer, cluster: Cluster, namespace: str) -> None:
    unknown = thing("example.test/v1", "Gadget", namespace, "web")
    for wrong, message in (
        (config_map("not-there", "web"), "the namespace not-there does not exist"),
        (unknown, "the cluster does not know Gadget of example.test/v1"),
    ):
        with api.record() as asked, pytest.raises(RefusedError, match=message):
            cluster.apply(config_map(namespace, "before"), wrong)
        assert writes(asked) == []
        # In check mode an earlier task may be going to create it.
        assert len(cluster.apply(config_map(namespace, "before"), wrong, check_mode=True).changes) == 2


def test_wrong_object_of_a_new_namespace_leaves_all_unapplied(api: ApiServer, cluster: Cluster) -> None:
    """It cannot be tried in a namespace that does not exist."""
    name = api.new_namespace("n") + "-new"
    space = thing("v1", "Namespace", "", name)
    for wrong, message in (
        (service(name, "web", {"name": "http", "port": 70000}), "between 1 and 65535"),
        (service(name, "web", typo=1), "typo"),
        (pool(name, "web") | {"spec": {"addresses": [7]}}, "spec.addresses"),
        (config_map(name, "Web!"), "RFC 1123"),
    ):
        for check_mode in (True, False):
            with api.record() as asked, pytest.raises(RefusedError, match=message):
                cluster.apply(space, config_map(name, "before"), wrong, check_mode=check_mode)
            assert writes(asked) == []
    # Taken names and policies in the namespace of the trial are no reason to refuse.
    api.apply(path("default", "taken"), config_map("default", "taken"))
    with policy(api, "default", "object.metadata.name != 'good'", "good is not allowed"):
        assert len(cluster.apply(space, config_map(name, "taken"), config_map(name, "good")).changes) == 3


def test_all_refusals_are_reported_at_once(cluster: Cluster, namespace: str) -> None:
    wrong = [service(namespace, name, {"name": "http", "port": 70000}) for name in ("one", "two")]
    with pytest.raises(RefusedError) as caught:
        cluster.apply(*wrong)
    assert all("Service %s/%s" % (namespace, name) in str(caught.value) for name in ("one", "two"))


# Applied objects.


def test_namespaces_kinds_and_their_objects_are_applied_in_one_step(api: ApiServer, cluster: Cluster) -> None:
    name = api.new_namespace("n") + "-own"
    group = name + ".test"
    objects = [
        config_map(name, "one"),
        thing(group + "/v1", "Gadget", name, "small", spec={"size": 1}),
        kind("gadgets", group, "Gadget"),
        thing("v1", "Namespace", "", name),
    ]
    predicted = cluster.apply(*objects, check_mode=True)
    assert api.get("/api/v1/namespaces/" + name) is None
    done = cluster.apply(*objects)
    assert sorted(done.changes) == sorted(predicted.changes)
    assert len(done.changes) == 4
    assert api.get("/apis/%s/v1/namespaces/%s/gadgets/small" % (group, name))["spec"] == {"size": 1}
    assert unchanged(cluster.apply(*objects))


def test_kinds_created_and_deleted_between_tasks_are_noticed(api: ApiServer, namespace: str, tmp_path: Path) -> None:
    cluster, group = Cluster(api, folder=tmp_path), namespace + ".test"
    definition, small = kind("gadgets", group, "Gadget"), thing(group + "/v1", "Gadget", namespace, "small")
    with api.record() as asked:
        cluster.apply(config_map(namespace, "one"))
        cluster.apply(config_map(namespace, "two"))
    assert [one.path for one in asked].count("/apis") == 1
    Cluster(api).apply(definition)  # by another run
    assert len(cluster.apply(small).changes) == 1
    Cluster(api).run(Plan(steps=[Remove([definition])]))
    place = "/apis/%s/v1" % group
    wait_for(lambda: api.get(place) is None, "the end of the kind", 60)
    assert unchanged(cluster.run(Plan(steps=[Remove([small])])))
    with pytest.raises(RefusedError, match="the cluster does not know Gadget of %s/v1" % group):
        cluster.apply(small)
    assert len(cluster.apply(definition, small).changes) == 2


def test_unchanged_objects_cost_reads_only(api: ApiServer, cluster: Cluster, namespace: str) -> None:
    objects = [
        *[config_map(namespace, "c%d" % number) for number in range(4)],
        service(namespace, "web"),
        deployment(namespace, "web", resources={"requests": {"cpu": "0.5", "memory": "1024Mi"}}),
        pool(namespace, "pool", "192.0.2.10-192.0.2.20"),
        thing("v1", "Secret", namespace, "login", stringData={"password": "correct"}),
    ]
    assert len(cluster.apply(*objects).changes) == len(objects)
    with api.record() as asked:
        assert unchanged(cluster.apply(*objects))
    assert writes(asked) == []
    assert len(asked) <= 14, asked


def test_check_mode_predicts_the_run(api: ApiServer, cluster: Cluster, namespace: str) -> None:
    old = [service(namespace, "web"), config_map(namespace, "gone"), pool(namespace, "pool", "192.0.2.1-192.0.2.9")]
    cluster.apply(*old)
    new = [
        service(namespace, "web", {"name": "http", "port": 80}, {"name": "https", "port": 443}),
        pool(namespace, "pool", "192.0.2.1-192.0.2.19"),
        config_map(namespace, "new"),
    ]
    plan = Plan(
        steps=[
            Apply(new),
            Remove([config_map(namespace, "gone"), config_map(namespace, "never")]),
            Patch(thing("v1", "Namespace", "", namespace), {"metadata": {"labels": {"colour": "blue"}}}),
        ]
    )
    with api.record() as asked:
        predicted = cluster.run(plan, check_mode=True)
    assert writes(asked) == []
    done = cluster.run(plan)
    assert (done.changes, done.diff) == (predicted.changes, predicted.diff)
    assert done.changes == [
        "update Service %s/web" % namespace,
        "update IPAddressPool %s/pool" % namespace,
        "create ConfigMap %s/new" % namespace,
        "delete ConfigMap %s/gone" % namespace,
        "update Namespace %s" % namespace,
    ]
    assert unchanged(cluster.run(plan))


def test_diff_contains_only_changed_fields(api: ApiServer, cluster: Cluster, namespace: str) -> None:
    cluster.apply(service(namespace, "web"), pool(namespace, "pool", "192.0.2.1-192.0.2.9"))
    done = cluster.apply(
        service(namespace, "web", {"name": "http", "port": 81}),
        pool(namespace, "pool", "192.0.2.1-192.0.2.9", "192.0.2.20-192.0.2.29"),
    )
    left, right = done.diff
    assert left["before"]["spec"]["ports"] == [{"name": "http", "port": 80, "targetPort": 80}]
    assert left["after"]["spec"]["ports"] == [{"name": "http", "port": 81, "targetPort": 81}]
    assert set(left["before"]["spec"]) == {"ports"}
    assert right["before"] == {"spec": {"addresses": ["192.0.2.1-192.0.2.9"]}}
    assert right["after"] == {"spec": {"addresses": ["192.0.2.1-192.0.2.9", "192.0.2.20-192.0.2.29"]}}


# Other field managers.


def test_edited_declared_value_is_restored_other_edits_kept(api: ApiServer, cluster: Cluster, namespace: str) -> None:
    ours = deployment(namespace, "web", 2, env=[{"name": "COLOUR", "value": "blue"}])
    cluster.apply(ours)
    api.kubectl("-n", namespace, "set", "env", "deployment/web", "COLOUR=red", "SIZE=1")
    api.kubectl("-n", namespace, "annotate", "deployment/web", "note=theirs")
    with pytest.raises(RefusedError, match="kubectl"):
        cluster.apply(ours)
    done = cluster.apply(ours, force=True)
    assert done.changes == ["update Deployment %s/web" % namespace]
    assert "red" in str(done.diff) and "SIZE" not in str(done.diff)
    live = api.get("/apis/apps/v1/namespaces/%s/deployments/web" % namespace)
    container = live["spec"]["template"]["spec"]["containers"][0]
    assert container["env"] == [{"name": "COLOUR", "value": "blue"}, {"name": "SIZE", "value": "1"}]
    assert live["metadata"]["annotations"]["note"] == "theirs"
    assert unchanged(cluster.apply(ours))


def test_undeclared_field_is_removed_unless_another_manager_owns_it(
    api: ApiServer, cluster: Cluster, namespace: str
) -> None:
    cluster.apply(config_map(namespace, "web", one="1", two="2", three="3"))
    api.apply(path(namespace, "web"), config_map(namespace, "web", two="2", four="4"), manager="neighbour")
    less = config_map(namespace, "web", one="1")
    predicted = cluster.apply(less, check_mode=True)
    done = cluster.apply(less)
    assert done.diff == predicted.diff
    assert done.diff[0]["before"] == {"data": {"three": "3"}} and done.diff[0]["after"] == {"data": {}}
    assert api.get(path(namespace, "web"))["data"] == {"one": "1", "two": "2", "four": "4"}
    assert unchanged(cluster.apply(less))


def test_entries_of_associative_lists_belong_to_their_managers(
    api: ApiServer, cluster: Cluster, namespace: str
) -> None:
    ours = service(namespace, "web", {"name": "http", "port": 80}, {"name": "https", "port": 443})
    cluster.apply(ours)
    theirs = service(namespace, "web", {"name": "metrics", "port": 9090})
    api.apply(path(namespace, "web", "services"), theirs, manager="neighbour")
    assert unchanged(cluster.apply(ours))
    less = service(namespace, "web", {"name": "http", "port": 80})
    done = cluster.apply(less)
    assert "https" in str(done.diff) and "metrics" not in str(done.diff)
    live = api.get(path(namespace, "web", "services"))
    assert [port["name"] for port in live["spec"]["ports"]] == ["http", "metrics"]


def test_edited_atomic_list_is_restored(api: ApiServer, cluster: Cluster, namespace: str) -> None:
    ours = pool(namespace, "pool", "192.0.2.1-192.0.2.9")
    cluster.apply(ours)
    place = "/apis/metallb.io/v1beta1/namespaces/%s/ipaddresspools/pool" % namespace
    more = {"spec": {"addresses": ["192.0.2.1-192.0.2.9", "192.0.2.100-192.0.2.109"]}}
    api.ask("PATCH", place + "?fieldManager=neighbour", more, "application/merge-patch+json")
    with pytest.raises(RefusedError, match="neighbour"):
        cluster.apply(ours)
    assert cluster.apply(ours, force=True).changes == ["update IPAddressPool %s/pool" % namespace]
    assert api.get(place)["spec"]["addresses"] == ["192.0.2.1-192.0.2.9"]


def test_diff_hides_values_of_secrets(api: ApiServer, cluster: Cluster, namespace: str) -> None:
    def secret(value: str) -> dict[str, Any]:
        return thing("v1", "Secret", namespace, "login", stringData={"password": value, "same": "correct"})

    for value in ("correct-horse", "battery-staple"):
        predicted = cluster.apply(secret(value), check_mode=True)
        done = cluster.apply(secret(value))
        assert done.diff == predicted.diff != []
        assert "password" in str(done.diff)
        for hidden in ("correct", "battery", "Y29ycmVjd", "YmF0dGVye"):
            assert hidden not in str(done)
        assert unchanged(cluster.apply(secret(value)))
