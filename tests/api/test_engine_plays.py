# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The engine as ansible-playbook runs it: in the process of an action, or by a module on a managed host."""

from __future__ import annotations

import base64
import itertools
import json
import os
import signal
from typing import Any

from ansible_collections.homelab.loadbalancer.plugins.module_utils._common.command import run
from ansible_collections.homelab.loadbalancer.tests.api.api_server import ApiServer, writes
from ansible_collections.homelab.loadbalancer.tests.api.in_process import Cluster, seen
from ansible_collections.homelab.loadbalancer.tests.api.objects import config_map, path, service, thing
from ansible_collections.homelab.loadbalancer.tests.api.plays import must_fail, play_of, shown
from ansible_collections.homelab.loadbalancer.tests.api.stub import DROP, Fault, Proxy
from ansible_collections.homelab.loadbalancer.tests.integration.lab import changes

VALUES = ("correct-horse", "battery-staple")


def objects_task(*objects: dict[str, Any], **options: Any) -> dict[str, Any]:
    return {"homelab.loadbalancer.k8s_objects": {"definitions": list(objects), **options}, "name": "Apply"}


def test_lifecycle_of_objects(api: ApiServer, namespace: str) -> None:
    objects = [config_map(namespace, "one"), service(namespace, "two")]
    present, absent = objects_task(*objects), objects_task(*objects, state="absent")
    with api.record() as asked:
        tasks = [{**present, "check_mode": True}, present, present, absent, absent]
        results, dummy = api.results(tasks, "--diff")
    assert [one["changed"] for one in results] == [True, True, False, True, False]
    assert [(one.verb, one.path) for one in writes(asked)] == [
        ("patch", path(namespace, "one")),
        ("patch", path(namespace, "two", "services")),
        ("delete", path(namespace, "two", "services")),
        ("delete", path(namespace, "one")),
    ]
    # Each task is a process of its own. All of them read the kinds once.
    assert [one.path for one in asked].count("/apis") == 1


def test_module_defaults_of_the_action_group_reach_only_its_modules(api: ApiServer, namespace: str) -> None:
    tasks = [
        objects_task(config_map(namespace, "one")),
        {"homelab.loadbalancer.k8s_read": {"queries": [{"kind": "ConfigMap", "namespace": namespace}]}},
        {"homelab.loadbalancer.sysctls": {"values": {}}},
    ]
    defaults = {"group/homelab.loadbalancer.k8s": {"kubeconfig": str(api.kubeconfig)}}
    plays = [{**play_of("operator", tasks), "module_defaults": defaults}, play_of("operator", [must_fail(tasks[0])])]
    done = api.run_playbook(plays, k8s_kubeconfig="/nowhere")
    assert changes(done.out) == 1
    (why,) = shown(done.out)
    assert why.startswith("/nowhere is not a usable kubeconfig")


def secret_of(namespace: str, value: str) -> dict[str, Any]:
    return thing("v1", "Secret", namespace, "login", data={"password": encoded(value)})


def wrong_secret_of(namespace: str, value: str) -> dict[str, Any]:
    metadata = {"name": "Wrong!", "namespace": namespace}
    return {**secret_of(namespace, value), "metadata": metadata, "stringData": {"a": value}}


def encoded(value: str) -> str:
    return base64.b64encode(value.encode()).decode()


def test_values_of_secrets_are_never_shown(api: ApiServer, namespace: str) -> None:
    tasks: list[dict[str, Any]] = []
    for value, check_mode in itertools.product(VALUES, (True, False)):
        for secret in (secret_of(namespace, value), wrong_secret_of(namespace, value)):
            tasks.append({**objects_task(secret), "check_mode": check_mode})
    results, said = api.results(tasks, "-vvvv", "--diff")
    assert [bool(one.get("failed")) for one in results] == [False, True] * 4
    assert said.count("password: (not shown") >= 4
    for hidden in (*VALUES, *map(encoded, VALUES)):
        assert hidden not in said + json.dumps(results)


def failing(api: ApiServer, proxy: Proxy, namespace: str) -> tuple[list[dict[str, Any]], list[str]]:
    """Tasks that fail by faults of the proxy, and how their messages begin."""
    server = "the API server https://127.0.0.1:%d" % proxy.server_port
    proxy.faults += [Fault("PATCH .*/silent", DROP), Fault("PATCH .*/expired", (401, "Unauthorized"))]
    return [objects_task(config_map(namespace, name)) for name in ("silent", "expired")], [
        server + " does not answer (it ended the connection without an answer)",
        server + " refuses the credentials of %s" % proxy.kubeconfig,
    ]


def test_failure_is_explained_and_changes_nothing(api: ApiServer, proxy: Proxy, namespace: str) -> None:
    wrong = objects_task(config_map(namespace, "one"), service(namespace, "web", {"name": "http", "port": 70000}))
    tasks, starts = failing(api, proxy, namespace)
    with api.record() as asked:
        (refusal, *failures), dummy = api.results([wrong, *tasks], kubeconfig=proxy.kubeconfig)
    assert refusal["msg"].startswith("nothing was changed") and "Service %s/web" % namespace in refusal["msg"]
    assert [one["msg"][: len(start)] for one, start in zip(failures, starts)] == starts
    assert writes(asked) == []


def test_engine_runs_by_a_module_on_a_managed_host(api: ApiServer, proxy: Proxy, namespace: str) -> None:
    """One play for all, because a managed host starts a module for each exchange with the API server."""
    value = VALUES[0]
    secret = secret_of(namespace, value)
    tasks, starts = failing(api, proxy, namespace)
    tasks = [objects_task(secret), objects_task(wrong_secret_of(namespace, value)), *tasks]
    tasks.append(objects_task(secret, state="absent"))
    with api.record() as asked:
        results, said = api.results(tasks, "-vvvv", "--diff", host="node", kubeconfig=proxy.kubeconfig)
    made, refusal, *failures, gone = results
    assert made["changed"] and gone["changed"]
    assert refusal["msg"].startswith("nothing was changed")
    assert [one["msg"][: len(start)] for one, start in zip(failures, starts)] == starts
    assert [one.verb for one in writes(asked)] == ["patch", "delete"]
    assert [one.path for one in asked].count("/apis") == 1
    assert "password: (not shown" in said
    for hidden in (value, encoded(value)):
        assert hidden not in said + json.dumps(results)


def descendants(pid: int) -> list[int]:
    """The descendants of a process. A worker of Ansible has a session of its own."""
    children = [int(child) for child in run(["pgrep", "-P", str(pid)], check=False).out.split()]
    return [*children, *(each for child in children for each in descendants(child))]


def test_killed_run_is_completed_by_the_next(api: ApiServer, proxy: Proxy, namespace: str) -> None:
    """It is killed with all its processes when three of its objects are there."""
    objects = [config_map(namespace, "c%02d" % number) for number in range(20)]
    task = objects_task(*objects)
    with api.started_play([task], k8s_kubeconfig=str(proxy.kubeconfig)) as process:

        def kill() -> str:
            for pid in [process.pid, *descendants(process.pid)]:
                os.kill(pid, signal.SIGKILL)
            return DROP

        proxy.faults.append(Fault("PATCH /", kill, skip=3))
        process.wait()
    proxy.faults.clear()
    assert process.returncode == -signal.SIGKILL
    for changed in (True, False):
        (done,) = Cluster(api).action("k8s_objects", {"definitions": objects})
        assert done["changed"] == changed
        assert len(seen(api, namespace)) == 20
