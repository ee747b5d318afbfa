# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""playbooks/k8s.yml on a real cluster, where it needs one: pods that run, log and end.

What needs an API server alone is in tests/api/test_k8s_tools.py and tests/integration/k8s/test_k8s_tools_api.py.
"""

from __future__ import annotations

import base64
import json
import re
from pathlib import Path
from typing import Any, Iterator

import pytest

from ansible_collections.homelab.loadbalancer.tests.cluster.cluster_lab import IMAGE, PATIENCE, Cluster, changed

NAMESPACE = "k8s-test"
PASSWORD = "correct horse 47"  # noqa: S105 -- none of anybody
ENCODED = base64.b64encode(PASSWORD.encode()).decode()
LABELS = {"app": "writer"}
# A container that prints its arguments, with an escape sequence for a terminal among them.
WRITER = {"image": IMAGE, "args": ["entrypoint-tester", "\x1b]0;owned\x07"], "securityContext": {"runAsUser": 65532}}


def manifests() -> list[dict[str, Any]]:
    """A namespace, and objects that do not name it."""
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


def k8s(cluster: Cluster, tags: str, *options: str, **variables: Any) -> str:
    """Run pieces of the playbook and return what it printed."""
    return cluster.playbook("k8s", "--tags", tags, *options, k8s_allow_write=True, **variables)


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
        cluster.kubectl("delete", "namespace", NAMESPACE, "--ignore-not-found", "--wait=false")


def test_a_folder_is_applied_once(cluster: Cluster, folder: Path) -> None:
    variables = {"k8s_tools_src": str(folder), "k8s_tools_default_namespace": NAMESPACE}
    applied = k8s(cluster, "apply", "--diff", "-vvv", **variables)
    assert changed(applied)
    assert "+    kind: Pod" in applied
    assert "(not shown)" in applied
    assert PASSWORD not in applied and ENCODED not in applied
    assert re.findall(r"│ create +│ (\S+)", applied) == ["Namespace", "Secret", "Pod", "Pod"]
    assert not changed(k8s(cluster, "apply", **variables))


def test_list_logs_and_events_of_hostile_pods(cluster: Cluster, folder: Path) -> None:
    ended = ("--for=jsonpath={.status.phase}=Succeeded", "pod", "-l", "app=writer")
    cluster.kubectl("wait", "-n", NAMESPACE, *ended, PATIENCE)
    about = {"k8s_tools_labels": ["app=writer"], "k8s_tools_kind": "pod", "k8s_tools_namespace": NAMESPACE}
    said = k8s(cluster, "list,logs,events", **about)
    for heading in ("Ready", "Restarts", "Age"):
        assert "│ %s " % heading in said
    for name in ("writer-1/one", "writer-1/two", "writer-2/one", "writer-2/two"):
        assert re.search(re.escape(name) + r" \| .*\\x1b\]0;owned\\x07", said)
    assert "\x1b]0;" not in said
    for reason in ("Scheduled", "Started"):
        assert re.search(r"│ Normal +│ %s +│ Pod %s/writer-1" % (reason, NAMESPACE), said)
    times = re.findall(r"│ (\d{4}-\d\d-\d\d \d\d:\d\d:\d\d) │", said)
    assert times and times == sorted(times)


def test_deleted_pod_is_gone_when_the_run_ends(cluster: Cluster, folder: Path) -> None:
    writer = {"k8s_tools_kind": "pods", "k8s_tools_name": "writer-1", "k8s_tools_namespace": NAMESPACE}
    assert changed(k8s(cluster, "manage", k8s_tools_operation="delete", **writer))
    assert cluster.kubectl("get", "pod", "writer-1", "-n", NAMESPACE, "--ignore-not-found") == ""
