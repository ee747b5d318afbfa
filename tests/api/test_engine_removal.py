# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The engine removes objects on a real API server, and keeps others."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.homelab.loadbalancer.plugins.plugin_utils._k8s.engine import FailedError, RefusedError
from ansible_collections.homelab.loadbalancer.plugins.plugin_utils._k8s.model import Apply, Plan, Planner, Remove
from ansible_collections.homelab.loadbalancer.tests.api.api_server import ApiServer
from ansible_collections.homelab.loadbalancer.tests.api.in_process import Cluster, run_all, seen, unchanged
from ansible_collections.homelab.loadbalancer.tests.api.objects import config_map, deployment, path, service, thing
from ansible_collections.homelab.loadbalancer.tests.api.stub import Fault, Proxy
from ansible_collections.homelab.loadbalancer.tests.api.webhook import policy


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


def test_undeclared_objects_pruned_foreign_objects_kept(api: ApiServer, cluster: Cluster, namespace: str) -> None:
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


def test_concurrent_pruning_runs_keep_each_others_objects(api: ApiServer, namespace: str) -> None:
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


def test_refused_removal_changes_nothing(api: ApiServer, cluster: Cluster, namespace: str) -> None:
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


def test_removal_blocked_by_a_finalizer_ends_in_a_timeout(api: ApiServer, cluster: Cluster, namespace: str) -> None:
    held = config_map(namespace, "one")
    held["metadata"]["finalizers"] = ["homelab.test/hold"]
    cluster.apply(held)
    plan = Plan(steps=[Remove([held])], timeout=1)
    with pytest.raises(FailedError, match=r"is still there after 1 s: its finalizers homelab.test/hold wait"):
        cluster.run(plan)
    api.ask("PATCH", path(namespace, "one"), {"metadata": {"finalizers": None}}, "application/merge-patch+json")
    assert unchanged(cluster.run(plan))


def test_write_refused_after_its_dry_run_reports_the_changes_made(
    api: ApiServer, cluster: Cluster, namespace: str
) -> None:
    """For instance, the quota was used up meanwhile. The next run completes it."""
    objects = [config_map(namespace, "one"), service(namespace, "two"), config_map(namespace, "three")]
    with Proxy(api) as proxy:
        proxy.faults.append(Fault("PATCH .*/services", (403, "exceeded quota"), skip=1))  # after the dry run
        with pytest.raises(FailedError, match="Service %s/two: exceeded quota" % namespace) as caught:
            Cluster(api, proxy.kubeconfig).apply(*objects)
    assert caught.value.outcome.changes == ["create ConfigMap %s/one" % namespace]
    assert seen(api, namespace) == ["one"]
    assert len(cluster.apply(*objects).changes) == 2


def test_removal_is_in_reverse_order_and_skips_missing_objects(
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
