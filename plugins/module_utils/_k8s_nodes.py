# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Nodes that hinder what is to run on them: those that are not ready, and those that take no new pods. Pure."""

from __future__ import annotations

from typing import Any, Mapping

from ansible_collections.homelab.loadbalancer.plugins.module_utils._k8s_objects import is_ready
from ansible_collections.homelab.loadbalancer.plugins.module_utils._printable import printable


def why_not_ready(node: Mapping[str, Any]) -> str:
    """What a node that is not ready says of itself, or Kubernetes of it; empty for one that is ready."""
    if is_ready(node):
        return ""
    said = _condition(node)
    words = ": ".join(filter(None, [str(said.get("reason") or ""), " ".join(str(said.get("message") or "").split())]))
    return printable("the node %s is NotReady (%s)" % (node["metadata"]["name"], words or "it has said nothing yet"))


def is_lost(node: Mapping[str, Any]) -> bool:
    """Whether Kubernetes has not heard of the node for so long that it takes it for down (status Unknown)."""
    return not is_ready(node) and _condition(node).get("status") == "Unknown"


def remedy_of(node: Mapping[str, Any]) -> str:
    """What to do about a node that is not ready."""
    name = node["metadata"]["name"]
    if is_lost(node):
        return printable(
            "start %s, or see there why its kubelet does not reach the API server (systemctl status kubelet); one that "
            "is gone for good leaves the cluster by kubectl delete node %s" % (name, name)
        )
    return printable("see kubectl describe node %s, and there journalctl -u kubelet" % name)


def is_cordoned(node: Mapping[str, Any]) -> bool:
    """Whether it takes no new pods (kubectl cordon)."""
    return bool((node.get("spec") or {}).get("unschedulable"))


def _condition(node: Mapping[str, Any]) -> Mapping[str, Any]:
    conditions = (node.get("status") or {}).get("conditions") or []
    return next((one for one in conditions if one["type"] == "Ready"), {})
