# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether workloads have rolled out, and why not, from the API server's data about them and their pods.

Everything here is pure: wait.py reads the cluster. A rollout is complete under the same conditions as in
`kubectl rollout status` (k8s.io/kubectl/pkg/polymorphichelpers/rollout_status.go).

Names, messages and log lines come from the cluster and from pods, so all output passes `printable`.
"""

from __future__ import annotations

import re
from typing import Any, Iterator, Mapping, NamedTuple, Sequence

from ...module_utils._common.printable import printable
from .._common.objects import name_of
from .events import last_seen

WORKLOADS = ("Deployment", "StatefulSet", "DaemonSet")
# A report's limits: pods, events per object, log lines per container, and characters per line.
MAX_PODS = 3
MAX_EVENTS = 5
MAX_LINES = 10
MAX_LENGTH = 500

# Faults that waiting cannot mend: `REASON: message` of a container or of a workload's condition.
_HOPELESS = re.compile(
    r"(InvalidImageName|ErrImageNeverPull)\b"
    r"|(ErrImagePull|ImagePullBackOff): .*(not found|does not exist|manifest unknown)"
    r"|.*(runAsNonRoot|breaks non-root policy|violates PodSecurity)",
    re.DOTALL,
)
_HINTS = (
    (r"InvalidImageName", "that is no image reference: write it like registry.example.org/team/web:1.2"),
    (r"ErrImage|ImagePull", "the image cannot be pulled: see that it exists, that its name and tag are spelt "
     "right, and that the nodes reach its registry and may read it"),
    (r".*(runAsNonRoot|breaks non-root policy)", "the image runs as root, which the security context forbids: set "
     "runAsUser there to a number other than 0, or runAsNonRoot to false"),
    (r".*violates PodSecurity", "the namespace's pod-security level forbids such pods: change the pods, or the label "
     "pod-security.kubernetes.io/enforce of the namespace"),
    (r"CreateContainerConfigError", "the container cannot be made as declared: see that the ConfigMaps and Secrets "
     "that it names exist"),
    (r".*OOMKilled", "it used more memory than it may: raise its limit"),
    (r"CrashLoopBackOff|Ended", "the program ends soon after each start: its last lines may say why"),
    (r"Unschedulable", "no node takes the pod: see the nodes' state, free resources and taints, and what "
     "the pod asks for"),
    (r"ContainerCreating", "the container waits for its volumes, or for its network: the events say for which"),
    (r"NotReady", "the program runs, but its readiness probe fails: see the probe, and the port on which it listens"),
)  # fmt: skip


class Trouble(NamedTuple):
    """The reason why a pod is not ready."""

    pod: str
    namespace: str
    owner: str  # the object that made the pod, such as a ReplicaSet
    container: str  # empty for the pod as a whole
    what: str  # `REASON: message`
    logged: bool  # whether it has log lines


def awaited(definitions: Sequence[dict[str, Any]], addresses: bool) -> list[dict[str, Any]]:
    """The objects that are not yet complete when they are applied.

    addresses -- include Services of type LoadBalancer, which get their addresses later
    """
    return [
        entry
        for entry in definitions
        if (entry["kind"] in WORKLOADS and str(entry["apiVersion"]).startswith("apps/"))
        or (addresses and entry["kind"] == "Service" and (entry.get("spec") or {}).get("type") == "LoadBalancer")
    ]


def unfinished(live: Mapping[str, Any]) -> str:
    """What an object in the cluster still lacks; empty when it is complete."""
    spec, status = live.get("spec") or {}, live.get("status") or {}
    if live["kind"] == "Service":
        return "" if addresses_of(live) else "no load balancer has given it an address"
    if status.get("observedGeneration", 0) < live["metadata"].get("generation", 0):
        return "its controller has not seen the change yet"
    if live["kind"] == "DaemonSet":
        wanted, new = status.get("desiredNumberScheduled", 0), status.get("updatedNumberScheduled", 0)
        running, ready = new, status.get("numberAvailable", 0)
    else:
        wanted, new = spec.get("replicas", 1), status.get("updatedReplicas", 0)
        running, ready = status.get("replicas", 0), status.get("availableReplicas", 0)
    if (spec.get("updateStrategy") or {}).get("type") == "OnDelete":
        new = running = wanted  # these pods are replaced only when they are deleted
    if new >= wanted and running <= new and ready >= wanted:
        return ""
    old = " (old ones among them)" if running > new else ""
    return "pods: %d wanted, %d up to date, %d available%s" % (wanted, new, ready, old)


def addresses_of(live: Mapping[str, Any]) -> list[str]:
    """The addresses or names that a load balancer has assigned to a Service."""
    ingress = ((live.get("status") or {}).get("loadBalancer") or {}).get("ingress") or []
    return [str(entry.get("ip") or entry.get("hostname")) for entry in ingress]


def selectors_of(live: Mapping[str, Any]) -> list[str]:
    """The label selectors of a workload's pods."""
    labels = ((live.get("spec") or {}).get("selector") or {}).get("matchLabels") or {}
    return ["%s=%s" % item for item in labels.items()] if live["kind"] in WORKLOADS else []


def troubles(pods: Sequence[Mapping[str, Any]]) -> list[Trouble]:
    """The reasons why pods are not ready: one per container, or one for the pod. Pods being deleted are ignored."""
    return [trouble for pod in pods if not pod["metadata"].get("deletionTimestamp") for trouble in _pod_troubles(pod)]


def hopeless(things: Sequence[Mapping[str, Any]], found: Sequence[Trouble]) -> bool:
    """Whether waiting is useless, by the conditions of Deployments or ReplicaSets and the troubles of their pods."""
    said = [*(fault for thing in things for fault in _conditions(thing)), *(trouble.what for trouble in found)]
    return any(_HOPELESS.match(text) for text in said)


def present(
    live: Mapping[str, Any], sets: Sequence[Mapping[str, Any]], found: Sequence[Trouble]
) -> tuple[list[Mapping[str, Any]], list[Trouble]]:
    """The ReplicaSets and pod troubles of a Deployment's current revision; those of others will disappear."""
    if (live.get("status") or {}).get("observedGeneration", 0) < live["metadata"].get("generation", 0):
        return [], []
    ours = [one for one in sets if _revision(one) == _revision(live)]
    names = [one["metadata"]["name"] for one in ours]
    return ours, [trouble for trouble in found if trouble.owner in names]


def _revision(thing: Mapping[str, Any]) -> str:
    return str((thing["metadata"].get("annotations") or {}).get("deployment.kubernetes.io/revision"))


def explain(
    live: Mapping[str, Any],
    found: Sequence[Trouble],
    events: Sequence[Mapping[str, Any]],
    logs: Mapping[tuple[str, str], Sequence[str]],
    pending: Mapping[str, str] | None = None,
) -> list[str]:
    """Lines that explain what an object lacks, and why.

    found -- the troubles of its pods
    events -- the events of its namespace
    logs -- the last log lines by pod and container
    pending -- `cause` and `remedy` of a Service without an address
    """
    lines = ["%s: %s" % (name_of(live), unfinished(live))]
    if pending:
        lines += ["  " + pending["cause"], "    " + pending["remedy"]]
    for fault in _conditions(live):
        lines += ["  " + fault, *_hint(fault)]
    pods = list(dict.fromkeys(trouble.pod for trouble in found))
    for trouble in found:
        if trouble.pod not in pods[:MAX_PODS]:
            continue
        container = ", container " + trouble.container if trouble.container else ""
        lines += ["  pod %s%s: %s" % (trouble.pod, container, trouble.what), *_hint(trouble.what)]
        last = list(logs.get((trouble.pod, trouble.container)) or [])[-MAX_LINES:]
        lines += ["    its last log lines:", *("    | " + line.expandtabs() for line in last)] if last else []
    if len(pods) > MAX_PODS:
        lines.append("  and %d more pods" % (len(pods) - MAX_PODS))
    told = _told(events, [(live["kind"], live["metadata"]["name"]), *(("Pod", pod) for pod in pods[:MAX_PODS])])
    lines += ["  events:", *("    " + text for text in told)] if told else []
    return [printable(line if len(line) <= MAX_LENGTH else line[:MAX_LENGTH] + " ...") for line in lines]


def _pod_troubles(pod: Mapping[str, Any]) -> Iterator[Trouble]:
    metadata, status = pod["metadata"], pod.get("status") or {}
    owner = next((str(one["name"]) for one in metadata.get("ownerReferences") or []), "")
    whose = (str(metadata["name"]), str(metadata.get("namespace")), owner)
    # Init containers must end; the others must run.
    statuses = [
        *(one for one in status.get("initContainerStatuses") or [] if not _done(one)),
        *(status.get("containerStatuses") or []),
    ]
    if not statuses:
        for condition in status.get("conditions") or []:
            if condition.get("type") == "PodScheduled" and condition.get("status") != "True":
                yield Trouble(*whose, "", _said(condition), False)
                return
        yield Trouble(*whose, "", "%s: %s" % (status.get("reason") or status.get("phase"), "no container of "
                      "it has been started"), False)  # fmt: skip
    for container in statuses:
        what = _container_trouble(container)
        if what:
            started = any(
                kind in (container.get(key) or {})
                for key in ("state", "lastState")
                for kind in ("running", "terminated")
            )
            yield Trouble(*whose, str(container["name"]), what, started)


def _container_trouble(container: Mapping[str, Any]) -> str:
    """A container's fault, as `REASON: message`. Empty if it is ready."""
    state = container.get("state") or {}
    ended = state.get("terminated") or (container.get("lastState") or {}).get("terminated")
    if container.get("ready"):
        return ""
    code = "exit code %s (%s)" % (ended.get("exitCode"), ended.get("reason")) if ended else ""
    if "terminated" in state:
        what = "Ended: " + code
    else:
        what = "NotReady: it runs" if "running" in state else _said(state.get("waiting") or {})
        what += ", ended last with " + code if ended else ""
    restarts = container.get("restartCount")
    return what + (" after %s restarts" % restarts if restarts else "")


def _done(container: Mapping[str, Any]) -> bool:
    return ((container.get("state") or {}).get("terminated") or {}).get("exitCode") == 0


def _said(entry: Mapping[str, Any]) -> str:
    text = " ".join(str(entry.get("message") or "").split())
    return "%s: %s" % (entry.get("reason") or "Waiting", text or "no message")


def _conditions(live: Mapping[str, Any]) -> list[str]:
    """The reasons why a Deployment or ReplicaSet cannot make pods: a quota, or the namespace's pod-security level."""
    return [
        _said(condition)
        for condition in (live.get("status") or {}).get("conditions") or []
        if condition.get("type") == "ReplicaFailure" and condition.get("status") == "True"
    ]


def _hint(what: str) -> list[str]:
    return ["    " + hint for pattern, hint in _HINTS if re.match(pattern, what, re.DOTALL)][:1]


def _told(events: Sequence[Mapping[str, Any]], objects: Sequence[tuple[str, str]]) -> list[str]:
    """The last warnings about objects, by kind and name, or else their last event; oldest first."""
    about = [
        event
        for event in events
        for involved in [event.get("involvedObject") or {}]
        if (involved.get("kind"), involved.get("name")) in objects
    ]
    about.sort(key=last_seen)
    about = [event for event in about if event.get("type") == "Warning"] or about
    # A controller may repeat a message in a new event.
    said = dict.fromkeys(_said(event) for event in reversed(about))
    return list(said)[:MAX_EVENTS][::-1]
