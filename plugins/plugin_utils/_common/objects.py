# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Objects of a cluster as planners handle them: checked, named, chosen by their labels."""

from __future__ import annotations

from typing import Any, Mapping, Sequence

from ...module_utils._common.errors import InputError
from ...module_utils._common.values import parse_list

# The label by which the roles know the objects that they made.
MANAGED_BY = "app.kubernetes.io/managed-by"
# The label by which one declaration is told from another in the same cluster.
PART_OF = "app.kubernetes.io/part-of"
MANAGER = "homelab.loadbalancer"
# The label by which an EndpointSlice names its Service.
SERVICE_NAME = "kubernetes.io/service-name"

# What the API server keeps for itself: no part of a declaration.
BOOKKEEPING = ("creationTimestamp", "generation", "managedFields", "resourceVersion", "selfLink", "uid")


def parse_definitions(raw: Any, where: str) -> list[dict[str, Any]]:
    """Check that it is a list of objects, and take lists of objects (`kind: List`) apart.

    Raises InputError, which names the entry: `where` is what the user calls the list.
    """
    objects = []
    for index, entry in enumerate(parse_list(raw, where)):
        place = "%s[%d]" % (where, index)
        if not isinstance(entry, dict):
            raise InputError("%s must be a mapping, not %s" % (place, type(entry).__name__))
        if str(entry.get("kind", "")).endswith("List") and "items" in entry:
            objects += parse_definitions(entry["items"], place + ".items")
            continue
        for key in ("apiVersion", "kind"):
            if not isinstance(entry.get(key), str) or not entry[key]:
                raise InputError("%s.%s is missing" % (place, key))
        metadata = entry.get("metadata")
        if not isinstance(metadata, dict) or not metadata.get("name"):
            raise InputError("%s.metadata.name is missing" % place)
        objects.append(entry)
    return objects


def name_of(obj: Mapping[str, Any]) -> str:
    """How messages call an object: `Deployment default/web`."""
    metadata = obj["metadata"]
    parts = [str(part) for part in (metadata.get("namespace"), metadata["name"]) if part]
    return "%s %s" % (obj["kind"], "/".join(parts))


def by_kind(looked_up: Sequence[Mapping[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """What homelab.loadbalancer.k8s_read found, several queries of one kind together."""
    cluster: dict[str, list[dict[str, Any]]] = {}
    for answer in looked_up:
        cluster.setdefault(answer["kind"], []).extend(answer["resources"])
    return cluster


def is_ready(thing: Mapping[str, Any]) -> bool:
    """Whether a node or a pod says that it is."""
    conditions = (thing.get("status") or {}).get("conditions") or []
    return any(one["type"] == "Ready" and one["status"] == "True" for one in conditions)


def has_labels(obj: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    """Whether an object has all of these labels, by which a role knows its own."""
    found = obj["metadata"].get("labels") or {}
    return all(found.get(key) == value for key, value in labels.items())


def identity(obj: Mapping[str, Any]) -> dict[str, Any]:
    """What tells an object from others, and no more of it: enough to remove it."""
    metadata = {key: obj["metadata"][key] for key in ("name", "namespace") if obj["metadata"].get(key)}
    return {"apiVersion": obj["apiVersion"], "kind": obj["kind"], "metadata": metadata}


def reference(version: str, kind: str, obj: Mapping[str, Any]) -> dict[str, Any]:
    """The identity of an object out of a list, which does not say of which kind it is."""
    return identity({**obj, "apiVersion": version, "kind": kind})
