# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The role `app` on a real cluster: what a client outside it gets, and what the user is told when a rollout fails."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any, Iterator

import pytest

from ansible_collections.homelab.loadbalancer.tests.cluster.cluster_lab import Cluster, changed, web_app
from ansible_collections.homelab.loadbalancer.tests.integration.namespaces import wait_for

NODES = ("172.16.0.11", "172.16.0.12", "172.16.0.13")
NODE_PORT = 30810
WEB = web_app(
    "app-test",
    app_service_type="NodePort",
    app_ports=[{"port": 80, "target_port": 8080, "node_port": NODE_PORT}],
    app_timeout=90,
)


def app(cluster: Cluster, *options: str, rc: int = 0, **variables: Any) -> str:
    """Run the role and return what it printed."""
    return cluster.roles({**WEB, **variables}, options=options, rc=rc)


def names(cluster: Cluster, kinds: str = "configmap,deployment,service") -> list[str]:
    """The objects of the namespace, but for those that Kubernetes puts into each."""
    listed = cluster.kubectl("get", kinds, "-n", "app-test", "-o", "name").split()
    return sorted(name for name in listed if name != "configmap/kube-root-ca.crt")


def hostname(cluster: Cluster, node: str) -> str:
    """Which pod answers a client outside the cluster, or an empty string."""
    url = "http://%s:%d/hostname" % (node, NODE_PORT)
    return cluster.client("curl", "-sS", "--fail", "--max-time", "5", url, check=False)


def test_all_nodes_serve_the_application_until_it_is_absent(cluster: Cluster) -> None:
    assert changed(app(cluster))
    # kube-proxy may take a second for what has just become ready.
    wait_for(lambda: all(hostname(cluster, node).startswith("web-") for node in NODES), "the port on all nodes")
    assert not changed(app(cluster))
    assert changed(app(cluster, app_state="absent"))
    assert cluster.kubectl("get", "namespace", "app-test", "--ignore-not-found") == ""


@pytest.fixture(scope="module")
def namespace(cluster: Cluster) -> Iterator[Cluster]:
    """The cluster, in which nothing of the application is left."""
    try:
        yield cluster
    finally:
        app(cluster, app_state="absent")
        assert cluster.kubectl("get", "namespace", "app-test", "--ignore-not-found") == ""


@pytest.fixture
def web(namespace: Cluster) -> Cluster:
    """The cluster, in which the application runs as it is declared, whatever a test before has made of it."""
    app(namespace)
    wait_for(lambda: len(names(namespace, "pod")) == WEB["app_replicas"], "the pods of before are gone")
    return namespace


def test_files_reach_the_program_and_their_change_replaces_the_pods(web: Cluster) -> None:
    assert changed(app(web, app_config={"greeting": "one"}))
    before = names(web, "pod")
    assert not changed(app(web, app_config={"greeting": "one"}))
    assert changed(app(web, app_config={"greeting": "two"}))
    wait_for(lambda: not set(before) & set(names(web, "pod")), "the pods of before are gone")
    # A program that prints the file and ends.
    reader = ["mounttest", "--file_content=/etc/web/greeting"]
    assert "three" in app(web, rc=2, app_config={"greeting": "three"}, app_args=reader, app_timeout=20)


def test_an_image_that_does_not_exist(web: Cluster) -> None:
    before = names(web, "pod")
    said = app(web, rc=2, app_image="127.0.0.1:9/team/web:9", app_timeout=20)
    assert "the rollout is not complete after" in said
    assert re.search(r"pod web-\S+, container web: (ErrImagePull|ImagePullBackOff)", said)
    assert "the image cannot be pulled" in said
    assert "(old ones among them)" in said
    # What was there goes on working, and is all there is again after the next run.
    assert set(before) <= set(names(web, "pod"))
    assert {hostname(web, node) for node in NODES} <= {name.split("/")[1] for name in before}
    assert changed(app(web))
    wait_for(lambda: names(web, "pod") == before, "only the pods of before are there")


def test_an_image_that_would_run_as_root(web: Cluster) -> None:
    said = app(web, rc=2, app_security_context={})
    assert "no waiting will help" in said
    assert "CreateContainerConfigError" in said
    assert "runAsUser" in said


def test_a_program_that_ends(web: Cluster) -> None:
    """What it says last is shown, and cannot write to the terminal."""
    said = app(web, rc=2, app_args=["entrypoint-tester", "\x1b]0;owned\x07"], app_timeout=25)
    assert "exit code 0 (Completed)" in said
    assert "its last log lines:" in said
    assert r"\x1b]0;owned\x07" in said
    assert "\x1b]0;" not in said


def test_data_outlive_pods_and_the_application(web: Cluster, data: str) -> None:
    volume = {"name": "data", "path": "/uploads", "claim": {"size": "1Mi"}}
    kept: dict[str, Any] = {"app_replicas": 1, "app_volumes": [volume], "app_drain": 0}
    said = app(web, rc=2, **kept)
    assert "PersistentVolumeClaim app-test/web-data waits: it names no storage class, and the cluster has no" in said

    web.kubectl("apply", "-f", "-", stdin=json.dumps(local_volume(data)))
    app(web, **kept)
    first = upload(web)
    assert files(web, data) == [first]
    # The old pod goes before the new one comes: so it was declared, and both never write to the same data.
    assert changed(app(web, **kept, app_env={"GENERATION": 2}))
    second = upload(web)
    assert files(web, data) == sorted([first, second])
    assert not changed(app(web, **kept, app_env={"GENERATION": 2}))

    said = app(web, **kept, app_state="absent")
    assert "PersistentVolumeClaim app-test/web-data" in said
    assert names(web, "deployment,persistentvolumeclaim") == ["persistentvolumeclaim/web-data"]
    assert len(files(web, data)) == 2
    app(web, app_state="absent", app_delete_data=True)
    assert web.kubectl("get", "namespace", "app-test", "--ignore-not-found") == ""


@pytest.fixture
def data(namespace: Cluster) -> Iterator[str]:
    """A folder of a node, in which root alone may write; what is made of it goes."""
    folder = "/var/lib/app-test"
    namespace.node("worker1", "mkdir", folder)
    yield folder
    app(namespace, app_state="absent", app_delete_data=True)
    namespace.kubectl("delete", "persistentvolume", "app-test", "--ignore-not-found")
    namespace.node("worker1", "rm", "-r", folder)


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
    url = "http://%s:%d/upload" % (NODES[0], NODE_PORT)
    curl = ("curl", "-sS", "--fail", "--max-time", "5", "-F", "file=@/etc/hostname", url)
    wait_for(lambda: hostname(cluster, NODES[0]), "the application answers")
    answer = json.loads(cluster.client(*curl))
    return Path(answer["output"]).name


def files(cluster: Cluster, folder: str) -> list[str]:
    return sorted(cluster.node("worker1", "ls", folder).split())


def test_clients_notice_no_rollout(web: Cluster) -> None:
    """A client that asks all the time is answered, while all pods are replaced."""
    # Long enough for every node to know of a pod's end, on a machine whose processors are busy.
    app(web, app_drain=20)
    loop = "while :; do curl -sS --fail --max-time 5 -o /dev/null http://%s:%d/hostname || exit 1; done"
    asking = subprocess.Popen(["ip", "netns", "exec", "cluster-client", "sh", "-c", loop % (NODES[0], NODE_PORT)])
    try:
        before = names(web, "pod")
        assert changed(app(web, app_drain=20, app_env={"GENERATION": 2}))
        wait_for(lambda: not set(before) & set(names(web, "pod")), "the pods of before are gone")
        assert asking.poll() is None
    finally:
        asking.kill()
        asking.wait()
