# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the role app applies of a declaration, beside what is in the cluster."""

from __future__ import annotations

from typing import Any

import pytest
from ansible.errors import AnsibleFilterError

from ansible_collections.homelab.loadbalancer.plugins.filter.app_manifest import app_manifest
from ansible_collections.homelab.loadbalancer.plugins.filter.app_plan import app_plan

IMAGE = "registry.example.org/team/web:1.2"
OURS, SCALER = "homelab.loadbalancer", "kube-controller-manager"


@pytest.mark.parametrize(
    ("declared", "managers", "applied"),
    [
        (None, [OURS], 4),  # until the autoscaler has set some, they stay: without them there would be one pod
        (None, [OURS, SCALER], None),
        (None, [SCALER], None),
        (2, [OURS], 2),
        (0, [OURS], 0),
    ],
)
def test_replicas_are_left_to_an_autoscaler(declared: int | None, managers: list[str], applied: int | None) -> None:
    (live,) = app_manifest("web", IMAGE, ports=[], replicas=4)
    fields = [{"manager": name, "fieldsV1": {"f:spec": {"f:replicas": {}}}} for name in managers]
    live["metadata"]["managedFields"] = [*fields, {"manager": "kubelet", "fieldsV1": {"f:status": {}}}]
    found: list[dict[str, Any]] = [{"kind": "Deployment", "resources": [live]}]
    (deployment,) = app_plan(app_manifest("web", IMAGE, ports=[], replicas=declared), found)["apply"]
    assert deployment["spec"].get("replicas") == applied


def test_messages_name_the_variable() -> None:
    with pytest.raises(AnsibleFilterError, match=r"app_manifests\[0\]\.kind is missing"):
        app_plan([{"apiVersion": "v1"}], where="app_manifests")
