# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""When a rollout is complete, when waiting is of no use, and how a failure is explained."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.homelab.loadbalancer.plugins.plugin_utils._k8s_explain.rollout import (
    MAX_LENGTH,
    awaited,
    explain,
    hopeless,
    present,
    selectors_of,
    troubles,
    unfinished,
)

NAME = {"name": "web", "namespace": "default", "generation": 2}
PULL = {
    "reason": "ImagePullBackOff",
    "message": 'Back-off pulling image "web:9": ErrImagePull: failed to resolve reference "web:9": web:9: not found',
}


def deployment(replicas: int = 2, observed: int = 2, conditions: Any = (), **status: int) -> dict[str, Any]:
    """A Deployment as the API returns it, which leaves out what is 0."""
    seen = {key: value for key, value in status.items() if value}
    return {
        "kind": "Deployment",
        "metadata": NAME,
        "spec": {"replicas": replicas, "selector": {"matchLabels": {"app": "web", "tier": "front"}}},
        "status": {"observedGeneration": observed, "conditions": list(conditions), **seen},
    }


def pod(*containers: dict[str, Any], name: str = "web-1", init: Any = (), **status: Any) -> dict[str, Any]:
    """A pod with the states of its containers."""
    states = {"containerStatuses": list(containers), "initContainerStatuses": list(init), "phase": "Pending"}
    metadata = {"name": name, "namespace": "default", "ownerReferences": [{"kind": "ReplicaSet", "name": "web-new"}]}
    return {"metadata": metadata, "status": {**states, **status}}


def waiting(state: dict[str, str], **more: Any) -> dict[str, Any]:
    """A container that waits."""
    return {"name": "web", "ready": False, "restartCount": 0, "state": {"waiting": state}, **more}


BROKEN = pod(waiting(PULL))


def revision(number: int, thing: dict[str, Any]) -> dict[str, Any]:
    """The Deployment or ReplicaSet with the number of its revision."""
    annotations = {"deployment.kubernetes.io/revision": str(number)}
    return {**thing, "metadata": {**thing["metadata"], "annotations": annotations}}


def replica_set(number: int, name: str) -> dict[str, Any]:
    """The ReplicaSet of a Deployment's revision."""
    return revision(number, {"kind": "ReplicaSet", "metadata": {"name": name}})


def event(message: str, kind: str = "Pod", name: str = "web-1", at: str = "", **more: Any) -> dict[str, Any]:
    """An event about an object."""
    about = {"kind": kind, "name": name}
    return {"involvedObject": about, "reason": "Failed", "message": message, "lastTimestamp": at, **more}


@pytest.mark.parametrize(
    ("live", "missing"),
    [
        (deployment(updatedReplicas=2, availableReplicas=2), ""),
        (deployment(0), ""),
        (deployment(observed=1, updatedReplicas=2, availableReplicas=2), "its controller has not seen the change yet"),
        (deployment(), "pods: 2 wanted, 0 up to date, 0 available"),
        (deployment(updatedReplicas=2, availableReplicas=1), "pods: 2 wanted, 2 up to date, 1 available"),
    ],
)
def test_deployments(live: dict[str, Any], missing: str) -> None:
    assert unfinished(live) == missing


def rolling(replicas: int, updated: int, available: int) -> dict[str, Any]:
    """A Deployment in the middle of a rollout, old pods beside new ones."""
    live = deployment(updatedReplicas=updated, availableReplicas=available)
    live["status"]["replicas"] = replicas
    return live


def test_pods_of_old_revisions_do_not_count() -> None:
    # Between two pods of a rollout all that are there are available, and not all of them are new.
    assert unfinished(rolling(2, 1, 2)) == "pods: 2 wanted, 1 up to date, 2 available (old ones among them)"
    assert unfinished(rolling(3, 2, 3)) == "pods: 2 wanted, 2 up to date, 3 available (old ones among them)"
    assert unfinished(rolling(2, 2, 2)) == ""


@pytest.mark.parametrize(
    ("strategy", "new", "available", "complete"),
    [
        ("RollingUpdate", 3, 3, True),
        ("RollingUpdate", 2, 3, False),
        ("RollingUpdate", 3, 2, False),
        ("OnDelete", 0, 3, True),
        ("OnDelete", 0, 2, False),
    ],
)
def test_daemon_sets(strategy: str, new: int, available: int, complete: bool) -> None:
    status = {"desiredNumberScheduled": 3, "updatedNumberScheduled": new, "numberAvailable": available}
    spec = {"updateStrategy": {"type": strategy}}
    live = {"kind": "DaemonSet", "metadata": NAME, "spec": spec, "status": {"observedGeneration": 2, **status}}
    assert (unfinished(live) == "") == complete


def test_services_wait_for_an_address() -> None:
    service = {"kind": "Service", "metadata": NAME, "spec": {}, "status": {"loadBalancer": {}}}
    assert unfinished(service) == "no load balancer has given it an address"
    service["status"] = {"loadBalancer": {"ingress": [{"ip": "172.16.0.100"}]}}
    assert unfinished(service) == ""


def test_workloads_and_load_balancers_are_awaited() -> None:
    def entry(kind: str, api_version: str = "v1", **spec: str) -> dict[str, Any]:
        return {"apiVersion": api_version, "kind": kind, "metadata": NAME, "spec": spec}

    workload, balanced = entry("Deployment", "apps/v1"), entry("Service", type="LoadBalancer")
    others = [entry("Service"), entry("Service", type="NodePort"), entry("Deployment", "example.org/v1"), entry("Pod")]
    assert awaited([workload, balanced, *others], addresses=False) == [workload]
    assert awaited([workload, balanced, *others], addresses=True) == [workload, balanced]


def test_pods_are_found_by_all_labels() -> None:
    assert selectors_of(deployment()) == ["app=web", "tier=front"]
    assert selectors_of({"kind": "Service", "metadata": NAME, "spec": {"selector": {"app": "web"}}}) == []


ENDED = {"terminated": {"exitCode": 137, "reason": "OOMKilled"}}


@pytest.mark.parametrize(
    ("found", "what", "logged"),
    [
        (pod(waiting(PULL)), "ImagePullBackOff: " + PULL["message"], False),
        (
            pod(waiting({"reason": "CrashLoopBackOff", "message": "back-off"}, restartCount=3, lastState=ENDED)),
            "CrashLoopBackOff: back-off, ended last with exit code 137 (OOMKilled) after 3 restarts",
            True,
        ),
        (pod({"name": "web", "state": {"running": {}}}), "NotReady: it runs", True),
        (pod({"name": "web", "state": ENDED}), "Ended: exit code 137 (OOMKilled)", True),
        (
            pod({"name": "web", "state": {"terminated": {"exitCode": 0, "reason": "Completed"}}}),
            "Ended: exit code 0 (Completed)",
            True,
        ),
        (pod(init=[waiting({"reason": "PodInitializing"})]), "PodInitializing: no message", False),
        (
            pod(conditions=[{"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/3"}]),
            "Unschedulable: 0/3",
            False,
        ),
        (pod(), "Pending: no container of it has been started", False),
    ],
)
def test_troubles_of_pods_are_explained(found: dict[str, Any], what: str, logged: bool) -> None:
    (trouble,) = troubles([found])
    assert (trouble.pod, trouble.what, trouble.logged) == ("web-1", what, logged)


def test_no_trouble() -> None:
    ready = pod(
        {"name": "web", "ready": True, "state": {"running": {}}}, init=[{"state": {"terminated": {"exitCode": 0}}}]
    )
    leaving = pod(waiting(PULL))
    leaving["metadata"] = {**leaving["metadata"], "deletionTimestamp": "2030-01-01T00:00:00Z"}
    assert troubles([ready, leaving]) == []


@pytest.mark.parametrize(
    ("reason", "message", "helpless"),
    [
        ("ImagePullBackOff", PULL["message"], True),
        ("ErrImagePull", "pull access denied, repository does not exist or may require authorization", True),
        ("ErrImagePull", "manifest unknown", True),
        ("ErrImagePull", "dial tcp: lookup registry.example.org: no such host", False),
        ("InvalidImageName", "Failed to apply default image tag", True),
        ("CreateContainerConfigError", "container has runAsNonRoot and image will run as root (pod: x)", True),
        ("CreateContainerConfigError", 'secret "web" not found', False),
        ("CrashLoopBackOff", "back-off 10s restarting failed container", False),
    ],
)
def test_hopeless_pods_are_found(reason: str, message: str, helpless: bool) -> None:
    assert hopeless([deployment()], troubles([pod(waiting({"reason": reason, "message": message}))])) == helpless


def test_pods_of_an_earlier_failure_do_not_count() -> None:
    sets, found = [replica_set(1, "web-new"), replica_set(2, "other")], troubles([BROKEN])
    assert present(revision(1, deployment()), sets, found) == (sets[:1], found)
    assert present(revision(2, deployment()), sets, found) == (sets[1:], [])
    # It is the revision of before as long as the controller has not seen the change.
    assert present(revision(1, deployment(observed=1)), sets, found) == ([], [])


def test_forbidden_pods_are_explained() -> None:
    condition = {"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate"}
    quota = deployment(conditions=[{**condition, "message": "exceeded quota"}])
    level = deployment(conditions=[{**condition, "message": 'violates PodSecurity "restricted:latest"'}])
    assert not hopeless([quota], [])
    assert hopeless([level], [])
    assert "  FailedCreate: exceeded quota" in explain(quota, [], [], {})


def test_rollout_is_explained() -> None:
    broken = waiting({"reason": "CrashLoopBackOff", "message": "back-off"}, lastState=ENDED)
    events = [
        event("second", type="Warning", at="2"),
        event("first", type="Warning", at="1"),
        event("second", type="Warning", at="3"),
        event("fine", type="Normal", at="4"),
        event("of another pod", name="web-9", type="Warning"),
        event("of a Service of that name", kind="Service", name="web", type="Warning"),
    ]
    lines = explain(
        deployment(), troubles([pod(broken)]), events, {("web-1", "web"): ["line %d" % i for i in range(20)]}
    )
    assert lines == [
        "Deployment default/web: pods: 2 wanted, 0 up to date, 0 available",
        "  pod web-1, container web: CrashLoopBackOff: back-off, ended last with exit code 137 (OOMKilled)",
        "    it used more memory than it may: raise its limit",
        "    its last log lines:",
        *("    | line %d" % i for i in range(10, 20)),
        "  events:",
        "    Failed: first",
        "    Failed: second",
    ]


def test_a_service_without_an_address() -> None:
    service = {"kind": "Service", "metadata": NAME, "spec": {}}
    lines = explain(service, [], [], {}, {"cause": "no pool", "remedy": "add one"})
    assert lines == ["Service default/web: no load balancer has given it an address", "  no pool", "    add one"]


def test_many_pods_are_not_all_shown() -> None:
    pods = [pod(waiting(PULL), name="web-%d" % i) for i in range(9)]
    lines = explain(deployment(), troubles(pods), [], {})
    assert sum("container web" in line for line in lines) == 3
    assert "  and 6 more pods" in lines


def test_a_hostile_pod_cannot_write_to_the_terminal() -> None:
    bad = "\x1b]0;owned\x07\r\u202e" + "x" * 10000
    found = troubles([pod(waiting({"reason": bad, "message": bad}))])
    lines = explain(deployment(), found, [event(bad)], {("web-1", "web"): [bad]})
    assert all(line.isprintable() for line in lines)
    assert max(map(len, lines)) < MAX_LENGTH + 100
    assert any(r"\x1b]0;owned\x07\x0d\x202e" in line for line in lines)
