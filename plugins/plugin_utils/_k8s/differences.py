# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The content of a diff: the parts of an object that differ, without bookkeeping, status and the values of Secrets."""

from __future__ import annotations

from typing import Any, Mapping

from .._common.objects import BOOKKEEPING
from .._common.redact import redact, redacted_pair

# Fields that identify the entries of a list, if all entries have them.
_NAMES = ("name", "containerPort", "port", "key", "type", "ip")


def shown(thing: Mapping[str, Any]) -> dict[str, Any]:
    """An object as a diff may show it."""
    hidden: dict[str, Any] = redact(_plain(thing))
    return hidden


def shown_pair(before: Mapping[str, Any], after: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The parts of an object that differ before and after."""
    kind = str(after.get("kind") or before.get("kind"))
    old, new = redacted_pair(_plain(before), _plain(after), kind)
    left, right = _parts(old, new)
    return left or {}, right or {}


def _plain(thing: Mapping[str, Any]) -> dict[str, Any]:
    result = {key: value for key, value in thing.items() if key not in ("status", "metadata")}
    metadata = {key: value for key, value in (thing.get("metadata") or {}).items() if key not in BOOKKEEPING}
    return {**result, "metadata": metadata} if metadata else result


def _parts(before: Any, after: Any) -> tuple[Any, Any]:
    """The parts that differ between two values. None on both sides if they are equal."""
    if isinstance(before, Mapping) and isinstance(after, Mapping):
        return _parts_of_mappings(before, after)
    name = _name_of_entries(before, after)
    if name:
        old = {str(entry[name]): entry for entry in before}
        new = {str(entry[name]): entry for entry in after}
        left, right = _parts_of_mappings(old, new)
        return _listed(left, name, old), _listed(right, name, new)
    return (None, None) if before == after else (before, after)


def _parts_of_mappings(before: Mapping[str, Any], after: Mapping[str, Any]) -> tuple[Any, Any]:
    left, right = {}, {}
    for key in [*before, *(key for key in after if key not in before)]:
        if key not in after:
            left[key] = before[key]
        elif key not in before:
            right[key] = after[key]
        elif before[key] != after[key]:
            left[key], right[key] = _parts(before[key], after[key])
            if left[key] is None and right[key] is None:
                left[key], right[key] = before[key], after[key]  # only the order of a list differs
    return left, right


def _name_of_entries(before: Any, after: Any) -> str:
    """The field that identifies the entries of both lists; empty if there is none."""
    if not isinstance(before, list) or not isinstance(after, list) or not before or not after:
        return ""
    for name in _NAMES:
        if all(_are_named(entries, name) for entries in (before, after)):
            return name
    return ""


def _are_named(entries: list[Any], name: str) -> bool:
    if not all(isinstance(entry, Mapping) and name in entry for entry in entries):
        return False
    return len({str(entry[name]) for entry in entries}) == len(entries)


def _listed(parts: Any, name: str, entries: Mapping[str, Any]) -> Any:
    if not parts:
        return None
    return [{name: entries[key][name], **part} if isinstance(part, Mapping) else part for key, part in parts.items()]
