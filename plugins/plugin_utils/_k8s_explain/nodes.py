# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Nodes that hinder their pods: nodes that are not ready, and nodes that accept no new pods. Pure."""

from __future__ import annotations

from typing import Any, Mapping, NamedTuple, Sequence

from ...module_utils._common.printable import printable
from .._common.objects import is_ready


def why_not_ready(node: Mapping[str, Any]) -> str:
    """Why a node is not ready, according to the node or to Kubernetes; empty for a ready node."""
    if is_ready(node):
        return ""
    said = _condition(node)
    words = ": ".join(filter(None, [str(said.get("reason") or ""), " ".join(str(said.get("message") or "").split())]))
    return printable("the node %s is NotReady (%s)" % (node["metadata"]["name"], words or "it has said nothing yet"))


def is_lost(node: Mapping[str, Any]) -> bool:
    """Whether Kubernetes has not heard from the node for so long that it considers it down (status Unknown)."""
    return not is_ready(node) and _condition(node).get("status") == "Unknown"


def remedy_of(node: Mapping[str, Any]) -> str:
    """The remedy for a node that is not ready."""
    name = node["metadata"]["name"]
    if is_lost(node):
        return printable(
            "start %s, or see there why its kubelet does not reach the API server (systemctl status kubelet); one that "
            "is gone for good leaves the cluster by kubectl delete node %s" % (name, name)
        )
    return printable("see kubectl describe node %s, and there journalctl -u kubelet" % name)


def is_cordoned(node: Mapping[str, Any]) -> bool:
    """Whether the node accepts no new pods (kubectl cordon)."""
    return bool((node.get("spec") or {}).get("unschedulable"))


def _condition(node: Mapping[str, Any]) -> Mapping[str, Any]:
    conditions = (node.get("status") or {}).get("conditions") or []
    return next((one for one in conditions if one["type"] == "Ready"), {})


class Hindrance(NamedTuple):
    """A node that keeps pods from becoming ready."""

    said: str  # the node, and its fault
    remedy: str
    lost: bool  # whether waiting is useless: Kubernetes considers the node down, and pods are bound to it


def hindrances(pods: Sequence[Mapping[str, Any]], nodes: Sequence[Mapping[str, Any]]) -> list[Hindrance]:
    """The nodes that hinder unready pods: those that run them and, for an unscheduled pod, all that accept no pods."""
    waiting = [pod for pod in pods if not is_ready(pod) and not pod["metadata"].get("deletionTimestamp")]
    placed = {str((pod.get("spec") or {}).get("nodeName") or "") for pod in waiting}
    return [
        hindrance
        for node in nodes
        for hindrance in [_hindrance(node, node["metadata"]["name"] in placed, any(map(_unplaced, waiting)))]
        if hindrance
    ]


def _hindrance(node: Mapping[str, Any], has_pods: bool, pods_unplaced: bool) -> Hindrance | None:
    trouble, name = why_not_ready(node), node["metadata"]["name"]
    if trouble and has_pods:
        return Hindrance(trouble + ", and pods on it do not become ready", remedy_of(node), is_lost(node))
    if trouble and pods_unplaced:
        return Hindrance(trouble + ", and takes no pods", remedy_of(node), False)
    if is_cordoned(node) and pods_unplaced:
        said = "the node %s is cordoned, and takes no new pods" % name
        return Hindrance(printable(said), printable("kubectl uncordon %s, if it is to" % name), False)
    return None


def _unplaced(pod: Mapping[str, Any]) -> bool:
    """Whether the scheduler found no node for the pod."""
    conditions = (pod.get("status") or {}).get("conditions") or []
    return any(one["type"] == "PodScheduled" and one.get("reason") == "Unschedulable" for one in conditions)
