# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Explanations and remedies for pending PersistentVolumeClaims."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.homelab.loadbalancer.plugins.plugin_utils._k8s_explain.claims import (
    claims_of,
    explained,
    waiting,
)


def claim(phase: str = "Pending", selected: bool = False, **spec: Any) -> dict[str, Any]:
    annotations = {"volume.kubernetes.io/selected-node": "worker1"} if selected else {}
    return {"metadata": {"name": "data", "annotations": annotations}, "spec": spec, "status": {"phase": phase}}


def storage_class(name: str, default: bool = False, **fields: Any) -> dict[str, Any]:
    annotations = {"storageclass.kubernetes.io/is-default-class": str(default).lower()}
    return {"metadata": {"name": name, "annotations": annotations}, "provisioner": "example.org/nfs", **fields}


LATE: dict[str, Any] = {"volumeBindingMode": "WaitForFirstConsumer"}


@pytest.mark.parametrize(
    ("claims", "classes", "cause", "stuck"),
    [
        ([], [], "there is none of this name", True),
        ([claim("Lost", volumeName="pv1")], [], "its PersistentVolume pv1 is gone", True),
        ([claim()], [], "it names no storage class, and the cluster has no default one", True),
        ([claim()], [storage_class("nfs")], "it names no storage class, and the cluster has no default one (there are "
         "nfs)", True),
        ([claim()], [storage_class("nfs", True)], "it gets the default class nfs in a moment", False),
        ([claim(storageClassName="")], [storage_class("nfs", True)],
         "it asks for no storage class, and no PersistentVolume without one fits it", True),
        ([claim(storageClassName="fast")], [storage_class("nfs")],
         "there is no StorageClass fast, and no PersistentVolume of that class fits it", True),
        ([claim(storageClassName="local")], [storage_class("local", provisioner="kubernetes.io/no-provisioner")],
         "nothing makes volumes of the class local, and none that is there fits it", True),
        ([claim(storageClassName="nfs")], [storage_class("nfs")],
         "example.org/nfs has made no volume for it yet, of the class nfs", False),
        ([claim(storageClassName="nfs", selected=True)], [storage_class("nfs", **LATE)],
         "example.org/nfs has made no volume for it yet, of the class nfs", False),
    ],
)  # fmt: skip
def test_pending_claim_is_explained(
    claims: list[dict[str, Any]], classes: list[dict[str, Any]], cause: str, stuck: bool
) -> None:
    found = waiting(["data"], claims, classes)["data"]
    assert (found.cause, found.stuck) == (cause, stuck)
    assert found.remedy


@pytest.mark.parametrize(
    ("one", "classes"),
    [(claim("Bound"), []), (claim(storageClassName="nfs"), [storage_class("nfs", **LATE)])],
)
def test_harmless_claims_are_not_reported(one: dict[str, Any], classes: list[dict[str, Any]]) -> None:
    """One that waits for its pod to be scheduled is not why the pod is not."""
    assert waiting(["data"], [one], classes) == {}


def test_warning_of_the_provisioner_is_shown() -> None:
    def event(seen: str, message: str, kind: str = "Warning") -> dict[str, Any]:
        thing = {"kind": "PersistentVolumeClaim", "name": "data"}
        return {"involvedObject": thing, "type": kind, "message": message, "lastTimestamp": seen}

    events = [
        event("2026-01-01T00:00:02Z", "no space\x1b[2J left"),
        event("2026-01-01T00:00:01Z", "old"),
        event("2026-01-01T00:00:03Z", "waiting for a volume", "Normal"),
    ]
    found = waiting(["data"], [claim(storageClassName="nfs")], [storage_class("nfs")], events)
    assert explained("home", found) == [
        "  PersistentVolumeClaim home/data waits: example.org/nfs has made no volume for it yet, of the class nfs "
        "(no space\\x1b[2J left)",
        "    look whether its pods run, and at their logs",
    ]


def test_only_claims_of_pending_pods_are_reported() -> None:
    def pod(name: str, scheduled: str = "False", **metadata: Any) -> dict[str, Any]:
        return {
            "metadata": metadata,
            "spec": {"volumes": [{"name": "a", "emptyDir": {}}, {"persistentVolumeClaim": {"claimName": name}}]},
            "status": {"conditions": [{"type": "PodScheduled", "status": scheduled}]},
        }

    pods = [pod("new"), pod("new"), pod("old"), pod("bound", "True"), pod("going", deletionTimestamp="now")]
    stateful = {"kind": "StatefulSet"}
    assert claims_of(stateful, pods) == ["new", "old"]
    deployment = {"kind": "Deployment", "spec": {"template": pod("new")}}
    assert claims_of(deployment, pods) == ["new"]
