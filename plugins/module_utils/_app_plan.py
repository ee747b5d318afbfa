# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which objects of applications are to be applied, and which are ours and wanted no more. Pure."""

from __future__ import annotations

from typing import Any, Mapping, NamedTuple, Sequence

from ansible_collections.homelab.loadbalancer.plugins.module_utils._k8s_objects import (
    MANAGED_BY,
    MANAGER,
    PART_OF,
    by_kind,
    has_labels,
    parse_definitions,
)


class Plan(NamedTuple):
    """What is to be done, in this order."""

    apply: list[dict[str, Any]]
    remove: list[dict[str, Any]]


def plan(wanted: Any, looked_up: Sequence[Mapping[str, Any]], part_of: str = "", present: bool = True) -> Plan:
    """Compare the declared objects with those of the cluster.

    wanted -- all that is declared
    looked_up -- the objects that are ours by their labels, and with `part_of` all namespaces
    part_of -- the name of the declaration; with it a Namespace that somebody else made is left alone, which would go
        with all that is in it
    present -- whether the applications are to be there at all

    Raises InputError for what is no object.
    """
    cluster = by_kind(looked_up)
    spaces = cluster.pop("Namespace", [])
    found = [entry for entries in cluster.values() for entry in entries]
    ours = [entry for entry in spaces if has_labels(entry, {MANAGED_BY: MANAGER, PART_OF: part_of})]
    foreign = {_key(entry) for entry in spaces if entry not in ours}
    declared = [entry for entry in parse_definitions(wanted, "definitions") if _key(entry) not in foreign]
    if present:
        # Without a namespace it is that of the kubeconfig, which is not known here.
        keys = {_key(entry) for entry in declared}
        stale = [entry for entry in found if not {_key(entry), _key(entry, "")} & keys]
        return Plan(declared, stale)
    # Each once, and in the order of applying: they are removed in the opposite one.
    return Plan([], list({_key(entry): entry for entry in [*ours, *declared, *found]}.values()))


def _key(entry: Mapping[str, Any], namespace: str | None = None) -> tuple[str, str, str]:
    metadata = entry["metadata"]
    space = (metadata.get("namespace") or "") if namespace is None else namespace
    return entry["kind"], space, metadata["name"]
