# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The queries and the plan of the module `metallb`. Pure.

`options` contains the module's options and also `wanted`, the objects of the manifest, and `now`, the time in
Kubernetes' format.
"""

from __future__ import annotations

from typing import Any, Mapping, Sequence

from .._common.objects import by_kind, reference
from .._common.record import read_record, stale
from .._k8s.model import Accepted, Answer, Apply, Patch, Plan, Query, Remove, Rollout, Step
from .losses import keeping, losses
from .manifest import RECORD, RECORD_NAME, record
from .proxy import patches

NAMESPACE = "metallb-system"
EXCLUDED = "node.kubernetes.io/exclude-from-external-load-balancers"
# MetalLB's kinds with objects made by users. They are removed in reverse order.
CUSTOMS = (
    ("metallb.io/v1beta1", "L2Advertisement"),
    ("metallb.io/v1beta1", "BGPAdvertisement"),
    ("metallb.io/v1beta2", "BGPPeer"),
    ("metallb.io/v1beta1", "BFDProfile"),
    ("metallb.io/v1beta1", "Community"),
    ("metallb.io/v1beta1", "IPAddressPool"),
)
# Only sent to the webhook as a dry run, never created; the address is for documentation, RFC 5737.
PROBE = {
    "apiVersion": "metallb.io/v1beta1",
    "kind": "IPAddressPool",
    "metadata": {"name": "homelab-loadbalancer-probe", "namespace": NAMESPACE},
    "spec": {"addresses": ["192.0.2.254/32"], "autoAssign": False},
}
_HINT = (
    "The API server reaches the webhook by the Service metallb-webhook-service in %s: see that kube-proxy runs on the "
    "API server's own node, that no firewall stops it on the way to the pod of the Deployment controller, and that "
    "pod's log" % NAMESPACE
)


def queries(options: Mapping[str, Any]) -> list[Query]:
    """Read the record of applied objects, and what else the state needs."""
    own: list[Query] = [{"kind": "ConfigMap", "namespace": NAMESPACE, "name": RECORD}]
    if options["state"] == "present":
        proxy = {"namespace": "kube-system", "name": "kube-proxy"}
        own.append({"kind": "Node", "label_selectors": [EXCLUDED]})
        if options["strict_arp"]:
            own += [{"kind": "ConfigMap", **proxy}, {"api_version": "apps/v1", "kind": "DaemonSet", **proxy}]
        return own
    own += [{"api_version": version, "kind": kind} for version, kind in CUSTOMS]
    own.append({"api_version": "apps/v1", "kind": "Deployment", "namespace": NAMESPACE, "name": "controller"})
    own.append({"kind": "Service"})
    if options["leaving"]:
        own.append({"api_version": "gateway.networking.k8s.io/v1", "kind": "Gateway"})
    return own


def plan(options: Mapping[str, Any], found: Sequence[Answer]) -> Plan:
    """Plan the changes to MetalLB. Raises InputError if the record of applied objects is damaged."""
    cluster = by_kind(found)
    return (_install if options["state"] == "present" else _remove)(options, cluster, _recorded(cluster))


def _install(options: Mapping[str, Any], cluster: Mapping[str, Any], recorded: Sequence[Mapping[str, Any]]) -> Plan:
    wanted = options["wanted"]
    excluded, notes = cluster["Node"], []
    steps: list[Step] = [*_patches(options, cluster)]
    if options["include_excluded_nodes"]:
        label = {"metadata": {"labels": {EXCLUDED: None}}}
        steps += [Patch(_node(node), label) for node in excluded]
    elif excluded:
        notes = [
            "MetalLB announces nothing from %s, which has the label %s. %sinclude_excluded_nodes: true removes it"
            % (", ".join(node["metadata"]["name"] for node in excluded), EXCLUDED, options["prefix"])
        ]
    # The record directly follows the namespace, so that objects are recorded before they are applied.
    first = [wanted[0], record(wanted, recorded), *wanted[1:]]
    steps += [Apply(first, force=options["take_over"]), Rollout(wanted)]
    undeclared = stale(recorded, wanted)
    if undeclared:
        steps += [Remove(undeclared), Apply([record(wanted)], force=options["take_over"])]
    # Ready pods are not enough: the API server must reach the webhook, and trust its new certificate.
    steps.append(Accepted(PROBE, "MetalLB accepted no pool within %s seconds." % options["timeout"], _HINT))
    return Plan(steps=steps, notes=notes, timeout=options["timeout"], result={"losses": []})


def _remove(options: Mapping[str, Any], cluster: Mapping[str, Any], recorded: Sequence[Mapping[str, Any]]) -> Plan:
    """Plan the removal. Without a record MetalLB is not ours, and neither are its objects."""
    lost = losses(cluster["Service"], cluster.get("Gateway", ()), options["leaving"]) if recorded else []
    refusals = []
    if lost and not options["allow_moves"]:
        refusals = [
            "%s would lose their addresses: remove these Services first, or set %sallow_moves: true"
            % (", ".join(lost), options["prefix"] and "metallb_pool_")
        ]
    steps = []
    if recorded:
        customs = [reference(version, kind, one) for version, kind in CUSTOMS for one in cluster.get(kind, ())]
        # Remove these while the controller still serves: it releases the Services' addresses, and converts objects.
        steps = [Remove(customs), Remove(recorded)]
    return Plan(
        steps=steps,
        refusals=refusals,
        notes=_left(cluster, bool(recorded)),
        timeout=options["timeout"],
        result={"losses": lost},
    )


def _left(cluster: Mapping[str, Any], removed: bool) -> list[str]:
    """Notes about everything that stays."""
    notes = [] if removed else ["No MetalLB that this role installed was in the cluster."]
    notes.append("Open firewall ports, strict ARP and the labels of nodes stay as they are.")
    runs = any((one.get("status") or {}).get("availableReplicas") for one in cluster["Deployment"])
    kept = keeping(cluster["Service"], released=removed and runs)
    if kept:
        notes.append("These Services still show an address that nothing may answer: %s" % ", ".join(kept))
    return notes


def _patches(options: Mapping[str, Any], cluster: Mapping[str, Any]) -> list[Patch]:
    if not options["strict_arp"]:
        return []
    config_map, daemon_set = ({**_named(cluster[kind], "kube-proxy")} for kind in ("ConfigMap", "DaemonSet"))
    return patches(config_map, daemon_set, options["now"])


def _recorded(cluster: Mapping[str, Any]) -> list[dict[str, Any]]:
    """References to the objects applied before; empty without a record."""
    found = _named(cluster["ConfigMap"], RECORD)
    if not found:
        return []
    # A record without its text is damaged.
    return read_record(str((found.get("data") or {}).get("objects") or ""), RECORD_NAME)


def _named(objects: Sequence[Mapping[str, Any]], name: str) -> Mapping[str, Any]:
    return next((one for one in objects if one["metadata"]["name"] == name), {})


def _node(node: Mapping[str, Any]) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "Node", "metadata": {"name": node["metadata"]["name"]}}
