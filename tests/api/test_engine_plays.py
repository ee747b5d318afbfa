# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The engine as ansible-playbook runs it: in the process of an action, or by a module on a managed host."""

from __future__ import annotations

import base64
import os
import signal
from typing import Any

import pytest

from ansible_collections.homelab.loadbalancer.plugins.module_utils._common.command import run
from ansible_collections.homelab.loadbalancer.tests.api.api_server import ApiServer, writes
from ansible_collections.homelab.loadbalancer.tests.api.objects import config_map, path, service, thing
from ansible_collections.homelab.loadbalancer.tests.api.stub import DROP, Fault, Proxy
from ansible_collections.homelab.loadbalancer.tests.integration.lab import changes

HOSTS = ("operator", "node")
VALUES = ("correct-horse", "battery-staple")


def objects_task(*objects: dict[str, Any], **options: Any) -> dict[str, Any]:
    return {"homelab.loadbalancer.k8s_objects": {"definitions": list(objects), **options}, "name": "Apply"}


@pytest.mark.parametrize("host", HOSTS)
def test_lifecycle_of_objects(api: ApiServer, namespace: str, host: str) -> None:
    objects = [config_map(namespace, "one"), service(namespace, "two")]
    present, absent = objects_task(*objects), objects_task(*objects, state="absent")
    with api.record() as asked:
        assert changes(api.play([present], "--check", "--diff", host=host).out) == 1
    assert writes(asked) == []
    # Each task is a process of its own. The kinds are read once for all of them.
    with api.record() as asked:
        assert changes(api.play([present, present, present], host=host).out) == 1
    assert [(one.verb, one.path) for one in writes(asked)] == [
        ("patch", path(namespace, "one")),
        ("patch", path(namespace, "two", "services")),
    ]
    assert [one.path for one in asked].count("/apis") == 1
    with api.record() as asked:
        assert changes(api.play([absent, absent], host=host).out) == 1
    assert [one.verb for one in writes(asked)] == ["delete", "delete"]


def test_defaults_of_the_action_group_reach_modules_and_not_those_of_hosts(api: ApiServer, namespace: str) -> None:
    tasks = [
        objects_task(config_map(namespace, "one")),
        {"homelab.loadbalancer.k8s_read": {"queries": [{"kind": "ConfigMap", "namespace": namespace}]}},
        {"homelab.loadbalancer.sysctls": {"values": {}}},
    ]
    play = {"hosts": "operator", "gather_facts": False, "tasks": tasks}
    defaults = {"group/homelab.loadbalancer.k8s": {"kubeconfig": str(api.kubeconfig)}}
    done = api.run_playbook([{**play, "module_defaults": defaults}], k8s_kubeconfig="/nowhere")
    assert changes(done.out) == 1
    assert "/nowhere is no kubeconfig" in api.run_playbook([play], rc=2, k8s_kubeconfig="/nowhere").out


@pytest.mark.parametrize("host", HOSTS)
def test_values_of_secrets_are_never_shown(api: ApiServer, namespace: str, host: str) -> None:
    for value in VALUES:
        secret = thing("v1", "Secret", namespace, "login", data={"password": base64.b64encode(value.encode()).decode()})
        wrong = {**secret, "metadata": {"name": "Wrong!", "namespace": namespace}, "stringData": {"text": value}}
        tasks = [
            {**objects_task(secret), "register": "applied"},
            {"ansible.builtin.debug": {"var": "applied"}},
            {**objects_task(wrong), "ignore_errors": True},
        ]
        for options in (("--check",), ()):
            said = api.play(tasks, "-vvvv", "--diff", *options, host=host)
            assert "password: (not shown" in said.out
            for hidden in (*VALUES, *(base64.b64encode(each.encode()).decode() for each in VALUES)):
                assert hidden not in said.out + said.err


@pytest.mark.parametrize("host", HOSTS)
def test_refusal_says_why_and_changes_nothing(api: ApiServer, namespace: str, host: str) -> None:
    wrong = service(namespace, "web", {"name": "http", "port": 70000})
    with api.record() as asked:
        done = api.play([objects_task(config_map(namespace, "one"), wrong)], host=host, rc=2)
    assert "nothing was changed" in done.out and "Service %s/web" % namespace in done.out
    assert writes(asked) == []


@pytest.mark.parametrize("host", HOSTS)
def test_api_server_that_does_not_answer_is_named(api: ApiServer, proxy: Proxy, namespace: str, host: str) -> None:
    server = "https://127.0.0.1:%d" % proxy.server_port
    for act, message in (
        (DROP, "the API server %s does not answer (it ended the connection without an answer)" % server),
        ((401, "Unauthorized"), "the API server %s refuses the credentials of %s" % (server, proxy.kubeconfig)),
    ):
        proxy.faults[:] = [Fault("PATCH /", act)]
        task = objects_task(config_map(namespace, "one"))
        done = api.play([task], host=host, rc=2, kubeconfig=proxy.kubeconfig)
        assert message in " ".join(done.out.split())


def descendants(pid: int) -> list[int]:
    """Those of a process. A worker of Ansible has a session of its own."""
    children = [int(child) for child in run(["pgrep", "-P", str(pid)], check=False).out.split()]
    return [*children, *(each for child in children for each in descendants(child))]


def test_run_that_is_killed_is_completed_by_the_next(api: ApiServer, proxy: Proxy, namespace: str) -> None:
    """Killed with all its processes when three of its objects are there."""
    task = objects_task(*[config_map(namespace, "c%02d" % number) for number in range(20)])
    with api.started_play([task], k8s_kubeconfig=str(proxy.kubeconfig)) as process:

        def kill() -> str:
            for pid in [process.pid, *descendants(process.pid)]:
                os.kill(pid, signal.SIGKILL)
            return DROP

        proxy.faults.append(Fault("PATCH /", kill, skip=3))
        process.wait()
    proxy.faults.clear()
    assert process.returncode == -signal.SIGKILL
    assert changes(api.play([task]).out) == 1
    assert len(api.ask("GET", "/api/v1/namespaces/%s/configmaps" % namespace)["items"]) == 20
    assert changes(api.play([task]).out) == 0
