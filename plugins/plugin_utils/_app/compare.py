# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Compares an application's declared objects with the cluster, and says which to apply, remove and keep. Pure."""

from __future__ import annotations

from typing import Any, Collection, Mapping, NamedTuple, Sequence

from .._common.objects import MANAGED_BY, MANAGER, PART_OF, by_kind, has_labels, name_of
from .volumes import is_kept

CLAIM = "PersistentVolumeClaim"


# Objects that Kubernetes itself makes, for other objects or in each namespace.
_INCIDENTAL = ("Endpoints", "EndpointSlice")
_DEFAULTS = (("ServiceAccount", "default"), ("ConfigMap", "kube-root-ca.crt"))
_OF_ACCOUNT = "kubernetes.io/service-account.name"
MAX_NAMES = 5  # in a message


class Difference(NamedTuple):
    """What to do, in the order of the fields, and what stays.

    remove_first -- undeclared Deployments that use the same data as a declared one
    kept -- the undeclared claims that stay with their data
    shared -- sentences about namespaces that stay because they hold objects of others
    look -- the queries for the contents of namespaces, needed before these may be removed
    """

    remove_first: list[dict[str, Any]]
    apply: list[dict[str, Any]]
    remove: list[dict[str, Any]]
    kept: list[str]
    shared: list[str]
    look: list[dict[str, str]]


class Cluster(NamedTuple):
    """The answers of the cluster, sorted."""

    ours: list[dict[str, Any]]  # the namespaces with the label of this declaration
    foreign: set[tuple[str, str, str]]  # the keys of all other namespaces
    found: list[dict[str, Any]]  # the other objects with our labels
    contents: list[dict[str, Any]] | None  # of the namespaces to remove; None if not read yet


def compare(
    declared: Sequence[dict[str, Any]],
    looked_up: Sequence[Mapping[str, Any]],
    part_of: str = "",
    present: bool = True,
    *,
    delete_data: bool = False,
) -> Difference:
    """Compare the declared objects with those of the cluster.

    looked_up -- the objects with our labels; with `part_of` also all namespaces; after the queries in `look`, also the
        contents of the namespaces to remove
    part_of -- the name of the declaration; if set, a Namespace that others made is left alone, because removing it
        would remove everything in it
    present -- whether the applications should exist at all
    delete_data -- whether to remove also claims that would otherwise be kept
    """
    cluster = _cluster(looked_up, part_of)
    wanted = [entry for entry in declared if _key(entry) not in cluster.foreign]
    # An object without a namespace goes into the kubeconfig's one, which is not known here.
    keys = {_key(entry) for entry in wanted} if present else set()
    stale = [entry for entry in cluster.found if not {_key(entry), _key(entry, "")} & keys]
    kept = [] if delete_data else [entry for entry in stale if entry["kind"] == CLAIM and is_kept(entry)]
    if present:
        return _present(wanted, cluster.found, stale, kept)
    return _absent(wanted, cluster, kept, part_of)


def _cluster(looked_up: Sequence[Mapping[str, Any]], part_of: str) -> Cluster:
    answers = by_kind(looked_up)
    spaces, contents = answers.pop("Namespace", []), answers.pop("*", None)
    ours = [entry for entry in spaces if has_labels(entry, {MANAGED_BY: MANAGER, PART_OF: part_of})]
    foreign = {_key(entry) for entry in spaces if entry not in ours}
    return Cluster(ours, foreign, [entry for entries in answers.values() for entry in entries], contents)


def _present(
    wanted: Sequence[dict[str, Any]],
    found: Sequence[dict[str, Any]],
    stale: Sequence[dict[str, Any]],
    kept: Sequence[dict[str, Any]],
) -> Difference:
    replicas = {_key(entry): entry["spec"].get("replicas") for entry in found if _owns_replicas(entry)}
    applied = [_with_replicas(entry, replicas.get(_key(entry))) for entry in wanted]
    claimed = {claim for entry in applied for claim in _data(entry)}
    first = [entry for entry in stale if claimed.intersection(_data(entry))]
    later = [entry for entry in stale if entry not in kept and entry not in first]
    return Difference(first, applied, later, [name_of(entry) for entry in kept], [], [])


def _absent(
    wanted: Sequence[dict[str, Any]], cluster: Cluster, kept: Sequence[dict[str, Any]], part_of: str
) -> Difference:
    # Each object once, in the order of applying. They are removed in reverse order.
    going = {_key(entry): entry for entry in [*cluster.ours, *wanted, *cluster.found]}
    for entry in kept:
        # Removing the namespace would remove the claim.
        for key in (_key(entry), ("Namespace", "", entry["metadata"]["namespace"])):
            going.pop(key, None)
    spaces = [name for kind, dummy, name in going if kind == "Namespace"]
    look = [{"kind": "*", "namespace": name} for name in spaces] if cluster.contents is None else []
    others = _others(cluster.contents or [], going, part_of)
    for space in others:
        going.pop(("Namespace", "", space), None)
    shared = [_shared(*each) for each in others.items()]
    return Difference([], [], [*going.values()], [name_of(entry) for entry in kept], shared, look)


def _data(entry: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The claims and node folders of a Deployment with the strategy Recreate, which must not run twice at once."""
    spec = entry.get("spec") or {}
    if entry["kind"] != "Deployment" or (spec.get("strategy") or {}).get("type") != "Recreate":
        return []
    found = []
    for volume in spec["template"]["spec"].get("volumes") or []:
        if volume.get("persistentVolumeClaim"):
            found.append((entry["metadata"].get("namespace") or "", volume["persistentVolumeClaim"]["claimName"]))
        elif volume.get("hostPath"):
            found.append(("", volume["hostPath"]["path"]))
    return found


def _others(
    contents: Sequence[Mapping[str, Any]], going: Collection[tuple[str, str, str]], part_of: str
) -> dict[str, list[str]]:
    """For each namespace the objects in it that others made, or that hold data and stay."""
    found: dict[str, list[str]] = {}
    for entry in contents:
        metadata = entry["metadata"]
        ours = part_of and entry["kind"] != CLAIM and has_labels(entry, {MANAGED_BY: MANAGER, PART_OF: part_of})
        made = metadata.get("ownerReferences") or metadata.get("deletionTimestamp") or entry["kind"] in _INCIDENTAL
        default = (entry["kind"], metadata["name"]) in _DEFAULTS
        token = (metadata.get("annotations") or {}).get(_OF_ACCOUNT) == "default"
        if not (ours or made or default or token or _key(entry) in going):
            found.setdefault(metadata["namespace"], []).append("%s %s" % (entry["kind"], metadata["name"]))
    return found


def _shared(space: str, names: Sequence[str]) -> str:
    more = len(names) - MAX_NAMES
    return "Namespace %s stays, with what is in it and not of this declaration: %s%s" % (
        space,
        ", ".join(sorted(names)[:MAX_NAMES]),
        " and %d more" % more if more > 0 else "",
    )


def _owns_replicas(live: Mapping[str, Any]) -> bool:
    """Whether we are the only manager of a Deployment's replicas."""
    managers = {
        entry.get("manager")
        for entry in live["metadata"].get("managedFields") or []
        if "f:replicas" in (entry.get("fieldsV1") or {}).get("f:spec", {})
    }
    return live["kind"] == "Deployment" and managers == {MANAGER}


def _with_replicas(entry: dict[str, Any], replicas: int | None) -> dict[str, Any]:
    """A Deployment without declared replicas, completed with the number that we set before and still own alone.

    A sole owner that stops applying a field removes it, and the Deployment would shrink to one pod. So we keep applying
    the field until another controller sets it.
    """
    if replicas is None or "replicas" in entry["spec"]:
        return entry
    return {**entry, "spec": {**entry["spec"], "replicas": replicas}}


def _key(entry: Mapping[str, Any], namespace: str | None = None) -> tuple[str, str, str]:
    metadata = entry["metadata"]
    space = (metadata.get("namespace") or "") if namespace is None else namespace
    return entry["kind"], space, metadata["name"]
