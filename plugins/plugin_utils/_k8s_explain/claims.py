# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Why the PersistentVolumeClaims of pods have no volume, and what to do. Pure.

The rules for binding a claim: https://kubernetes.io/docs/concepts/storage/persistent-volumes/#binding
"""

from __future__ import annotations

from typing import Any, Mapping, NamedTuple, Sequence

from ...module_utils._common.printable import printable
from .events import last_seen

DEFAULT_CLASS = "storageclass.kubernetes.io/is-default-class"
SELECTED_NODE = "volume.kubernetes.io/selected-node"
NO_PROVISIONER = "kubernetes.io/no-provisioner"
# A newly created volume is bound within seconds.
GRACE = 30

_MAKE = "make a PersistentVolume that fits"
_NAME_ONE = "name one by storage_class, mark a class as the default one, or " + _MAKE


class Waiting(NamedTuple):
    """The reason why a claim has no volume."""

    cause: str
    remedy: str
    stuck: bool  # whether nothing in the cluster will create one


def claims_of(live: Mapping[str, Any], pods: Sequence[Mapping[str, Any]]) -> list[str]:
    """The claims that a workload's pods wait for, by name, without those of a Deployment's earlier revisions."""
    waiting_pods = [pod for pod in pods if not pod["metadata"].get("deletionTimestamp") and _unscheduled(pod)]
    names = [name for pod in waiting_pods for name in _claims(pod)]
    if names and live["kind"] == "Deployment":
        present = _claims(live["spec"]["template"])
        names = [name for name in names if name in present]
    return list(dict.fromkeys(names))


def _claims(pod: Mapping[str, Any]) -> list[str]:
    volumes = (pod.get("spec") or {}).get("volumes") or []
    return [str(one["persistentVolumeClaim"]["claimName"]) for one in volumes if one.get("persistentVolumeClaim")]


def _unscheduled(pod: Mapping[str, Any]) -> bool:
    conditions = (pod.get("status") or {}).get("conditions") or []
    return any(one.get("type") == "PodScheduled" and one.get("status") != "True" for one in conditions)


def waiting(
    names: Sequence[str],
    claims: Sequence[Mapping[str, Any]],
    classes: Sequence[Mapping[str, Any]],
    events: Sequence[Mapping[str, Any]] = (),
) -> dict[str, Waiting]:
    """The claims without a volume, of those in `names`, by name.

    claims, events -- those of the namespace
    classes -- the StorageClasses
    """
    there = {str(claim["metadata"]["name"]): claim for claim in claims}
    found = {name: _why(there.get(name), classes) for name in names}
    return {name: _with_event(name, why, events) for name, why in found.items() if why}


def explained(namespace: str, found: Mapping[str, Waiting]) -> list[str]:
    """The lines for a report."""
    return [
        printable(line)
        for name, why in found.items()
        for line in ("  PersistentVolumeClaim %s/%s waits: %s" % (namespace, name, why.cause), "    " + why.remedy)
    ]


def _why(claim: Mapping[str, Any] | None, classes: Sequence[Mapping[str, Any]]) -> Waiting | None:
    if claim is None:
        return Waiting("there is none of this name", "make it, or let the volume make one by `claim`", True)
    phase = (claim.get("status") or {}).get("phase")
    if phase == "Bound":
        return None
    spec = claim.get("spec") or {}
    if phase == "Lost":
        return Waiting(
            "its PersistentVolume %s is gone" % spec.get("volumeName"),
            "make that again, or remove the claim, whose data is gone with it",
            True,
        )
    wanted = spec.get("storageClassName")
    if wanted is None:
        return _without_class(classes)
    if wanted == "":
        return Waiting("it asks for no storage class, and no PersistentVolume without one fits it", _MAKE, True)
    return _of_class(claim, wanted, next((one for one in classes if one["metadata"]["name"] == wanted), None))


def _without_class(classes: Sequence[Mapping[str, Any]]) -> Waiting:
    default = [
        one["metadata"]["name"]
        for one in classes
        if (one["metadata"].get("annotations") or {}).get(DEFAULT_CLASS) == "true"
    ]
    if default:
        return Waiting("it gets the default class %s in a moment" % default[0], "wait, and run it again", False)
    names = ", ".join(str(one["metadata"]["name"]) for one in classes)
    there = " (there are %s)" % names if names else ""
    return Waiting("it names no storage class, and the cluster has no default one" + there, _NAME_ONE, True)


def _of_class(claim: Mapping[str, Any], wanted: str, found: Mapping[str, Any] | None) -> Waiting | None:
    if found is None:
        return Waiting(
            "there is no StorageClass %s, and no PersistentVolume of that class fits it" % wanted,
            "name one of `kubectl get storageclass`, install what brings %s, or %s" % (wanted, _MAKE),
            True,
        )
    if found.get("provisioner") == NO_PROVISIONER:
        return Waiting("nothing makes volumes of the class %s, and none that is there fits it" % wanted, _MAKE, True)
    selected = SELECTED_NODE in (claim["metadata"].get("annotations") or {})
    if found.get("volumeBindingMode") == "WaitForFirstConsumer" and not selected:
        return None  # it waits for its pod, which has its own fault
    return Waiting(
        "%s has made no volume for it yet, of the class %s" % (found.get("provisioner"), wanted),
        "look whether its pods run, and at their logs",
        False,
    )


def _with_event(name: str, why: Waiting, events: Sequence[Mapping[str, Any]]) -> Waiting:
    """Add the last warning about the claim, which comes from its provisioner."""
    about = [
        event
        for event in events
        for involved in [event.get("involvedObject") or {}]
        if (involved.get("kind"), involved.get("name")) == ("PersistentVolumeClaim", name)
        and event.get("type") == "Warning"
    ]
    if not about:
        return why
    said = " ".join(str(max(about, key=last_seen).get("message") or "").split())
    return why._replace(cause="%s (%s)" % (why.cause, said))
