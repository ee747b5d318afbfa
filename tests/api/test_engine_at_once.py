# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Several runs at once, and many objects in one task, on a real API server."""

from __future__ import annotations

import time
from typing import Any

import yaml

from ansible_collections.homelab.loadbalancer.tests.api.api_server import ApiServer, writes
from ansible_collections.homelab.loadbalancer.tests.api.in_process import Cluster, run_all, seen, unchanged
from ansible_collections.homelab.loadbalancer.tests.api.objects import config_map, kind, path, thing

MANY = 250


def test_concurrent_runs_apply_all_their_objects(api: ApiServer, cluster: Cluster) -> None:
    """All runs create the same namespace and the same kind."""
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


def test_concurrent_runs_on_one_object_leave_the_state_of_one_run(
    api: ApiServer, cluster: Cluster, namespace: str
) -> None:
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
    """kubectl gets a fifth of them, because it sends them in turn, and pauses after some hundreds of requests."""

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
