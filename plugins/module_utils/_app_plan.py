# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which objects of applications are to be applied, and which are ours and wanted no more. Pure."""

from __future__ import annotations

from typing import Any, Mapping, NamedTuple, Sequence

from ansible_collections.homelab.loadbalancer.plugins.module_utils._app_volumes import is_kept
from ansible_collections.homelab.loadbalancer.plugins.module_utils._k8s_objects import (
    MANAGED_BY,
    MANAGER,
    PART_OF,
    by_kind,
    has_labels,
    name_of,
    parse_definitions,
)

CLAIM = "PersistentVolumeClaim"


class Plan(NamedTuple):
    """What is to be done, in this order, and the claims that are declared no more and stay with their data."""

    apply: list[dict[str, Any]]
    remove: list[dict[str, Any]]
    kept: list[str]


def plan(
    wanted: Any,
    looked_up: Sequence[Mapping[str, Any]],
    part_of: str = "",
    present: bool = True,
    *,
    delete_data: bool = False,
    where: str = "definitions",
) -> Plan:
    """Compare the declared objects with those of the cluster.

    wanted -- all that is declared
    looked_up -- the objects that are ours by their labels, and with `part_of` all namespaces
    part_of -- the name of the declaration; with it a Namespace that somebody else made is left alone, which would go
        with all that is in it
    present -- whether the applications are to be there at all
    delete_data -- whether claims go that would be kept
    where -- how messages call the list of what is declared

    Raises InputError for what is no object.
    """
    cluster = by_kind(looked_up)
    spaces = cluster.pop("Namespace", [])
    found = [entry for entries in cluster.values() for entry in entries]
    ours = [entry for entry in spaces if has_labels(entry, {MANAGED_BY: MANAGER, PART_OF: part_of})]
    foreign = {_key(entry) for entry in spaces if entry not in ours}
    declared = [entry for entry in parse_definitions(wanted, where) if _key(entry) not in foreign]
    # Without a namespace it is that of the kubeconfig, which is not known here.
    keys = {_key(entry) for entry in declared} if present else set()
    stale = [entry for entry in found if not {_key(entry), _key(entry, "")} & keys]
    kept = [] if delete_data else [entry for entry in stale if entry["kind"] == CLAIM and is_kept(entry)]
    names = [name_of(entry) for entry in kept]
    if present:
        replicas = {_key(entry): entry["spec"].get("replicas") for entry in found if _owns_replicas(entry)}
        declared = [_with_replicas(entry, replicas.get(_key(entry))) for entry in declared]
        return Plan(declared, [entry for entry in stale if entry not in kept], names)
    # Each once, and in the order of applying: they are removed in the opposite one.
    going = {_key(entry): entry for entry in [*ours, *declared, *found]}
    # A namespace goes with all that is in it.
    staying = {_key(entry) for entry in kept} | {("Namespace", "", entry["metadata"]["namespace"]) for entry in kept}
    return Plan([], [entry for key, entry in going.items() if key not in staying], names)


def _owns_replicas(live: Mapping[str, Any]) -> bool:
    """Whether nobody but us has set a Deployment's replicas."""
    managers = {
        entry.get("manager")
        for entry in live["metadata"].get("managedFields") or []
        if "f:replicas" in (entry.get("fieldsV1") or {}).get("f:spec", {})
    }
    return live["kind"] == "Deployment" and managers == {MANAGER}


def _with_replicas(entry: dict[str, Any], replicas: int | None) -> dict[str, Any]:
    """A Deployment that leaves its replicas to somebody else, with those that we set before, for as long as he has not
    set any: who takes a field out of what he applies, and owns it alone, removes it, and there would be one pod."""
    if replicas is None or "replicas" in entry["spec"]:
        return entry
    return {**entry, "spec": {**entry["spec"], "replicas": replicas}}


def _key(entry: Mapping[str, Any], namespace: str | None = None) -> tuple[str, str, str]:
    metadata = entry["metadata"]
    space = (metadata.get("namespace") or "") if namespace is None else namespace
    return entry["kind"], space, metadata["name"]
