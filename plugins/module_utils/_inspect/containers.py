# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Containers and images, from the output of crictl and containerd's ctr.

Everything here is pure. Labels of Kubernetes are those of its pkg/kubelet/types/labels.go; containerd marks the
sandbox of a pod by io.cri-containerd.kind. Everything else that the tools print, such as the values of environment
variables, is ignored: it may be secret.
"""

from __future__ import annotations

import json
import re
from typing import Any, Iterable, Mapping, NamedTuple, Sequence

from .._netns.node import parse_json

_POD, _NAMESPACE, _NAME = "io.kubernetes.pod.name", "io.kubernetes.pod.namespace", "io.kubernetes.container.name"
_UNITS = {"B": 1, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40}
# REF TYPE DIGEST SIZE, and more; an unknown size is a hyphen or a sentence.
_IMAGE_LINE = re.compile(r"(\S+)\s+\S+\s+(\w+:[0-9a-f]+)\s+(?:([\d.]+)\s*([KMGT]?i?B)\s)?")


class Container(NamedTuple):
    """A container, or the sandbox that holds a pod's network namespace."""

    id: str
    name: str
    image: str = ""
    state: str = ""  # as crictl ps shows it: Created, Running, Exited, Unknown
    pod: str = ""  # empty if it is in no pod
    namespace: str = ""
    pid: int = 0  # 0 if it does not run
    sandbox: bool = False


def read_cri_containers(text: str) -> list[Container]:
    """The containers that `crictl ps -a -o json` printed, without their process ids."""
    found = []
    for entry in json.loads(text).get("containers") or []:
        labels, image = entry.get("labels") or {}, entry.get("image") or {}
        found.append(
            Container(
                id=entry["id"],
                name=(entry.get("metadata") or {}).get("name", ""),
                image=image.get("userSpecifiedImage") or image.get("image") or entry.get("imageRef", ""),
                state=entry.get("state", "").replace("CONTAINER_", "").capitalize(),
                pod=labels.get(_POD, ""),
                namespace=labels.get(_NAMESPACE, ""),
            )
        )
    return found


def read_cri_sandboxes(text: str) -> list[Container]:
    """The sandboxes that `crictl pods -o json` printed, without their process ids."""
    found = []
    for entry in json.loads(text).get("items") or []:
        pod = entry.get("metadata") or {}
        state = "Running" if entry.get("state") == "SANDBOX_READY" else "Exited"
        found.append(
            Container(
                entry["id"], "", state=state, pod=pod.get("name", ""), namespace=pod.get("namespace", ""), sandbox=True
            )
        )
    return found


def read_cri_pids(text: str) -> dict[str, int]:
    """The process ids that `crictl inspect` and `crictl inspectp` printed, by container or sandbox id.

    For one id it prints an object. For several, crictl 1.31 prints a list; older versions print one object after the
    other.
    """
    pids = {}
    for document in parse_json(text):
        for entry in document if isinstance(document, list) else [document]:
            info = entry.get("info") or {}
            pids[(entry.get("status") or {}).get("id", "")] = int(info.get("pid") or 0)
    return pids


def read_cri_images(text: str) -> list[dict[str, Any]]:
    """The images that `crictl images -o json` printed."""
    return [
        {
            "id": entry["id"],
            "names": list(entry.get("repoTags") or entry.get("repoDigests") or []),
            "size": int(entry.get("size") or 0),
        }
        for entry in json.loads(text).get("images") or []
    ]


def read_ctr_tasks(text: str) -> dict[str, tuple[int, str]]:
    """The process id and the state of each container that `ctr tasks list` printed."""
    rows = (line.split() for line in text.splitlines()[1:])
    # RUNNING, CREATED, STOPPED, PAUSED, UNKNOWN: all but STOPPED have the same name in the CRI.
    return {
        row[0]: (int(row[1]), row[2].replace("STOPPED", "EXITED").capitalize())
        for row in rows
        if len(row) >= 3 and row[1].isdigit()
    }


def read_ctr_container(text: str, tasks: Mapping[str, tuple[int, str]]) -> Container:
    """The container that `ctr containers info ID` printed."""
    entry = json.loads(text)
    labels = entry.get("Labels") or {}
    # containerd's CRI deletes the task of an ended container.
    pid, state = tasks.get(entry["ID"], (0, "Exited"))
    return Container(
        id=entry["ID"],
        name=labels.get(_NAME, ""),
        image=entry.get("Image", ""),
        state=state,
        pod=labels.get(_POD, ""),
        namespace=labels.get(_NAMESPACE, ""),
        pid=pid,
        sandbox=labels.get("io.cri-containerd.kind") == "sandbox",
    )


def read_ctr_images(text: str) -> list[dict[str, Any]]:
    """The images that `ctr images list` printed: one line per name; one of the names is the id that the CRI uses."""
    images: dict[str, dict[str, Any]] = {}
    for line in text.splitlines()[1:]:
        found = _IMAGE_LINE.match(line)
        if not found:
            continue
        name, digest, size, unit = found.groups()
        image = images.setdefault(digest, {"id": digest, "names": [], "size": 0})
        image["size"] = round(float(size) * _UNITS.get(unit, 1)) if size else image["size"]
        if name.startswith("sha256:"):
            image["id"] = name
        else:
            image["names"].append(name)
    for image in images.values():
        # The CRI also names each image by its digest, which adds nothing if there is a tag.
        image["names"] = [name for name in image["names"] if "@" not in name] or image["names"]
    return list(images.values())


def with_pids(containers: Iterable[Container], pids: Mapping[str, int]) -> list[Container]:
    """The containers with their process ids."""
    return [container._replace(pid=pids.get(container.id, 0)) for container in containers]


def report_containers(containers: Iterable[Container], images: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The containers as the module returns them, sorted by pod; a runtime may name an image only by its id."""
    names = {image["id"]: image["names"][0] for image in images if image["names"]}
    names.update({image.partition(":")[2]: name for image, name in names.items()})
    listed = sorted(containers, key=lambda each: (each.namespace, each.pod, each.name, each.id))
    return [
        {
            "id": each.id,
            "name": each.name,
            "image": names.get(each.image, each.image),
            "state": each.state,
            "pod": each.pod,
            "namespace": each.namespace,
            "pid": each.pid,
        }
        for each in listed
        if not each.sandbox
    ]
