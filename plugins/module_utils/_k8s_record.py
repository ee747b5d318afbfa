# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a role keeps on record of the objects that it applied, as text in a ConfigMap.

An upgrade and a removal know them by it, whatever the manifest has become.
"""

from __future__ import annotations

from typing import Any, Mapping, Sequence


def write_record(applied: Sequence[Mapping[str, Any]]) -> str:
    """References to the objects, one a line: version, kind, namespace and name."""
    return "".join("%s %s %s %s\n" % _key(entry) for entry in applied)


def read_record(text: str) -> list[dict[str, Any]]:
    """References to the objects that were applied, in their order, from the data of the record."""
    found = []
    for line in text.splitlines():
        version, kind, namespace, name = line.split(" ")
        metadata = {"name": name} if namespace == "-" else {"name": name, "namespace": namespace}
        found.append({"apiVersion": version, "kind": kind, "metadata": metadata})
    return found


def stale(recorded: Sequence[Mapping[str, Any]], wanted: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """What was applied and is wanted no more."""
    keys = [_key(entry) for entry in wanted]
    return [dict(entry) for entry in recorded if _key(entry) not in keys]


def _key(entry: Mapping[str, Any]) -> tuple[str, str, str, str]:
    metadata = entry["metadata"]
    return entry["apiVersion"], entry["kind"], metadata.get("namespace") or "-", metadata["name"]
