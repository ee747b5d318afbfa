# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What declared network policies change in a cluster, and what enforces them there."""

from __future__ import annotations

from typing import Any, Mapping, Sequence

from ...module_utils._common.printable import printable
from .._common.objects import MANAGED_BY, MANAGER, by_kind, has_labels, reference
from .._k8s.model import Answer, Apply, Plan, Query, Remove
from .input import key_of, objects

# Which DaemonSets enforce network policies, by a part of their names.
ENFORCERS = {
    "calico-node": "Calico",
    "canal": "Canal",
    "cilium": "Cilium",
    "kube-router": "kube-router",
    "antrea-agent": "Antrea",
    "weave-net": "Weave Net",
    "ovnkube-node": "OVN-Kubernetes",
    "kube-network-policies": "kube-network-policies",
}
# What a node's version of k3s ends with, which has kube-router's policy controller in its own program.
K3S = "+k3s"
HIDDEN = ["metadata.managedFields", "spec"]


def queries(options: Mapping[str, Any]) -> list[Query]:
    """All policies, and what shows who enforces them. Raises InputError for what is wrong in the declaration."""
    _wanted(options)
    return [
        {"api_version": "networking.k8s.io/v1", "kind": "NetworkPolicy"},
        {"api_version": "apps/v1", "kind": "DaemonSet", "hidden_fields": HIDDEN},
        {"kind": "Node", "hidden_fields": HIDDEN},
    ]


def plan(options: Mapping[str, Any], found: Sequence[Answer]) -> Plan:
    """Compare a declaration with the cluster."""
    wanted, cluster = _wanted(options), by_kind(found)
    standing = {key_of(entry): entry for entry in cluster.get("NetworkPolicy", ())}
    where = options["prefix"] + "policies"
    refusals = [
        "%s[%d] %s already exists in the namespace %s, and this role did not make it: choose another name, or remove it"
        % (where, index, *reversed(key_of(entry)))
        for index, entry in enumerate(wanted)
        if not has_labels(standing.get(key_of(entry), entry), {MANAGED_BY: MANAGER})
    ]
    names = {key_of(entry) for entry in wanted}
    undeclared = [
        reference("networking.k8s.io/v1", "NetworkPolicy", entry)
        for key, entry in standing.items()
        if has_labels(entry, {MANAGED_BY: MANAGER}) and key not in names
    ]
    enforcement = _enforcement(cluster)
    return Plan(
        refusals=refusals,
        notes=[enforcement] if wanted else [],
        steps=[Apply(wanted), Remove(undeclared)],
        result={"enforcement": enforcement},
    )


def _wanted(options: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [] if options["state"] == "absent" else objects(options["policies"], options["prefix"] + "policies")


def _enforcement(cluster: Mapping[str, Sequence[Mapping[str, Any]]]) -> str:
    found = []
    for entry in cluster.get("DaemonSet", ()):
        namespace, name = key_of(entry)
        # A part of Cilium's, for the proxy only.
        kind = next((kind for part, kind in ENFORCERS.items() if part in name and name != "cilium-envoy"), "")
        if kind:
            status = entry.get("status") or {}
            ready, all_nodes = status.get("numberReady", 0), status.get("desiredNumberScheduled", 0)
            found.append(
                "%s enforces them (DaemonSet %s, ready on %d of %d nodes)"
                % (kind, printable("%s/%s" % (namespace, name)), ready, all_nodes)
            )
    versions = [
        str(((node.get("status") or {}).get("nodeInfo") or {}).get("kubeletVersion"))
        for node in cluster.get("Node", ())
    ]
    if any(K3S in version for version in versions):
        found.append("k3s enforces them, unless it was started with --disable-network-policy")
    return "; ".join(found) or (
        "no known CNI plugin enforces network policies in this cluster, so they have no effect: it has no "
        "DaemonSet of %s, and is not k3s. Install a CNI plugin that enforces them" % ", ".join(ENFORCERS.values())
    )
