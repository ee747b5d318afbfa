# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Explanations of nodes that block a rollout."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.homelab.loadbalancer.plugins.plugin_utils._k8s_explain.nodes import hindrances


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
def test_nodes_that_block_pods_are_explained(pods: Any, nodes: Any, said: str, remedy: str, lost: bool) -> None:
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
def test_harmless_nodes_are_not_reported(pods: Any) -> None:
    assert hindrances(pods, [node("n1"), node("n2", "Unknown", unschedulable=True)]) == []
