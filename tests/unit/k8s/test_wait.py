# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The wait for a rollout without a cluster: its length, its reads, and its failures."""

from __future__ import annotations

from typing import Any, Callable, Sequence

import pytest

from ansible_collections.homelab.loadbalancer.plugins.plugin_utils._k8s.wait import UnfinishedError, wait_for_rollout
from ansible_collections.homelab.loadbalancer.plugins.plugin_utils._k8s_explain.claims import GRACE

Thing = dict[str, Any]  # an object of the API
UNSCHEDULABLE = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "unbound claims"}
VOLUME = {"volumes": [{"persistentVolumeClaim": {"claimName": "data"}}]}
DAEMONS = {"desiredNumberScheduled": 2, "updatedNumberScheduled": 2, "numberAvailable": 1, "replicas": 0}


def workload(ready: bool, name: str = "web", kind: str = "Deployment", **status: Any) -> Thing:
    """A workload as the API server returns it, with one pod that is available or not."""
    return {
        "apiVersion": "apps/v1",
        "kind": kind,
        "metadata": {
            "name": name,
            "namespace": "home",
            "generation": 2,
            "annotations": {"deployment.kubernetes.io/revision": "1"},
        },
        "spec": {"replicas": 1, "selector": {"matchLabels": {"app": name}}, "template": {"spec": VOLUME}},
        "status": {"observedGeneration": 2, "updatedReplicas": 1, "availableReplicas": int(ready), **status},
    }


def service(*addresses: str) -> Thing:
    ingress = {"loadBalancer": {"ingress": [{"ip": address} for address in addresses]}}
    metadata = {"name": "web", "namespace": "home"}
    spec = {"type": "LoadBalancer", "ports": [{"port": 80}]}
    return {"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": spec, "status": ingress}


def pod(message: str = "", app: str = "web", node: str = "") -> Thing:
    """A pod that is not ready: its image cannot be pulled, or without a message it has not been placed."""
    state = {"waiting": {"reason": "ErrImagePull", "message": message}}
    container = {"name": "web", "ready": False, "restartCount": 0, "state": state}
    owner = {"kind": "ReplicaSet", "name": app + "-1"}
    return {
        "kind": "Pod",
        "metadata": {"name": app + "-1", "namespace": "home", "labels": {"app": app}, "ownerReferences": [owner]},
        "spec": {"nodeName": node, **VOLUME},
        "status": {
            "containerStatuses": [container] if message else [],
            "conditions": [] if message else [UNSCHEDULABLE],
        },
    }


def replica_set(app: str) -> Thing:
    annotations = {"deployment.kubernetes.io/revision": "1"}
    metadata = {"name": app + "-1", "namespace": "home", "labels": {"app": app}, "annotations": annotations}
    return {"kind": "ReplicaSet", "metadata": metadata}


def node(name: str, ready: str) -> Thing:
    condition = {"type": "Ready", "status": ready, "reason": "KubeletNotReady", "message": "no CNI"}
    return {"kind": "Node", "metadata": {"name": name}, "status": {"conditions": [condition]}}


def event(message: str) -> Thing:
    about = {"kind": "Pod", "name": "web-1"}
    times = {"type": "Warning", "reason": "Failed", "message": message}
    return {"kind": "Event", "metadata": {"name": "a", "namespace": "home"}, "involvedObject": about, **times}


REFERENCE = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web", "namespace": "home"}}


class Cluster:
    """Answers queries, and has a clock that only sleeping advances.

    changes -- what happens to the objects, by seconds
    forbidden -- kinds that may not be read
    """

    def __init__(self, *things: Thing, changes: dict[int, list[Thing]] | None = None, forbidden: Sequence[str] = ()):
        self.things, self.changes, self.forbidden = list(things), changes or {}, forbidden
        self.now = 0.0
        self.looks: list[list[str]] = []  # of each call the kinds that it asked for
        self.warnings: list[str] = []
        self.logs: list[tuple[Any, ...]] = []

    def read(self, queries: Sequence[Any]) -> list[Any]:
        kinds = [query["kind"] for query in queries]
        self.looks.append(kinds)
        if any(query["kind"] in self.forbidden and not query["optional"] for query in queries):
            raise RuntimeError("forbidden")
        things = [*self.things, *(one for at, news in self.changes.items() if at <= self.now for one in news)]
        found = [_found(query, things)[-1 if query.get("name") else None :] for query in queries]
        return [
            {"kind": kind, "api_found": True, "resources": [], "forbidden": True}
            if kind in self.forbidden
            else {"kind": kind, "api_found": True, "resources": each}
            for kind, each in zip(kinds, found)
        ]

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    def log(self, *arguments: Any) -> list[str]:
        self.logs.append(arguments)
        return ["it is broken"]

    def wait(self, *objects: Thing, timeout: int = 300, seen: Sequence[Thing] = ()) -> dict[str, list[str]]:
        wanted = objects or [one for one in self.things if one.get("apiVersion")]
        return wait_for_rollout(
            self.read, wanted, True, timeout, log=self.log, warn=self.warnings.append, seen=seen
        )  # fmt: skip

    def failure(self, *objects: Thing, timeout: int = 300, seen: Sequence[Thing] = ()) -> UnfinishedError:
        with pytest.raises(UnfinishedError) as caught:
            self.wait(*objects, timeout=timeout, seen=seen)
        return caught.value


def _found(query: Any, things: Sequence[Thing]) -> list[Thing]:
    labels = [selector.split("=") for selector in query.get("label_selectors") or []]
    return [
        one
        for one in things
        if one["kind"] == query["kind"]
        and query.get("name") in (None, one["metadata"]["name"])
        and query.get("namespace") in (None, one["metadata"].get("namespace"))
        and all((one["metadata"].get("labels") or {}).get(key) == value for key, value in labels)
    ]


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Cluster]:
    def make(*things: Thing, **more: Any) -> Cluster:
        made = Cluster(*things, **more)
        monkeypatch.setattr("time.monotonic", lambda: made.now)
        monkeypatch.setattr("time.sleep", made.sleep)
        return made

    return make


MISSING = "web:9: not found"  # an image that does not exist
LATER = "dial tcp: lookup registry.example.org: no such host"


def test_complete_objects_are_read_once(cluster: Any) -> None:
    there = cluster(workload(True), service("172.16.0.100"))
    assert there.wait() == {"home/web": ["172.16.0.100"]}
    assert there.looks == [["Deployment", "Service"]]
    assert there.now == 0


def test_objects_known_to_be_complete_are_not_read(cluster: Any) -> None:
    there = cluster(workload(True), service("172.16.0.100"))
    assert there.wait(seen=there.things) == {"home/web": ["172.16.0.100"]}
    assert there.looks == []


def test_only_objects_not_known_to_be_complete_are_read(cluster: Any) -> None:
    there = cluster(workload(True), service("172.16.0.100"))
    assert there.wait(seen=[workload(True), service()]) == {"home/web": ["172.16.0.100"]}
    assert there.looks == [["Service"]]


def test_empty_wait_reads_nothing(cluster: Any) -> None:
    there = cluster()
    config = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "web", "namespace": "home"}}
    assert there.wait(config) == {}
    assert there.looks == []


def test_a_reference_is_enough(cluster: Any) -> None:
    there = cluster(workload(True))
    assert there.wait(REFERENCE) == {}
    assert there.looks == [["Deployment"]]


def test_objects_are_read_in_one_exchange(cluster: Any) -> None:
    there = cluster(
        workload(False), workload(False, "slow"), changes={1: [workload(True)], 2: [workload(True, "slow")]}
    )
    there.wait()
    first, second, *dummy, last = there.looks
    assert first == ["Deployment", "Deployment"]
    assert second == ["Deployment", "Pod", "Deployment", "Pod", "Node"]
    # Complete objects are not read again, and nodes are read every five seconds.
    assert last == ["Deployment", "Pod"]
    assert 2 <= there.now < 3


def test_incomplete_workload_is_read_with_its_pods(cluster: Any) -> None:
    there = cluster(workload(True))
    there.wait(seen=[workload(False)])
    assert there.looks == [["Deployment", "Pod", "Node"]]


def test_hopeless_workload_ends_the_wait_at_once(cluster: Any) -> None:
    there = cluster(workload(False), pod(MISSING), replica_set("web"), event("no such image"))
    error = there.failure()
    assert there.now == 0
    assert error.unfinished == ["Deployment home/web"]
    assert str(error).splitlines() == [
        "the rollout is not complete after 0 s, and no waiting will help.",
        "Deployment home/web: pods: 1 wanted, 1 up to date, 0 available",
        "  pod web-1, container web: ErrImagePull: " + MISSING,
        "    the image cannot be pulled: see that it exists, that its name and tag are spelt right, and that the nodes "
        "reach its registry and may read it",
        "  events:",
        "    Failed: no such image",
    ]


def test_pods_of_an_earlier_revision_do_not_end_the_wait(cluster: Any) -> None:
    old = replica_set("web")
    old["metadata"]["annotations"] = {"deployment.kubernetes.io/revision": "0"}
    there = cluster(workload(False), pod(MISSING), old, changes={7: [workload(True)]})
    there.wait()
    assert 7 <= there.now < 9


@pytest.mark.parametrize(
    ("other", "changes", "seconds"),
    [
        # The slow workload is awaited before the broken one is reported.
        (workload(False, "slow"), {5: [workload(True, "slow")]}, 5),
        # A Service without an address does not prolong it.
        (service(), {}, 0),
    ],
)
def test_hopeless_workload_does_not_end_the_wait_for_others(
    cluster: Any, other: Thing, changes: dict[int, list[Thing]], seconds: int
) -> None:
    there = cluster(workload(False, "broken"), other, pod(MISSING, "broken"), replica_set("broken"), changes=changes)
    error = there.failure()
    assert "Deployment home/broken" in error.unfinished
    assert seconds <= there.now < seconds + 1.5


def test_timeout_is_explained(cluster: Any) -> None:
    there = cluster(workload(False), pod(LATER), service())
    error = there.failure(timeout=20)
    assert 20 < there.now < 22
    assert error.unfinished == ["Deployment home/web", "Service home/web"]
    said = str(error).splitlines()
    assert said[0].startswith("the rollout is not complete after 20 s.")
    assert "Service home/web: no load balancer has given it an address" in said
    assert any("MetalLB" in line for line in said)


def test_the_last_lines_of_a_container_are_shown(cluster: Any) -> None:
    crashed = pod("back-off")
    crashed["status"]["containerStatuses"][0]["lastState"] = {"terminated": {"exitCode": 1, "reason": "Error"}}
    there = cluster(workload(False), crashed)
    said = str(there.failure(timeout=3)).splitlines()
    assert there.logs == [("home", "web-1", "web", 10)]
    assert "    | it is broken" in said


def test_removed_object_is_awaited_and_named(cluster: Any) -> None:
    error = cluster().failure(REFERENCE, timeout=3)
    assert error.unfinished == ["Deployment home/web"]
    assert "Deployment home/web: its controller has not seen the change yet" in str(error)


UNPLACED = pod()
CLAIM = {
    "kind": "PersistentVolumeClaim",
    "metadata": {"name": "data", "namespace": "home"},
    "spec": {},
    "status": {"phase": "Pending"},
}


def test_unbound_claim_ends_the_wait_after_its_grace_period(cluster: Any) -> None:
    there = cluster(workload(False), UNPLACED, CLAIM)
    error = there.failure()
    assert GRACE < there.now < GRACE + 2
    assert str(error).splitlines()[0].endswith("and no waiting will help.")
    assert (
        "  PersistentVolumeClaim home/data waits: it names no storage class, and the cluster has no default one"
        in str(error).splitlines()
    )
    # Before that, claims are not read.
    assert sum("PersistentVolumeClaim" in kinds for kinds in there.looks) == 1


@pytest.mark.parametrize("kind", ["StorageClass", "PersistentVolumeClaim", "Event"])
def test_without_access_to_claims_the_pods_are_explained(cluster: Any, kind: str) -> None:
    there = cluster(workload(False), UNPLACED, CLAIM, forbidden=[kind])
    error = there.failure(timeout=GRACE + 10)
    assert there.now > GRACE + 10
    assert "PersistentVolumeClaim home/data" not in str(error)
    assert "pod web-1: Unschedulable" in str(error)
    assert sum(kind in kinds for kinds in there.looks) == 1


def test_without_access_to_nodes_the_rollout_is_awaited(cluster: Any) -> None:
    there = cluster(workload(False), pod(LATER), forbidden=["Node"], changes={8: [workload(True)]})
    there.wait()
    assert sum("Node" in kinds for kinds in there.looks) == 1


def test_missing_access_to_pods_is_named(cluster: Any) -> None:
    with pytest.raises(RuntimeError, match="forbidden"):
        cluster(workload(False), forbidden=["Pod"]).wait()


def test_lost_node_ends_the_wait_at_once(cluster: Any) -> None:
    daemons = workload(False, kind="DaemonSet", **DAEMONS)
    there = cluster(daemons, node("n1", "True"), node("n2", "Unknown"), pod(LATER, node="n2"))
    first, second, *dummy = str(there.failure()).splitlines()
    assert there.now == 0
    assert first == "the rollout is not complete after 0 s, and no waiting will help."
    assert second.startswith("the node n2 is NotReady (KubeletNotReady: no CNI), and pods on it do not become ready")


def test_a_node_that_may_become_ready_is_named_while_the_rollout_is_awaited(cluster: Any) -> None:
    daemons = workload(False, kind="DaemonSet", **DAEMONS)
    there = cluster(daemons, node("n1", "True"), node("n2", "False"), pod(LATER, node="n2"))
    error = there.failure(timeout=12)
    assert [warning.partition(" (")[0] for warning in there.warnings] == ["the node n2 is NotReady"]
    assert str(error).splitlines()[1] == there.warnings[0]
    assert sum("Node" in kinds for kinds in there.looks) == 3  # every five seconds


def test_pods_that_can_move_to_another_node_are_awaited(cluster: Any) -> None:
    """A Deployment whose pods start on other nodes does not fail for the DaemonSet's pod on a lost one."""
    daemons = workload(False, "agent", "DaemonSet", **DAEMONS)
    there = cluster(daemons, workload(False), node("n2", "Unknown"), pod(LATER, "agent", "n2"))
    error = there.failure(timeout=6)
    assert str(error).splitlines()[0] == "the rollout is not complete after 6 s."
