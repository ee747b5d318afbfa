# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a server-side apply would change an object, according to the API server's record of field owners.

`metadata.managedFields` has for each manager the fields that it applied (structured-merge-diff, FieldsV1). An apply
changes nothing if these fields are exactly the declared ones and each has its declared value.

`is_applied` proves this from the object alone and has no false positives. If it cannot tell, for instance because a
quantity is spelled differently, a dry run decides; `entry_of` then returns the API server's record for a comparison.
"""

from __future__ import annotations

import json
from typing import Any, Mapping

# Fields that every object has and no manager owns.
_IDENTITY = ("apiVersion", "kind")
_NAMES = ("name", "namespace")
# Default values that the API server adds to the keys of entries: for ports of Services and of containers.
_KEY_DEFAULTS = {"protocol": "TCP"}


def entry_of(thing: Mapping[str, Any], manager: str) -> Mapping[str, Any] | None:
    """The API server's record of the manager's own apply of an object."""
    for entry in (thing.get("metadata") or {}).get("managedFields") or []:
        if (entry.get("manager"), entry.get("operation"), entry.get("subresource")) == (manager, "Apply", None):
            return dict(entry)
    return None


def is_applied(live: Mapping[str, Any], declared: Mapping[str, Any], manager: str) -> bool:
    """Whether an apply of the declared object is certain to change nothing."""
    entry = entry_of(live, manager)
    if not entry or entry.get("apiVersion") != declared["apiVersion"] or live["apiVersion"] != declared["apiVersion"]:
        return False
    wanted = {key: value for key, value in declared.items() if key not in _IDENTITY}
    metadata = {key: value for key, value in declared["metadata"].items() if key not in _NAMES}
    if metadata:
        wanted["metadata"] = metadata
    else:
        del wanted["metadata"]
    return _holds(entry.get("fieldsV1") or {}, live, wanted)


def _holds(fields: Mapping[str, Any], live: Any, declared: Any) -> bool:
    """Whether the owned fields are exactly the declared ones, with the declared values."""
    fields = {key: value for key, value in fields.items() if key != "."}
    if not fields:
        return _same(live, declared)
    if isinstance(declared, Mapping):
        return _holds_mapping(fields, live, declared)
    if isinstance(declared, list) and isinstance(live, list) and len(fields) == len(declared):
        return _holds_list(fields, live, declared)
    return False


def _holds_mapping(fields: Mapping[str, Any], live: Any, declared: Mapping[str, Any]) -> bool:
    if not isinstance(live, Mapping) or set(fields) != {"f:%s" % key for key in declared}:
        return False
    return all(key in live and _holds(fields["f:%s" % key], live[key], value) for key, value in declared.items())


def _holds_list(fields: Mapping[str, Any], live: list[Any], declared: list[Any]) -> bool:
    """Lists that are merged: each entry has its own owner, and is identified by its keys (k:) or its value (v:)."""
    places = []
    for name, below in fields.items():
        mine, theirs = _position(name, declared), _position(name, live)
        if mine is None or theirs is None or not _holds(below, live[theirs], declared[mine]):
            return False
        places.append((mine, theirs))
    # An apply may sort the entries into the declared order.
    places.sort()
    return [theirs for dummy, theirs in places] == sorted(theirs for dummy, theirs in places)


def _position(name: str, entries: list[Any]) -> int | None:
    """The index of the list entry that a field's name identifies; None unless there is exactly one."""
    prefix, dummy, text = name.partition(":")
    try:
        wanted = json.loads(text)
    except ValueError:
        return None
    if prefix == "v":
        found = [index for index, entry in enumerate(entries) if _same(entry, wanted)]
    elif prefix == "k":
        found = [
            index
            for index, entry in enumerate(entries)
            if isinstance(entry, Mapping)
            and all(_same(entry.get(key, _KEY_DEFAULTS.get(key)), value) for key, value in wanted.items())
        ]
    else:
        return None
    return found[0] if len(found) == 1 else None


def _same(one: Any, other: Any) -> bool:
    """Equality of JSON values: true is not 1, and 1.0 is not 1."""
    return one == other and json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)
