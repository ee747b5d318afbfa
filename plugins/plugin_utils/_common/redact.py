# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Removes the values of Secrets from objects and messages.

A Secret is recognised by the object itself and not by the query, because it may be inside a list, inside the annotation
in which `kubectl apply` stores the whole object, or inside another object.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import json
from typing import Any, Iterable, Iterator, Mapping

HIDDEN = "(not shown)"
CHANGED = "(not shown, changed)"
LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
# Shorter values are too likely to occur in a message by chance.
_SHORTEST = 4
_FIELDS = ("data", "stringData")


def redact(thing: Any, kind: str = "") -> Any:
    """The same without the values of Secrets, and without managedFields, which name the fields of Secrets.

    kind -- the kind of an object that does not contain its kind, such as an entry of a SecretList
    """
    if isinstance(thing, (list, tuple)):
        return [redact(entry, kind) for entry in thing]
    if not isinstance(thing, Mapping):
        return thing
    own = str(thing.get("kind") or kind)
    result = {}
    for key, value in thing.items():
        if own == "Secret" and key in _FIELDS:
            result[key] = dict.fromkeys(value, HIDDEN) if isinstance(value, Mapping) else HIDDEN
        elif key == "items" and own.endswith("List"):
            result[key] = redact(value, own[: -len("List")])
        elif key == "metadata" and isinstance(value, Mapping):
            result[key] = _metadata(value, own, list(secret_values(thing, own)))
        else:
            result[key] = redact(value)
    return result


def redacted_pair(before: Any, after: Any, kind: str) -> tuple[Any, Any]:
    """Both states of one object, for a diff. It shows that a secret value changes, but not the value."""
    shown = redact(before, kind), redact(after, kind)
    if kind == "Secret":
        for field in _FIELDS:
            old, new = (before or {}).get(field), (after or {}).get(field)
            if isinstance(old, Mapping) and isinstance(new, Mapping):
                shown[1][field].update({key: CHANGED for key in new if key in old and old[key] != new[key]})
    return shown


def without_managed_fields(thing: Mapping[str, Any]) -> dict[str, Any]:
    """An object without metadata.managedFields."""
    metadata = {key: value for key, value in (thing.get("metadata") or {}).items() if key != "managedFields"}
    return {**thing, "metadata": metadata} if thing else {}


def secret_values(thing: Any, kind: str = "") -> Iterator[str]:
    """The values of the Secrets in it, as written, base64-encoded and base64-decoded."""
    if isinstance(thing, (list, tuple)):
        for entry in thing:
            yield from secret_values(entry, kind)
    if not isinstance(thing, Mapping):
        return
    own = str(thing.get("kind") or kind)
    for key, value in thing.items():
        if own == "Secret" and key in _FIELDS:
            yield from _spellings(value)
        elif key == "items" and own.endswith("List"):
            yield from secret_values(value, own[: -len("List")])
        else:
            yield from secret_values(value)


def leaves(thing: Any) -> Iterator[str]:
    """All texts in a value, as written, base64-encoded and base64-decoded. In a patch, any of them may be secret."""
    yield from _spellings(thing)


def scrub(text: str, values: Iterable[str]) -> str:
    """The text, such as an error message of the API server, without these values."""
    for value in sorted(set(values), key=len, reverse=True):
        if len(value) >= _SHORTEST:
            for spelling in (value, json.dumps(value)[1:-1], repr(value)[1:-1]):
                text = text.replace(spelling, HIDDEN)
    return text


def _spellings(value: Any) -> Iterator[str]:
    if isinstance(value, Mapping):
        for entry in value.values():
            yield from _spellings(entry)
    elif isinstance(value, (list, tuple)):
        for entry in value:
            yield from _spellings(entry)
    elif value is not None and not isinstance(value, bool):
        text = str(value)
        yield text
        yield base64.b64encode(text.encode("utf-8", "surrogatepass")).decode()
        # Messages may quote single lines of a longer text.
        yield from text.splitlines()
        with contextlib.suppress(binascii.Error, ValueError):
            yield base64.b64decode(text, validate=True).decode()


def _metadata(metadata: Mapping[str, Any], kind: str, values: list[str]) -> dict[str, Any]:
    result = {key: value for key, value in metadata.items() if key != "managedFields"}
    annotations = result.get("annotations")
    if isinstance(annotations, Mapping):
        result["annotations"] = {
            key: _last_applied(str(value), kind) if key == LAST_APPLIED else _scrubbed(value, values)
            for key, value in annotations.items()
        }
    return result


def _scrubbed(value: Any, values: list[str]) -> Any:
    return scrub(value, values) if isinstance(value, str) else value


def _last_applied(text: str, kind: str) -> str:
    try:
        applied = json.loads(text)
    except ValueError:
        return HIDDEN
    shown = redact(applied, kind)
    return text if shown == applied else json.dumps(shown)
