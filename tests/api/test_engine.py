# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the engine makes of plans, on a real API server."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any, Callable

import pytest
import yaml

from ansible_collections.homelab.loadbalancer.plugins.plugin_utils._k8s.engine import FailedError, RefusedError
from ansible_collections.homelab.loadbalancer.plugins.plugin_utils._k8s.model import (
    Apply,
    Outcome,
    Patch,
    Plan,
    Planner,
    Remove,
)
from ansible_collections.homelab.loadbalancer.tests.api.api_server import ApiServer, writes
from ansible_collections.homelab.loadbalancer.tests.api.in_process import Cluster
from ansible_collections.homelab.loadbalancer.tests.api.objects import (
    config_map,
    deployment,
    kind,
    path,
    pool,
    service,
    thing,
)
from ansible_collections.homelab.loadbalancer.tests.api.stub import Fault, Proxy
from ansible_collections.homelab.loadbalancer.tests.api.webhook import policy, webhook
from ansible_collections.homelab.loadbalancer.tests.integration.namespaces import wait_for

MANY = 500


def seen(api: ApiServer, namespace: str, plural: str = "configmaps") -> list[str]:
    """The names of the objects of a namespace."""
    listed = api.ask("GET", "/api/v1/namespaces/%s/%s" % (namespace, plural))["items"]
    return sorted(one["metadata"]["name"] for one in listed)


def unchanged(outcome: Outcome) -> bool:
    return outcome.changes == [] and outcome.diff == []


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
    assert cluster.apply(ours).changes == ["update ConfigMap %s/web" % namespace]  # from now on it is ours, too
    assert unchanged(cluster.apply(ours))


def test_missing_namespace_or_kind_leaves_others_unapplied(api: ApiServer, cluster: Cluster, namespace: str) -> None:
    unknown = thing("example.test/v1", "Gadget", namespace, "web")
    for wrong, message in (
        (config_map("not-there", "web"), "there is no namespace not-there"),
        (unknown, "the cluster does not know Gadget of example.test/v1"),
    ):
        with api.record() as asked, pytest.raises(RefusedError, match=message):
            cluster.apply(config_map(namespace, "before"), wrong)
        assert writes(asked) == []
        # An earlier task may bring it, which has not done so in check mode.
        assert len(cluster.apply(config_map(namespace, "before"), wrong, check_mode=True).changes) == 2


def test_wrong_object_of_a_new_namespace_leaves_all_unapplied(api: ApiServer, cluster: Cluster) -> None:
    """It cannot be tried where it is to be."""
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
    # Names that are taken there, and policies of that namespace, are no reason.
    api.apply(path("default", "taken"), config_map("default", "taken"))
    with policy(api, "default", "object.metadata.name != 'good'", "good is not allowed"):
        assert len(cluster.apply(space, config_map(name, "taken"), config_map(name, "good")).changes) == 3


def test_all_refusals_are_told_at_once(cluster: Cluster, namespace: str) -> None:
    wrong = [service(namespace, name, {"name": "http", "port": 70000}) for name in ("one", "two")]
    with pytest.raises(RefusedError) as caught:
        cluster.apply(*wrong)
    assert all("Service %s/%s" % (namespace, name) in str(caught.value) for name in ("one", "two"))


# What is applied.


def test_namespaces_and_kinds_with_what_is_in_them_in_one_step(api: ApiServer, cluster: Cluster) -> None:
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


def test_kinds_that_come_and_go_between_tasks(api: ApiServer, namespace: str, tmp_path: Path) -> None:
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


def test_diff_has_what_differs_and_nothing_else(api: ApiServer, cluster: Cluster, namespace: str) -> None:
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


def test_edit_of_a_declared_value_is_taken_back_and_other_edits_stay(
    api: ApiServer, cluster: Cluster, namespace: str
) -> None:
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


def test_field_that_is_declared_no_longer_is_removed_unless_others_have_it(
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


def test_edit_of_an_atomic_list_is_seen(api: ApiServer, cluster: Cluster, namespace: str) -> None:
    ours = pool(namespace, "pool", "192.0.2.1-192.0.2.9")
    cluster.apply(ours)
    place = "/apis/metallb.io/v1beta1/namespaces/%s/ipaddresspools/pool" % namespace
    more = {"spec": {"addresses": ["192.0.2.1-192.0.2.9", "192.0.2.100-192.0.2.109"]}}
    api.ask("PATCH", place + "?fieldManager=neighbour", more, "application/merge-patch+json")
    with pytest.raises(RefusedError, match="neighbour"):
        cluster.apply(ours)
    assert cluster.apply(ours, force=True).changes == ["update IPAddressPool %s/pool" % namespace]
    assert api.get(place)["spec"]["addresses"] == ["192.0.2.1-192.0.2.9"]


def test_values_of_secrets_are_in_no_diff(api: ApiServer, cluster: Cluster, namespace: str) -> None:
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


# Several at once, and many.


def run_all(run: Callable[[int], None]) -> None:
    """Three at once."""
    threads = [threading.Thread(target=run, args=(which,)) for which in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def test_two_runs_at_once_do_not_lose_objects(api: ApiServer, cluster: Cluster) -> None:
    """Of one namespace, which both bring, and of one kind."""
    name = api.new_namespace("n") + "-shared"
    group = name + ".test"
    common = [thing("v1", "Namespace", "", name), kind("gadgets", group, "Gadget")]
    failures: list[BaseException] = []

    def run(which: int) -> None:
        own = [config_map(name, "c%d-%d" % (which, number), size=str(which)) for number in range(10)]
        gadgets = [thing(group + "/v1", "Gadget", name, "g%d-%d" % (which, n), spec={"size": n}) for n in range(5)]
        try:
            Cluster(api).apply(*common, *own, *gadgets)
        except BaseException as error:
            failures.append(error)

    run_all(run)
    assert failures == []
    assert len(seen(api, name)) == 30
    assert len(api.ask("GET", "/apis/%s/v1/namespaces/%s/gadgets" % (group, name))["items"]) == 15


def test_two_runs_at_once_on_one_object_end_in_one_of_them(api: ApiServer, cluster: Cluster, namespace: str) -> None:
    failures: list[BaseException] = []

    def run(which: int) -> None:
        try:
            for number in range(5):
                Cluster(api).apply(config_map(namespace, "web", one=str(number), two=str(number)))
        except BaseException as error:
            failures.append(error)

    run_all(run)
    assert failures == []
    data = api.get(path(namespace, "web"))["data"]
    assert data["one"] == data["two"]


def test_many_objects_take_at_most_twice_the_time_of_kubectl(api: ApiServer, cluster: Cluster, tmp_path: Any) -> None:
    """kubectl gets a fifth of them, for it sends one after the other, and pauses after some hundreds of requests."""

    def objects(namespace: str, count: int) -> list[dict[str, Any]]:
        return [config_map(namespace, "c%03d" % number, number=str(number)) for number in range(count)]

    first, second = api.new_namespace("many"), api.new_namespace("many")
    file = tmp_path / "objects.yaml"
    file.write_text(yaml.safe_dump_all(objects(first, MANY // 5)))
    start = time.monotonic()
    api.kubectl("apply", "--server-side", "-f", str(file))
    kubectl = 5 * (time.monotonic() - start)
    start = time.monotonic()
    assert len(cluster.apply(*objects(second, MANY)).changes) == MANY
    engine = time.monotonic() - start
    assert engine < 2 * kubectl, "%.1f s, and kubectl %.1f s" % (engine, kubectl)
    assert len(seen(api, second)) == MANY
    with api.record() as asked:
        assert unchanged(cluster.apply(*objects(second, MANY)))
    assert writes(asked) == []


# Removal.


def labelled(namespace: str, name: str, owner: str) -> dict[str, Any]:
    one = config_map(namespace, name)
    return {**one, "metadata": {**one["metadata"], "labels": {"owner": owner}}}


PRUNING = Planner(
    lambda options: [
        {"kind": "ConfigMap", "namespace": options["namespace"], "label_selectors": ["owner=" + options["owner"]]}
    ],
    lambda options, found: Plan(
        steps=[
            Apply([labelled(options["namespace"], name, options["owner"]) for name in options["names"]]),
            Remove([one for one in found[0]["resources"] if one["metadata"]["name"] not in options["names"]]),
        ]
    ),
)


def test_undeclared_objects_are_pruned_and_others_kept(api: ApiServer, cluster: Cluster, namespace: str) -> None:
    cluster.apply(config_map(namespace, "by-hand"), labelled(namespace, "other", "neighbour"))

    def declared(*names: str, check_mode: bool = False) -> list[str]:
        options = {"namespace": namespace, "owner": "us", "names": list(names)}
        changes: list[str] = cluster.module(PRUNING, options, check_mode)["changes"]
        return [change.replace(" ConfigMap %s/" % namespace, " ") for change in changes]

    assert declared("one", "two") == ["create one", "create two"]
    for check_mode in (True, False):
        assert declared("two", "three", check_mode=check_mode) == ["create three", "delete one"]
    assert declared("two", "three") == []
    assert seen(api, namespace) == ["by-hand", "other", "three", "two"]
    assert declared() == ["delete two", "delete three"]
    assert declared() == []


def test_pruning_runs_at_once_keep_each_others_objects(api: ApiServer, namespace: str) -> None:
    failures: list[BaseException] = []

    def run(which: int) -> None:
        try:
            for number in range(4):
                names = ["c%d-%d" % (which, each) for each in range(number, number + 4)]
                options = {"namespace": namespace, "owner": "run%d" % which, "names": names}
                Cluster(api).module(PRUNING, options)
        except BaseException as error:
            failures.append(error)

    run_all(run)
    assert failures == []
    assert seen(api, namespace) == sorted("c%d-%d" % (which, each) for which in range(3) for each in range(3, 7))


def test_refused_removal_leaves_all_as_it_is(api: ApiServer, cluster: Cluster, namespace: str) -> None:
    cluster.apply(config_map(namespace, "one"), config_map(namespace, "web"))
    with policy(api, namespace, "oldObject.metadata.name != 'web'", "web must stay", operation="DELETE"):
        plan = Plan(
            steps=[
                Apply([config_map(namespace, "new")]),
                Remove([config_map(namespace, "one"), config_map(namespace, "web")]),
            ]
        )
        with pytest.raises(RefusedError, match="web must stay"):
            cluster.run(plan)
    assert seen(api, namespace) == ["one", "web"]


def test_removal_that_a_finalizer_holds_up_ends_by_the_timeout(
    api: ApiServer, cluster: Cluster, namespace: str
) -> None:
    held = config_map(namespace, "one")
    held["metadata"]["finalizers"] = ["homelab.test/hold"]
    cluster.apply(held)
    plan = Plan(steps=[Remove([held])], timeout=1)
    with pytest.raises(FailedError, match=r"is still there after 1 s: its finalizers homelab.test/hold wait"):
        cluster.run(plan)
    api.ask("PATCH", path(namespace, "one"), {"metadata": {"finalizers": None}}, "application/merge-patch+json")
    assert unchanged(cluster.run(plan))


def test_write_refused_after_its_trial_tells_what_was_done(api: ApiServer, cluster: Cluster, namespace: str) -> None:
    """As by a quota that was used up in between. The next run completes it."""
    objects = [config_map(namespace, "one"), service(namespace, "two"), config_map(namespace, "three")]
    with Proxy(api) as proxy:
        proxy.faults.append(Fault("PATCH .*/services", (403, "exceeded quota"), skip=1))  # after the dry run
        with pytest.raises(FailedError, match="Service %s/two: exceeded quota" % namespace) as caught:
            Cluster(api, proxy.kubeconfig).apply(*objects)
    assert caught.value.outcome.changes == ["create ConfigMap %s/one" % namespace]
    assert seen(api, namespace) == ["one"]
    assert len(cluster.apply(*objects).changes) == 2


def test_removal_is_in_the_opposite_order_and_skips_what_is_not_there(
    api: ApiServer, cluster: Cluster, namespace: str
) -> None:
    objects = [config_map(namespace, "one"), service(namespace, "two"), config_map(namespace, "three")]
    cluster.apply(objects[0], objects[1])
    plan = Plan(steps=[Remove([*objects, thing("example.test/v1", "Gadget", namespace, "four")])])
    predicted = cluster.run(plan, check_mode=True)
    assert predicted.changes == ["delete Service %s/two" % namespace, "delete ConfigMap %s/one" % namespace]
    done = cluster.run(plan)
    assert (done.changes, done.diff) == (predicted.changes, predicted.diff)
    assert unchanged(cluster.run(plan))


def test_namespace_and_its_content_are_removed(api: ApiServer, cluster: Cluster, controllers: None) -> None:
    name = api.new_namespace("n") + "-own"
    objects = [thing("v1", "Namespace", "", name), config_map(name, "one"), deployment(name, "web")]
    cluster.apply(*objects)
    done = cluster.run(Plan(steps=[Remove(objects)]))
    assert done.changes == [
        "delete Deployment %s/web" % name,
        "delete ConfigMap %s/one" % name,
        "delete Namespace " + name,
    ]
    assert api.get("/api/v1/namespaces/" + name) is None
    assert unchanged(cluster.run(Plan(steps=[Remove(objects)])))
