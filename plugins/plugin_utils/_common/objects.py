# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Helpers for objects of a cluster: check them, name them, select them by their labels."""

from __future__ import annotations

from typing import Any, Mapping, Sequence

from ...module_utils._common.errors import InputError
from ...module_utils._common.values import parse_list

# The label that marks the objects that our roles made.
MANAGED_BY = "app.kubernetes.io/managed-by"
# The label that distinguishes several declarations in one cluster.
PART_OF = "app.kubernetes.io/part-of"
MANAGER = "homelab.loadbalancer"
# The label of an EndpointSlice that names its Service.
SERVICE_NAME = "kubernetes.io/service-name"

# Fields that the API server manages. They are not part of a declaration.
BOOKKEEPING = ("creationTimestamp", "generation", "managedFields", "resourceVersion", "selfLink", "uid")


def parse_definitions(raw: Any, where: str) -> list[dict[str, Any]]:
    """Check a list of objects, and replace each `kind: List` by its items.

    where -- the list's name in messages

    Raises InputError, which names the entry.
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
    """An object's name in messages, such as `Deployment default/web`."""
    metadata = obj["metadata"]
    parts = [str(part) for part in (metadata.get("namespace"), metadata["name"]) if part]
    return "%s %s" % (obj["kind"], "/".join(parts))


def by_kind(looked_up: Sequence[Mapping[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """The objects that homelab.loadbalancer.k8s_read found, by kind. Several queries of one kind are merged."""
    cluster: dict[str, list[dict[str, Any]]] = {}
    for answer in looked_up:
        cluster.setdefault(answer["kind"], []).extend(answer["resources"])
    return cluster


def is_ready(thing: Mapping[str, Any]) -> bool:
    """Whether the condition Ready of a node or a pod is true."""
    conditions = (thing.get("status") or {}).get("conditions") or []
    return any(one["type"] == "Ready" and one["status"] == "True" for one in conditions)


def has_labels(obj: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    """Whether an object has all of these labels. A role recognises its own objects by them."""
    found = obj["metadata"].get("labels") or {}
    return all(found.get(key) == value for key, value in labels.items())


def identity(obj: Mapping[str, Any]) -> dict[str, Any]:
    """The fields that identify an object, which is enough to remove it."""
    metadata = {key: obj["metadata"][key] for key in ("name", "namespace") if obj["metadata"].get(key)}
    return {"apiVersion": obj["apiVersion"], "kind": obj["kind"], "metadata": metadata}


def reference(version: str, kind: str, obj: Mapping[str, Any]) -> dict[str, Any]:
    """The identity of an object from a list, whose entries do not contain their version and kind."""
    return identity({**obj, "apiVersion": version, "kind": kind})
