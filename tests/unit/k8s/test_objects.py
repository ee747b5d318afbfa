# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Objects as users give them."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.homelab.loadbalancer.plugins.module_utils._common.errors import InputError
from ansible_collections.homelab.loadbalancer.plugins.plugin_utils._common import objects


def thing(kind: str = "ConfigMap", namespace: str = "default", **content: Any) -> dict[str, Any]:
    metadata = {"name": "x", **({"namespace": namespace} if namespace else {})}
    return {"apiVersion": "v1", "kind": kind, "metadata": metadata, **content}


NAMESPACE = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "new"}}


def test_lists_of_objects_are_split() -> None:
    listed = {"apiVersion": "v1", "kind": "List", "items": [thing(), thing("Service")]}
    assert objects.parse_definitions([listed, NAMESPACE], "d") == [thing(), thing("Service"), NAMESPACE]


@pytest.mark.parametrize(
    ("definitions", "message"),
    [
        ("x", "d must be a list, not str"),
        (["x"], "d[0] must be a mapping, not str"),
        ([{"kind": "ConfigMap"}], "d[0].apiVersion is missing"),
        ([{"apiVersion": "v1"}], "d[0].kind is missing"),
        ([thing(), {"apiVersion": "v1", "kind": "Pod"}], "d[1].metadata.name is missing"),
        ([{"kind": "List", "items": [{}]}], "d[0].items[0].apiVersion is missing"),
    ],
)
def test_invalid_objects_are_named(definitions: Any, message: str) -> None:
    with pytest.raises(InputError) as caught:
        objects.parse_definitions(definitions, "d")
    assert str(caught.value) == message
