# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Nodes that hinder a rollout, and what the rollout says of them."""

from __future__ import annotations

import time
from types import SimpleNamespace
from typing import Any

import pytest

from ansible_collections.homelab.loadbalancer.plugins.action import k8s_rollout as rollout_action
from ansible_collections.homelab.loadbalancer.plugins.module_utils._k8s_nodes import hindrances


def node(name: str, status: str = "True", **spec: Any) -> dict[str, Any]:
    said = {"reason": "NodeStatusUnknown", "message": "Kubelet stopped posting\nnode status."}
    if status == "False":
        said = {"reason": "KubeletNotReady", "message": "cni plugin not initialized"}
    return {
        "metadata": {"name": name},
        "spec": spec,
        "status": {"conditions": [{"type": "Ready", "status": status, **(said if status != "True" else {})}]},
    }


def pod(condition: dict[str, str]) -> dict[str, Any]:
    return {"metadata": {"name": "web-1", "namespace": "default"}, "status": {"conditions": [condition]}}


def on(node_name: str, ready: bool = False, **metadata: Any) -> dict[str, Any]:
    """A pod that was given to a node."""
    made = pod({"type": "Ready", "status": str(ready)})
    return {**made, "metadata": {**made["metadata"], **metadata}, "spec": {"nodeName": node_name}}


LOST = "the node n2 is NotReady (NodeStatusUnknown: Kubelet stopped posting node status.), and pods on it do not become"
UNPLACED = pod({"type": "PodScheduled", "status": "False", "reason": "Unschedulable"})


@pytest.mark.parametrize(
    ("pods", "nodes", "said", "remedy", "lost"),
    [
        ([on("n2")], [node("n1"), node("n2", "Unknown")], LOST, "start n2, or see there why its kubelet", True),
        (
            [on("n2")],
            [node("n2", "False")],
            "the node n2 is NotReady (KubeletNotReady: cni plugin not initialized), and pods on it do not",
            "see kubectl describe node n2",
            False,
        ),
        ([UNPLACED], [node("n2", "Unknown")], "kubelet stopped posting node status.), and takes no pods", "", False),
        (
            [UNPLACED],
            [node("n1"), node("n2", unschedulable=True)],
            "the node n2 is cordoned, and takes no new pods",
            "kubectl uncordon n2",
            False,
        ),
    ],
)
def test_nodes_that_hinder_pods(pods: Any, nodes: Any, said: str, remedy: str, lost: bool) -> None:
    (found,) = hindrances(pods, nodes)
    assert said.lower() in found.said.lower()
    assert found.remedy.startswith(remedy)
    assert found.lost == lost


@pytest.mark.parametrize(
    "pods",
    [
        [],
        [on("n1")],
        [on("n2", ready=True)],  # Kubernetes has not noticed yet
        [on("n2", deletionTimestamp="2026-01-01T00:00:00Z")],  # it is moved to another node
    ],
)
def test_nodes_that_hinder_nothing(pods: Any) -> None:
    assert hindrances(pods, [node("n1"), node("n2", "Unknown", unschedulable=True)]) == []


class Cluster(rollout_action.ActionModule):
    """The action with answers in place of an API server."""

    def __init__(self, nodes: list[dict[str, Any]], pods: list[dict[str, Any]], timeout: int) -> None:
        self.nodes, self.pods = nodes, pods
        self.objects: dict[str, list[dict[str, Any]]] = {}
        self.by_label: dict[str, list[dict[str, Any]]] = {}
        self._options = {"timeout": timeout}
        self.warnings: list[str] = []
        self._display = SimpleNamespace(warning=self.warnings.append)

    def _read(self, queries: list[dict[str, Any]]) -> list[dict[str, Any]]:
        kinds = {"Node": self.nodes, "Pod": self.pods, "DaemonSet": [DAEMON_SET], **self.objects}
        labels = ["".join(query.get("label_selectors") or []) for query in queries]
        return [
            {"resources": self.by_label.get(label) or kinds.get(query["kind"], [])}
            for query, label in zip(queries, labels)
        ]


DAEMON_SET: dict[str, Any] = {
    "apiVersion": "apps/v1",
    "kind": "DaemonSet",
    "metadata": {"name": "web", "namespace": "default", "generation": 2},
    "spec": {"selector": {"matchLabels": {"app": "web"}}},
    "status": {"observedGeneration": 2, "desiredNumberScheduled": 2, "updatedNumberScheduled": 2, "numberAvailable": 1},
}


def test_a_lost_node_ends_the_rollout_at_once_as_its_cause() -> None:
    action = Cluster([node("n1"), node("n2", "Unknown")], [on("n1", ready=True), on("n2")], timeout=300)
    started = time.monotonic()
    with pytest.raises(rollout_action.UnfinishedError) as caught:
        action._wait([DAEMON_SET])
    assert time.monotonic() - started < 5
    first, second, *dummy = str(caught.value).splitlines()
    assert first == "the rollout is not complete after 0 s, and no waiting will help."
    assert second.startswith(LOST)


def test_a_node_that_may_become_ready_is_named_while_the_rollout_is_awaited() -> None:
    action = Cluster([node("n1"), node("n2", "False")], [on("n1", ready=True), on("n2")], timeout=1)
    with pytest.raises(rollout_action.UnfinishedError) as caught:
        action._wait([DAEMON_SET])
    assert [warning.partition(" (")[0] for warning in action.warnings] == ["the node n2 is NotReady"]
    assert str(caught.value).splitlines()[1] == action.warnings[0]


def test_what_can_become_ready_elsewhere_is_awaited() -> None:
    """A Deployment whose pods start on other nodes does not fail for the DaemonSet's pod on a lost one."""
    spec = {"replicas": 1, "selector": {"matchLabels": {"a": "b"}}, "template": {}}
    deployment = {**DAEMON_SET, "kind": "Deployment", "spec": spec}
    action = Cluster([node("n2", "Unknown")], [], timeout=1)
    action.objects = {"Deployment": [deployment]}
    action.by_label = {"app=web": [on("n2")]}
    with pytest.raises(rollout_action.UnfinishedError) as caught:
        action._wait([DAEMON_SET, deployment])
    assert str(caught.value).splitlines()[0].startswith("the rollout is not complete after")
    assert "no waiting will help" not in str(caught.value).splitlines()[0]
