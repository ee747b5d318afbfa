# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""playbooks/k8s.yml on a real cluster, where it needs one: who owns a field, kubectl's columns, logs of real pods.

What any API server does is in tests/integration/k8s/test_k8s_tools_api.py.
"""

from __future__ import annotations

import base64
import json
import re
from pathlib import Path
from typing import Any, Iterator

import pytest

from ansible_collections.homelab.loadbalancer.tests.cluster.cluster_lab import IMAGE, Cluster, changed, closed
from ansible_collections.homelab.loadbalancer.tests.integration.namespaces import wait_for

NAMESPACE = "k8s-test"
PASSWORD = "correct horse 47"  # noqa: S105 -- none of anybody
ENCODED = base64.b64encode(PASSWORD.encode()).decode()
LABELS = {"app": "writer"}
# Two containers, whose last line is made to be obeyed by a terminal; the arguments are what is printed.
WRITER = {"image": IMAGE, "args": ["entrypoint-tester", "\x1b]0;owned\x07"], "securityContext": {"runAsUser": 65532}}


def manifests() -> list[dict[str, Any]]:
    """A namespace and what is in it; the last two are in none of their own yet."""
    containers = [{"name": name, **WRITER} for name in ("one", "two")]
    pod: dict[str, Any] = {"restartPolicy": "Never", "containers": containers, "terminationGracePeriodSeconds": 0}
    return [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}},
        {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "login"}, "stringData": {"password": PASSWORD}},
        *(
            {
                "apiVersion": "v1",
                "kind": "Pod",
                "metadata": {"name": "writer-%d" % number, "labels": LABELS},
                "spec": pod,
            }
            for number in (1, 2)
        ),
    ]


@pytest.fixture(scope="module")
def folder(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder of manifests. Nothing of them is left in the cluster."""
    path = tmp_path_factory.mktemp("manifests")
    first, *others = manifests()
    (path / "00-namespace.yml").write_text(json.dumps(first))
    (path / "10-others.yml").write_text("\n---\n".join(map(json.dumps, others)))
    try:
        yield path
    finally:
        cluster.kubectl("delete", "namespace", NAMESPACE, "--ignore-not-found", "--wait")


def k8s(cluster: Cluster, tags: str, *options: str, rc: int = 0, **variables: Any) -> str:
    """Run pieces of the playbook and return what it printed."""
    return cluster.playbook("k8s", "--tags", tags, *options, rc=rc, **variables)


def test_a_folder_is_applied_once(cluster: Cluster, folder: Path) -> None:
    variables = {"k8s_tools_src": str(folder), "k8s_tools_default_namespace": NAMESPACE}
    assert "k8s_allow_write: true" in k8s(cluster, "apply", rc=2, **variables)
    predicted = k8s(cluster, "apply", "--check", "--diff", "-vvv", **variables)
    assert changed(predicted)
    assert "+    kind: Pod" in predicted
    assert cluster.kubectl("get", "namespace", NAMESPACE, "--ignore-not-found") == ""
    applied = k8s(cluster, "apply", "--diff", "-vvv", k8s_allow_write=True, **variables)
    assert changed(applied)
    for said in (predicted, applied):
        assert "(not shown)" in said
        assert PASSWORD not in said and ENCODED not in said
        assert re.findall(r"│ create +│ (\S+)", said) == ["Namespace", "Secret", "Pod", "Pod"]
    assert not changed(k8s(cluster, "apply", k8s_allow_write=True, **variables))


def test_lists_have_the_columns_of_kubectl_and_secrets_are_closed(cluster: Cluster, folder: Path) -> None:
    # As kubectl itself leaves one, with a copy of it in an annotation.
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "kept", "namespace": NAMESPACE}}
    cluster.kubectl("apply", "-f", "-", stdin=json.dumps({**secret, "stringData": {"password": PASSWORD}}))
    said = k8s(cluster, "list", "-vvvv", k8s_tools_kind="pods,secrets,deploy", k8s_tools_namespace=NAMESPACE)
    for heading in ("Ready", "Restarts", "Age", "Data", "Up-to-date"):
        assert "│ %s " % heading in said
    assert "(not shown)" in said
    assert PASSWORD not in said and ENCODED not in said


def test_logs_and_events_of_hostile_pods(cluster: Cluster, folder: Path) -> None:
    def ended() -> bool:
        pods = cluster.objects("pod", "-n", NAMESPACE, "-l", "app=writer")
        return len(pods) == 2 and all(pod["status"]["phase"] == "Succeeded" for pod in pods)

    wait_for(ended, "the pods have ended")
    labels = ["%s=%s" % item for item in LABELS.items()]
    said = k8s(cluster, "logs,events", k8s_tools_labels=labels, k8s_tools_kind="pod", k8s_tools_namespace=NAMESPACE)
    for name in ("writer-1/one", "writer-1/two", "writer-2/one", "writer-2/two"):
        assert re.search(re.escape(name) + r" \| .*\\x1b\]0;owned\\x07", said)
    assert "\x1b]0;" not in said
    for reason in ("Scheduled", "Started"):
        assert re.search(r"│ Normal +│ %s +│ Pod %s/writer-1" % (reason, NAMESPACE), said)
    times = re.findall(r"│ (\d{4}-\d\d-\d\d \d\d:\d\d:\d\d) │", said)
    assert times and times == sorted(times)


def test_one_object_is_managed(cluster: Cluster, folder: Path) -> None:
    def manage(operation: str, rc: int = 0, **variables: Any) -> str:
        more = {"k8s_tools_" + key: value for key, value in variables.items()}
        return k8s(cluster, "manage", rc=rc, k8s_tools_operation=operation, k8s_allow_write=True, **more)

    metadata = {"name": "login", "namespace": NAMESPACE}
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": {"password": PASSWORD}}
    assert "Secret %s/login exists already" % NAMESPACE in manage("create", rc=2, definition=secret)
    # What the API server quotes of it.
    wrong = {**secret, "metadata": {**metadata, "name": "other"}, "data": {"password": PASSWORD}}
    refused = manage("create", rc=2, definition=wrong)
    assert "illegal base64" in refused and PASSWORD not in refused
    writer: dict[str, Any] = {"kind": "pods", "name": "writer-1", "namespace": NAMESPACE}
    assert changed(manage("patch", **writer, patch={"metadata": {"labels": {"more": "yes"}}}))
    assert "more=yes" in cluster.kubectl("get", "pod", "writer-1", "-n", NAMESPACE, "--show-labels")
    assert changed(manage("delete", **writer))
    assert cluster.kubectl("get", "pod", "writer-1", "-n", NAMESPACE, "--ignore-not-found") == ""


def test_an_api_server_that_does_not_answer(cluster: Cluster, tmp_path: Path) -> None:
    said = k8s(cluster, "list", rc=2, k8s_tools_kind="pods", k8s_kubeconfig=closed(tmp_path))
    assert "does not answer" in said
