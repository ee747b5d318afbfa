# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The record of the objects that a role applied, as text in a ConfigMap.

An upgrade and a removal find these objects by the record, even if the manifest has changed since.
"""

from __future__ import annotations

import re
from typing import Any, Mapping, Sequence

from ...module_utils._common.errors import InputError

_LINE = re.compile(r"(?:\S+/)?v[0-9]\w* [A-Z]\w* \S+ \S+\Z")


def write_record(applied: Sequence[Mapping[str, Any]]) -> str:
    """References to the objects, one per line: version, kind, namespace and name."""
    return "".join("%s %s %s %s\n" % _key(entry) for entry in applied)


def read_record(text: str, where: str) -> list[dict[str, Any]]:
    """References to the applied objects, in the order of applying, from the text of the record.

    where -- the object that holds the record, such as `ConfigMap metallb-system/homelab-loadbalancer-metallb`

    Raises InputError if the record is damaged, because objects that it does not name would be left behind.
    """
    found = []
    if not text.strip():
        raise _damaged(where, "it is empty")
    for number, line in enumerate(text.splitlines(), 1):
        if not _LINE.match(line):
            raise _damaged(where, "line %d of its `objects` is %r, and not version, kind, namespace and name" %
                           (number, line[:80]))  # fmt: skip
        version, kind, namespace, name = line.split(" ")
        metadata = {"name": name} if namespace == "-" else {"name": name, "namespace": namespace}
        found.append({"apiVersion": version, "kind": kind, "metadata": metadata})
    return found


def _damaged(where: str, what: str) -> InputError:
    namespace, dummy, name = where.partition(" ")[2].partition("/")
    return InputError(
        "%s, the record of the applied objects, is damaged: %s. Nothing was changed. Mend it by `kubectl -n %s edit "
        "configmap %s` or from a backup. Or remove it: then the role takes what is declared for its own when it "
        "applies it again, and leaves what earlier runs applied besides" % (where, what, namespace, name)
    )


def stale(recorded: Sequence[Mapping[str, Any]], wanted: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The recorded objects that are not wanted any more."""
    keys = [_key(entry) for entry in wanted]
    return [dict(entry) for entry in recorded if _key(entry) not in keys]


def _key(entry: Mapping[str, Any]) -> tuple[str, str, str, str]:
    metadata = entry["metadata"]
    return entry["apiVersion"], entry["kind"], metadata.get("namespace") or "-", metadata["name"]
