# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Lists of objects in the columns of `kubectl get`, which the API server itself makes.

See https://kubernetes.io/docs/reference/using-api/api-concepts/#receiving-resources-as-tables
"""

from __future__ import annotations

from typing import Any, Mapping, Sequence

from ...module_utils._common.errors import InputError
from ...module_utils._k8s.transport import Request
from .._common.redact import redact, without_managed_fields
from .._k8s.server import Server, check
from .kinds import TEXTS, find_kind, refuse_missing_namespace

ARGUMENTS: dict[str, dict[str, Any]] = {
    "kinds": {"type": "list", "elements": "str", "required": True},
    "api_version": {"type": "str", "default": ""},
    "namespace": {"type": "str", "default": ""},
    "label_selectors": TEXTS,
    "field_selectors": TEXTS,
    "wide": {"type": "bool", "default": False},
    "show_secrets": {"type": "bool", "default": False},
}

# An aggregated API server may not support tables.
ACCEPT = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"


def list_objects(server: Server, options: Mapping[str, Any]) -> dict[str, Any]:
    """The objects found of each kind. All kinds are resolved before the first request."""
    named = [kind for kind in options["kinds"] if kind]
    if not named:
        raise InputError("no kind is given: name the kinds to list, such as pods")
    kinds = [find_kind(server, kind, options["api_version"], "list") for kind in named]
    query = query_of(options["label_selectors"], options["field_selectors"])
    namespace = options["namespace"]
    if namespace and any(kind.namespaced for kind in kinds):
        refuse_missing_namespace(server, namespace, options["prefix"] + "namespace")
    answers = server.exchange([Request("GET", kind.path(namespace), query, accept=ACCEPT) for kind in kinds])
    found = [
        listing(check(answer), kind.kind, kind.api_version, kind.namespaced and not namespace, options["wide"])
        for kind, answer in zip(kinds, answers)
    ]
    return {"changed": False, "found": found if options["show_secrets"] else [hide(one) for one in found]}


def query_of(label_selectors: Sequence[str], field_selectors: Sequence[str]) -> list[tuple[str, str]]:
    """The parameters of a request for a list."""
    query = [("includeObject", "Object")]
    for name, selectors in (("labelSelector", label_selectors), ("fieldSelector", field_selectors)):
        if any(selectors):
            query.append((name, ",".join(filter(None, selectors))))
    return query


def listing(answer: Mapping[str, Any], kind: str, api_version: str, with_namespace: bool, wide: bool) -> dict[str, Any]:
    """The headings, rows and objects of an answer. Secrets are not hidden yet.

    with_namespace -- each row begins with the namespace
    wide -- include the columns that `kubectl get -o wide` adds
    """
    if answer.get("kind") == "Table":
        wanted = [
            (number, str(column["name"]))
            for number, column in enumerate(answer.get("columnDefinitions") or [])
            if wide or not column.get("priority")
        ]
        entries = answer.get("rows") or []
        objects = [entry.get("object") or {} for entry in entries]
        columns = [name for dummy, name in wanted]
        rows = [[_cell(entry["cells"][number]) for number, dummy in wanted] for entry in entries]
    else:
        objects = answer.get("items") or []
        columns = ["Name", "Created At"]
        rows = [[_of(one, "name"), _of(one, "creationTimestamp")] for one in objects]
    if with_namespace:
        columns = ["Namespace", *columns]
        rows = [[_of(one, "namespace"), *row] for one, row in zip(objects, rows)]
    objects = [without_managed_fields({"apiVersion": api_version, "kind": kind, **one}) for one in objects]
    return {"kind": kind, "api_version": api_version, "columns": columns, "rows": rows, "objects": objects}


def hide(found: Mapping[str, Any]) -> dict[str, Any]:
    """The same lists without the values of Secrets."""
    return {**found, "objects": redact(found["objects"], found["kind"])}


def _cell(value: Any) -> str:
    return "" if value is None else str(value)


def _of(one: Mapping[str, Any], key: str) -> str:
    return str((one.get("metadata") or {}).get(key) or "")
