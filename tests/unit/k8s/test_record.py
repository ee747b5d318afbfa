# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The record of applied objects: a written record is read back, and a damaged one is refused."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.homelab.loadbalancer.plugins.module_utils._common.errors import InputError
from ansible_collections.homelab.loadbalancer.plugins.plugin_utils._common.record import read_record, write_record
from ansible_collections.homelab.loadbalancer.tests.unit.gateway.plans import TRAEFIK, planned, removed

WHERE = "ConfigMap edge/homelab-loadbalancer-gateway"
OBJECTS: list[dict[str, Any]] = [
    {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "edge"}},
    {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web", "namespace": "edge"}},
    {"apiVersion": "metallb.io/v1beta1", "kind": "BGPPeer", "metadata": {"name": "a", "namespace": "edge"}},
    {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": "metallb-system:a"}},
]


def test_written_record_is_read_back() -> None:
    assert read_record(write_record(OBJECTS), WHERE) == OBJECTS


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "it is empty"),
        (
            "v1 Namespace - edge\nv1 ConfigMap edge\n",
            "line 2 of its `objects` is 'v1 ConfigMap edge', and not version,",
        ),
        ("v1 Namespace - edge\n\nv1 ConfigMap edge a\n", "line 2 of its `objects` is '', and not version"),
        ("v1  Namespace - edge", "line 1 of its `objects` is 'v1  Namespace - edge', and not version"),
        ("v1 Namespace - edge more", "line 1 of its `objects` is 'v1 Namespace - edge more', and not version"),
        ("- {kind: Namespace, name: edge}", "line 1 of its `objects` is '- {kind: Namespace, name: edge}', and not"),
    ],
)
def test_a_damaged_record_is_refused(text: str, said: str) -> None:
    """The message has a remedy, because the role cannot know which objects it would leave behind."""
    with pytest.raises(InputError) as caught:
        read_record(text, WHERE)
    assert str(caught.value).startswith("%s, the record of the applied objects, is damaged: %s" % (WHERE, said))
    assert "kubectl -n edge edit configmap homelab-loadbalancer-gateway" in str(caught.value)


def test_gateway_refuses_a_damaged_record() -> None:
    metadata = {"name": "homelab-loadbalancer-gateway", "namespace": "edge"}
    damaged = [{"kind": "ConfigMap", "resources": [{"metadata": metadata, "data": {"objects": "v1 Namespace"}}]}]
    with pytest.raises(InputError, match="ConfigMap edge/homelab-loadbalancer-gateway, the record"):
        removed(damaged, **TRAEFIK)
    gateway = {"name": "public", "listeners": [{"name": "http", "port": 80}]}
    with pytest.raises(InputError, match="ConfigMap edge/homelab-loadbalancer-gateway, the record"):
        planned([gateway], damaged, **TRAEFIK)
