# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Containers and images, from the output of crictl and ctr."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ansible_collections.homelab.loadbalancer.plugins.module_utils._inspect.containers import (
    Container,
    read_cri_containers,
    read_cri_images,
    read_cri_pids,
    read_cri_sandboxes,
    read_ctr_container,
    read_ctr_images,
    read_ctr_tasks,
    report_containers,
    with_pids,
)

SPEAKER, SANDBOX = "6a9e197a4b8a5" + "0" * 51, "d04db24e8f2fe" + "0" * 51
SPEAKER_IMAGE = "sha256:1eeb60bd05864" + "0" * 51
LABELS = {
    "io.kubernetes.container.name": "speaker",
    "io.kubernetes.pod.name": "speaker-n7prq",
    "io.kubernetes.pod.namespace": "metallb-system",
    "io.kubernetes.pod.uid": "5e5f1d2c-8f67-4b9c-a8a3-6d9ad8f3a111",
}
PS: dict[str, Any] = {
    "id": SPEAKER,
    "podSandboxId": SANDBOX,
    "metadata": {"name": "speaker", "attempt": 0},
    "image": {"image": SPEAKER_IMAGE, "annotations": {}, "userSpecifiedImage": ""},
    "imageRef": SPEAKER_IMAGE,
    "state": "CONTAINER_RUNNING",
    "createdAt": "1756880000000000000",
    "labels": LABELS,
    "annotations": {},
}
IMAGES = [{"id": SPEAKER_IMAGE, "names": ["quay.io/metallb/speaker:v0.15.2"], "size": 140000000}]


def test_crictl_ps() -> None:
    ended = {
        **PS,
        "id": "x",
        "state": "CONTAINER_EXITED",
        "labels": {},
        "image": {"userSpecifiedImage": "a:1", "image": "b"},
    }
    assert read_cri_containers(json.dumps({"containers": [PS, ended]})) == [
        Container(SPEAKER, "speaker", SPEAKER_IMAGE, "Running", "speaker-n7prq", "metallb-system"),
        Container("x", "speaker", "a:1", "Exited"),
    ]
    assert read_cri_containers('{"containers": []}') == read_cri_containers("{}") == []


def test_crictl_pods() -> None:
    pod = {"name": "speaker-n7prq", "uid": "5e5f", "namespace": "metallb-system", "attempt": 0}
    items = [{"id": state, "metadata": pod, "state": state} for state in ("SANDBOX_READY", "SANDBOX_NOTREADY")]
    found = read_cri_sandboxes(json.dumps({"items": items}))
    assert [(each.state, each.pod, each.namespace, each.sandbox) for each in found] == [
        ("Running", "speaker-n7prq", "metallb-system", True),
        ("Exited", "speaker-n7prq", "metallb-system", True),
    ]


@pytest.mark.parametrize("several", [False, True], ids=["of old, one after the other", "as a list"])
def test_crictl_inspect(several: bool) -> None:
    shown = [
        {"status": {"id": "a", "state": "CONTAINER_RUNNING"}, "info": {"pid": 4321, "config": {"envs": []}}},
        {"status": {"id": "b"}, "info": {}},
        {"status": {"id": "c"}},
    ]
    text = json.dumps(shown) if several else "\n".join(json.dumps(each, indent=2) for each in shown)
    assert read_cri_pids(text) == {"a": 4321, "b": 0, "c": 0}
    assert read_cri_pids(json.dumps(shown[0])) == {"a": 4321}


def test_crictl_images() -> None:
    listed = [
        {"id": "sha256:1", "repoTags": ["a:1", "b:1"], "repoDigests": ["a@sha256:9"], "size": "742092"},
        {"id": "sha256:2", "repoTags": [], "repoDigests": ["c@sha256:8"]},
    ]
    assert read_cri_images(json.dumps({"images": listed})) == [
        {"id": "sha256:1", "names": ["a:1", "b:1"], "size": 742092},
        {"id": "sha256:2", "names": ["c@sha256:8"], "size": 0},
    ]


def test_ctr_tasks_and_containers() -> None:
    tasks = read_ctr_tasks("TASK      PID      STATUS    \n%s    85      RUNNING\ngone    0       STOPPED\n" % SPEAKER)
    assert tasks == {SPEAKER: (85, "Running"), "gone": (0, "Exited")}
    info = {
        "ID": SPEAKER,
        "Labels": {**LABELS, "io.cri-containerd.kind": "container"},
        "Image": "quay.io/metallb/speaker:v0.15.2",
        "Extensions": None,
        "Spec": {"process": {"env": ["PASSWORD=secret"]}},
    }
    assert read_ctr_container(json.dumps(info), tasks) == Container(
        SPEAKER, "speaker", info["Image"], "Running", "speaker-n7prq", "metallb-system", 85
    )
    info["Labels"] = {"io.cri-containerd.kind": "sandbox", "io.kubernetes.pod.name": "p"}
    found = read_ctr_container(json.dumps({**info, "ID": "other"}), tasks)
    assert (found.sandbox, found.pod, found.state, found.pid) == (True, "p", "Exited", 0)
    alone = read_ctr_container('{"ID": "alone", "Labels": null}', tasks)
    assert (alone.pod, alone.name, alone.sandbox) == ("", "", False)


def test_ctr_images() -> None:
    digest = "sha256:" + "70f4825d" * 8
    kind = "application/vnd.docker.distribution.manifest.v2+json"
    row = "%s %s %s %s linux/amd64 io.cri-containerd.image=managed \n"
    text = "REF TYPE DIGEST SIZE PLATFORMS LABELS \n" + "".join(
        row % (name, kind, digest, "750.6 KiB")
        for name in ("registry.k8s.io/pause:3.10", "registry.k8s.io/pause@" + digest, "sha256:873ed75102791")
    )
    text += row % ("a@sha256:1", kind, "sha256:" + "1" * 64, "-")
    assert read_ctr_images(text) == [
        {"id": "sha256:873ed75102791", "names": ["registry.k8s.io/pause:3.10"], "size": 768614},
        {"id": "sha256:" + "1" * 64, "names": ["a@sha256:1"], "size": 0},
    ]
    assert read_ctr_images("REF TYPE DIGEST SIZE PLATFORMS LABELS \n") == []


def test_a_report_names_images_and_leaves_out_sandboxes() -> None:
    listed = [
        Container("2", "speaker", SPEAKER_IMAGE, "Running", "speaker-n7prq", "metallb-system"),
        Container("1", "b", SPEAKER_IMAGE.partition(":")[2], "Exited", "a", "default"),
        Container("0", "", state="Running", pod="a", namespace="default", sandbox=True),
        Container("3", "", "sha256:unknown"),
    ]
    found = report_containers(with_pids(listed, {"2": 7, "0": 6}), IMAGES)
    assert [(each["id"], each["image"], each["pid"]) for each in found] == [
        ("3", "sha256:unknown", 0),
        ("1", "quay.io/metallb/speaker:v0.15.2", 0),
        ("2", "quay.io/metallb/speaker:v0.15.2", 7),
    ]
    assert set(found[0]) == {"id", "name", "image", "state", "pod", "namespace", "pid"}
