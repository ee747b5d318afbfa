# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An apply is known to change nothing by the owners of an object's fields, and a diff shows the parts that differ."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.homelab.loadbalancer.plugins.plugin_utils._k8s.differences import shown, shown_pair
from ansible_collections.homelab.loadbalancer.plugins.plugin_utils._k8s.ownership import entry_of, is_applied

OURS = "homelab.loadbalancer"
PORT = 'k:{"port":80,"protocol":"TCP"}'
PORT_81 = 'k:{"port":81,"protocol":"TCP"}'
HTTP: dict[str, Any] = {"name": "http", "port": 80, "protocol": "TCP"}
OTHER: dict[str, Any] = {"name": "other", "port": 81, "protocol": "TCP"}
PORT_FIELDS: dict[str, Any] = {".": {}, "f:name": {}, "f:port": {}, "f:protocol": {}}


def live(fields: dict[str, Any], manager: str = OURS, version: str = "v1", **content: Any) -> dict[str, Any]:
    entry = {"manager": manager, "operation": "Apply", "apiVersion": version, "fieldsV1": fields}
    metadata = {"name": "x", "namespace": "d", "uid": "1", "labels": {"a": "b", "c": "d"}, "managedFields": [entry]}
    return {"apiVersion": "v1", "kind": "X", "metadata": metadata, **content}


def declared(labels: Any = None, **content: Any) -> dict[str, Any]:
    metadata = {"name": "x", "namespace": "d", **({"labels": labels} if labels is not None else {})}
    return {"apiVersion": "v1", "kind": "X", "metadata": metadata, **content}


DATA: dict[str, Any] = {"f:data": {".": {}, "f:a": {}}}
LABELS: dict[str, Any] = {"f:metadata": {"f:labels": {"f:a": {}}}}
PORTS: dict[str, Any] = {"f:spec": {"f:ports": {".": {}, PORT: PORT_FIELDS, PORT_81: PORT_FIELDS}}}
SET: dict[str, Any] = {"f:items": {'v:"a"': {}, 'v:"b"': {}}}


# A port that is declared without its protocol is owned without it, too.
BARE: dict[str, Any] = {"f:spec": {"f:ports": {".": {}, PORT: {".": {}, "f:name": {}, "f:port": {}}}}}


@pytest.mark.parametrize(
    ("found", "wanted", "same"),
    [
        (live(BARE, spec={"ports": [HTTP]}), declared(spec={"ports": [{"name": "http", "port": 80}]}), True),
        (live(BARE, spec={"ports": [HTTP]}), declared(spec={"ports": [HTTP]}), False),
        (live(PORTS, spec={"ports": [HTTP, OTHER]}), declared(spec={"ports": [{"name": "http", "port": 80}]}), False),
        (live(DATA, data={"a": "1"}), declared(data={"a": "1"}), True),
        # Fields of others do not count.
        (live(DATA, data={"a": "1", "b": "2"}, status={"x": 1}), declared(data={"a": "1"}), True),
        (live(DATA, data={"a": "2"}), declared(data={"a": "1"}), False),
        (live(DATA, data={"a": "1", "b": "2"}), declared(data={"a": "1", "b": "2"}), False),  # not owned yet
        (live(DATA, data={"a": "1"}), declared(data={}), False),  # owned, and not declared any more
        (live(DATA, data={"a": "1"}), declared(), False),
        (live(DATA, manager="kubectl", data={"a": "1"}), declared(data={"a": "1"}), False),
        (live(DATA, version="v2", data={"a": "1"}), declared(data={"a": "1"}), False),
        (live(LABELS), declared({"a": "b"}), True),
        (live(LABELS), declared({"a": "x"}), False),
        (live(LABELS), declared(), False),
        # JSON tells these apart.
        (live({"f:a": {}}, a=1), declared(a=True), False),
        (live({"f:a": {}}, a=1), declared(a=1.0), False),
        (live({"f:a": {}}, a=None), declared(a=None), True),
        # As a whole.
        (live({"f:a": {}}, a=[1, 2]), declared(a=[1, 2]), True),
        (live({"f:a": {}}, a=[2, 1]), declared(a=[1, 2]), False),
        (live({"f:a": {}}, a={}), declared(a={}), True),
        # By keys, of which a default may be left out: that is for a dry run to tell.
        (live(PORTS, spec={"ports": [HTTP, OTHER]}), declared(spec={"ports": [HTTP, OTHER]}), True),
        (live(PORTS, spec={"ports": [HTTP, OTHER]}), declared(spec={"ports": [OTHER, HTTP]}), False),
        (live(PORTS, spec={"ports": [HTTP, OTHER]}), declared(spec={"ports": [HTTP]}), False),
        (live(PORTS, spec={"ports": [HTTP]}), declared(spec={"ports": [HTTP, OTHER]}), False),
        (live(PORTS, spec={"ports": [HTTP, OTHER]}), declared(spec={"ports": [HTTP, HTTP]}), False),
        (
            live(PORTS, spec={"ports": [HTTP, OTHER]}),
            declared(spec={"ports": [HTTP, {"name": "other", "port": 81}]}),
            False,
        ),
        (
            live(PORTS, spec={"ports": [HTTP, {**OTHER, "targetPort": 1}]}),
            declared(spec={"ports": [HTTP, {**OTHER, "targetPort": 1}]}),
            False,
        ),
        # By values.
        (live(SET, items=["a", "b", "c"]), declared(items=["a", "b"]), True),
        (live(SET, items=["a", "b"]), declared(items=["b", "a"]), False),
        (live(SET, items=["a"]), declared(items=["a", "b"]), False),
        (live({"f:items": {"x:1": {}}}, items=[1]), declared(items=[1]), False),
    ],
)
def test_apply_without_changes_is_recognized(found: dict[str, Any], wanted: dict[str, Any], same: bool) -> None:
    assert is_applied(found, wanted, OURS) is same


def test_entry_is_from_the_apply_of_the_same_manager() -> None:
    entries = [
        {"manager": OURS, "operation": "Update"},
        {"manager": OURS, "operation": "Apply", "subresource": "status"},
        {"manager": "kubectl", "operation": "Apply"},
    ]
    thing = {"metadata": {"managedFields": entries}}
    assert entry_of(thing, OURS) is None
    assert entry_of(thing, "kubectl") == entries[2]
    assert entry_of({}, OURS) is None


@pytest.mark.parametrize(
    ("before", "after", "left", "right"),
    [
        ({"data": {"a": "1", "b": "2"}}, {"data": {"a": "1", "b": "3"}}, {"data": {"b": "2"}}, {"data": {"b": "3"}}),
        ({"data": {"a": "1"}}, {"data": {"a": "1", "b": "2"}}, {"data": {}}, {"data": {"b": "2"}}),
        ({"status": {"a": 1}}, {"status": {"a": 2}}, {}, {}),
        (
            {"metadata": {"uid": "1", "labels": {"a": "b"}}},
            {"metadata": {"labels": {}}},
            {"metadata": {"labels": {"a": "b"}}},
            {"metadata": {"labels": {}}},
        ),
        (
            {"p": [HTTP, OTHER]},
            {"p": [HTTP, {**OTHER, "port": 82}]},
            {"p": [{"name": "other", "port": 81}]},
            {"p": [{"name": "other", "port": 82}]},
        ),
        ({"p": [HTTP, OTHER]}, {"p": [OTHER, HTTP]}, {"p": [HTTP, OTHER]}, {"p": [OTHER, HTTP]}),
        ({"p": [1, 2]}, {"p": [1]}, {"p": [1, 2]}, {"p": [1]}),
    ],
)
def test_diff_contains_only_changed_fields(before: Any, after: Any, left: Any, right: Any) -> None:
    assert shown_pair(before, after) == (left, right)


def test_diff_hides_values_of_secrets() -> None:
    old = {"kind": "Secret", "data": {"a": "b2xk", "same": "c2FtZQ=="}, "metadata": {"name": "s", "uid": "1"}}
    new = {"kind": "Secret", "data": {"a": "bmV3", "same": "c2FtZQ==", "b": "bW9yZQ=="}, "metadata": {"name": "s"}}
    assert shown_pair(old, new) == (
        {"data": {"a": "(not shown)"}},
        {"data": {"a": "(not shown, changed)", "b": "(not shown)"}},
    )
    assert shown(old) == {
        "kind": "Secret",
        "data": {"a": "(not shown)", "same": "(not shown)"},
        "metadata": {"name": "s"},
    }
    # kubectl leaves a copy of the whole object in an annotation.
    applied = '{"kind":"Secret","data":{"a":"b2xk"}}'
    copied = {**old, "metadata": {"annotations": {"kubectl.kubernetes.io/last-applied-configuration": applied}}}
    assert "b2xk" not in str(shown(copied))
