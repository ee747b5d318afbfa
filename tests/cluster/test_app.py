# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The role `app` on a real cluster: a client outside it is served, and a failed rollout is explained."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, Iterator

import pytest

from ansible_collections.homelab.loadbalancer.tests.cluster.cluster_lab import (
    ADDRESSES,
    IMAGE,
    Cluster,
    Visitor,
    changed,
    role_task,
    wait_for,
)

NODE_PORT = 30810
# Two pods that answer HTTP with their names, in a namespace that goes with them.
WEB = {
    "role": "app",
    "app_name": "web",
    "app_namespace": "app-test",
    "app_manifests": [{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "app-test"}}],
    "app_image": IMAGE,
    "app_replicas": 2,
    "app_args": ["netexec", "--http-port=8080"],
    "app_service_type": "NodePort",
    "app_ports": [{"port": 80, "target_port": 8080, "node_port": NODE_PORT}],
    "app_config": {"greeting": "one"},
    # The image names no user.
    "app_security_context": {"runAsUser": 65532},
    "app_readiness_probe": {"type": "http", "path": "/healthz", "interval": 1},
    # Long enough for every node to know of a pod's end, on a machine whose processors are busy.
    "app_drain": 20,
}


def app(cluster: Cluster, **variables: Any) -> str:
    """Run the role and return what it printed."""
    return cluster.roles({**WEB, **variables})


def names(cluster: Cluster, kinds: str) -> list[str]:
    """The objects of the namespace."""
    return sorted(cluster.kubectl("get", kinds, "-n", "app-test", "-o", "name").split())


def hostname(cluster: Cluster, node: str) -> str:
    """The pod that answers a client outside the cluster, or an empty string."""
    url = "http://%s:%d/hostname" % (node, NODE_PORT)
    return cluster.client("curl", "-sS", "--fail", "--max-time", "5", url, check=False)


@pytest.fixture(scope="module")
def web(cluster: Cluster) -> Iterator[Cluster]:
    """The cluster, in which the application runs. Nothing of it is left."""
    try:
        assert changed(app(cluster))
        yield cluster
    finally:
        app(cluster, app_state="absent", app_delete_data=True)
    assert cluster.kubectl("get", "namespace", "app-test", "--ignore-not-found") == ""


def test_all_nodes_serve_the_application(web: Cluster) -> None:
    # kube-proxy may take a second for what has just become ready.
    wait_for(lambda: all(hostname(web, node).startswith("web-") for node in ADDRESSES), "the port on all nodes")


def test_second_run_changes_nothing(web: Cluster) -> None:
    assert not changed(app(web))


def test_changed_files_replace_the_pods_and_clients_notice_no_rollout(web: Cluster) -> None:
    """A client that asks ten times a second is always answered."""
    before = names(web, "pod")
    url = "http://%s:%d/hostname" % (ADDRESSES[0], NODE_PORT)
    with Visitor(web.network("client"), "--max-time", "5", url) as visits:
        assert changed(app(web, app_config={"greeting": "two"}))
        wait_for(lambda: not set(before) & set(names(web, "pod")), "the pods of before are gone")
    assert set(visits.codes) == {"200"}
    read = ("--", "/agnhost", "mounttest", "--file_content=/etc/web/greeting")
    assert "two" in web.kubectl("exec", "-n", "app-test", "deployment/web", *read)


def failing(**variables: Any) -> dict[str, Any]:
    """A task that runs the role, which fails, and a task that goes on."""
    role = {**WEB, "app_config": {"greeting": "two"}, **variables}
    rescue = [{"ansible.builtin.debug": {"msg": "END OF A FAILURE"}}]
    return {"block": [role_task(role)], "rescue": rescue}


def test_why_a_rollout_fails(web: Cluster) -> None:
    """The pods of before go on working, and are the only ones after the next run."""
    before = names(web, "pod")
    said = web.tasks(
        failing(app_image="127.0.0.1:9/team/web:9", app_timeout=20),
        failing(app_security_context={}),
        # What it prints last is shown, and cannot write to the terminal.
        failing(app_args=["entrypoint-tester", "\x1b]0;owned\x07"], app_timeout=25),
    )
    image, root, ended = said.split("END OF A FAILURE")[:3]
    assert "the rollout is not complete after" in image
    assert re.search(r"pod web-\S+, container web: (ErrImagePull|ImagePullBackOff)", image)
    assert "the image cannot be pulled" in image
    assert "(old ones among them)" in image

    assert "no waiting will help" in root
    assert "CreateContainerConfigError" in root
    assert "runAsUser" in root

    assert "exit code 0 (Completed)" in ended
    assert "its last log lines:" in ended
    assert r"\x1b]0;owned\x07" in ended
    assert "\x1b]0;" not in said

    assert set(before) <= set(names(web, "pod"))
    assert {hostname(web, node) for node in ADDRESSES} <= {name.split("/")[1] for name in before}
    assert changed(app(web, app_config={"greeting": "two"}))
    wait_for(lambda: names(web, "pod") == before, "only the pods of before are there")


def test_data_outlive_pods_and_the_application(web: Cluster, data: str) -> None:
    volume = {"name": "data", "path": "/uploads", "claim": {"size": "1Mi"}}
    kept: dict[str, Any] = {"app_replicas": 1, "app_volumes": [volume], "app_drain": 0}
    app(web, **kept)
    first = upload(web)
    assert files(web, data) == [first]
    # Both write to the same data, so the old pod goes before the new one comes.
    assert changed(app(web, **kept, app_env={"GENERATION": 2}))
    second = upload(web)
    assert files(web, data) == sorted([first, second])

    said = app(web, **kept, app_state="absent")
    assert "PersistentVolumeClaim app-test/web-data" in said
    assert names(web, "deployment,persistentvolumeclaim") == ["persistentvolumeclaim/web-data"]
    assert len(files(web, data)) == 2


@pytest.fixture
def data(web: Cluster) -> Iterator[str]:
    """A volume in a folder of a node, in which root alone may write. It is removed with its files."""
    folder = "/var/lib/app-test"
    web.node("worker1", "mkdir", folder)
    web.apply(local_volume(folder))
    yield folder
    web.kubectl("delete", "persistentvolume", "app-test", "--wait=false")
    web.node("worker1", "rm", "-r", folder)


def local_volume(folder: str) -> dict[str, Any]:
    """A PersistentVolume of a node's folder, of no storage class."""
    term = {"matchExpressions": [{"key": "kubernetes.io/hostname", "operator": "In", "values": ["worker1"]}]}
    spec = {
        "capacity": {"storage": "1Mi"},
        "accessModes": ["ReadWriteOnce"],
        "persistentVolumeReclaimPolicy": "Retain",
        "local": {"path": folder},
        "nodeAffinity": {"required": {"nodeSelectorTerms": [term]}},
    }
    return {"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": "app-test"}, "spec": spec}


def upload(cluster: Cluster) -> str:
    """Have the program write a file, and return its name."""
    url = "http://%s:%d/upload" % (ADDRESSES[0], NODE_PORT)
    curl = ("curl", "-sS", "--fail", "--max-time", "5", "-F", "file=@/etc/hostname", url)
    wait_for(lambda: hostname(cluster, ADDRESSES[0]), "the application answers")
    answer = json.loads(cluster.client(*curl))
    return Path(answer["output"]).name


def files(cluster: Cluster, folder: str) -> list[str]:
    return sorted(cluster.node("worker1", "ls", folder).split())
