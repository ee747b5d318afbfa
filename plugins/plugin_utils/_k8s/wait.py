# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Wait until workloads have rolled out and Services have their addresses, or explain why they do not.

A callable reads the cluster, so nothing here depends on HTTP. One poll is one call with all queries, which it may send
in parallel. If the answers show that more is needed for a judgement, another poll follows at once.
"""

from __future__ import annotations

import collections
import time
from typing import Any, Callable, Iterable, List, Mapping, Optional, Sequence

from ...module_utils._common.printable import printable
from .._common.objects import name_of
from .._k8s_explain import claims, rollout
from .._k8s_explain.metallb import full_name
from .._k8s_explain.nodes import Hindrance, hindrances
from .._k8s_explain.services import view
from .model import Answer, Object, Query

Read = Callable[[Sequence[Query]], Sequence[Answer]]
# Returns the last lines of a container's log, by its namespace, pod, name and number of lines.
Log = Callable[[str, str, str, int], Sequence[str]]
Found = List[Any]  # objects as the API server returns them
Heard = Optional[Found]  # None if they may not be read

# Seconds between polls: they double from the first value to the second.
SHORTEST, LONGEST = 0.25, 1.0
NODES_INTERVAL = 5.0  # seconds between reads of the nodes
NODES = {"kind": "Node"}
CLASSES = {"kind": "StorageClass", "api_version": "storage.k8s.io/v1"}
POOLS = {"kind": "IPAddressPool", "api_version": "metallb.io/v1beta1"}
# MetalLB's pods, labelled by its manifests or by its Helm chart.
METALLB = ("app=metallb", "app.kubernetes.io/name=metallb")
# Queries that only explain: without permission for them a report has only the pods' reasons.
EXPLAINING = frozenset(["Event", "Node", "PersistentVolumeClaim", "StorageClass"])


class UnfinishedError(Exception):
    """The reason why the wait ended before all objects were complete, and the names of incomplete objects."""

    def __init__(self, message: str, unfinished: Sequence[str]) -> None:
        super().__init__(message)
        self.unfinished = list(unfinished)


def wait_for_rollout(
    read: Read,
    objects: Sequence[Object],
    addresses: bool,
    timeout: float,
    *,
    log: Log,
    warn: Callable[[str], None],
    seen: Iterable[Object] = (),
) -> dict[str, list[str]]:
    """Wait until all objects are complete; return the addresses of the Services by `namespace/name`.

    addresses -- also wait for the addresses of Services of type LoadBalancer
    timeout -- seconds for all objects together
    seen -- recently read objects: complete ones are not read again

    Raises UnfinishedError at the timeout, or earlier if no workload can recover by waiting.
    """
    known = {_key(one): one for one in seen}
    entries = [_Entry(one, known.get(_key(one))) for one in rollout.awaited(list(map(dict, objects)), addresses)]
    _Waiting(read, log, warn, timeout).wait([entry for entry in entries if not entry.complete])
    return {full_name(entry.live): rollout.addresses_of(entry.live) for entry in entries if entry.kind == "Service"}


class _Entry:
    """An awaited object, and the results of its last poll."""

    def __init__(self, declared: dict[str, Any], live: Object | None) -> None:
        metadata = {"namespace": "default", **declared["metadata"]}
        self.kind: str = declared["kind"]
        self.own: Query = {
            "api_version": declared["apiVersion"],
            "kind": self.kind,
            "namespace": metadata["namespace"],
            "name": metadata["name"],
        }
        # The declared object, used if the object has been removed since.
        self.declared: Object = {**declared, "metadata": {**metadata, "generation": 1}}
        self.known = live is not None
        self.live: Any = live or self.declared
        self.found: dict[str, Heard] = {}  # by kind

    @property
    def complete(self) -> bool:
        return self.known and not rollout.unfinished(self.live)

    @property
    def pods(self) -> Found:
        return self.found.get("Pod") or []

    @property
    def troubles(self) -> list[rollout.Trouble]:
        return rollout.troubles(self.pods)

    @property
    def suspicious(self) -> bool:
        """Whether waiting is useless, unless the troubled pods belong to an earlier revision.

        Only for Deployments: their ReplicaSets tell the revision.
        """
        return self.kind == "Deployment" and rollout.hopeless([self.live], self.troubles)

    @property
    def hopeless(self) -> bool:
        if not self.suspicious:
            return False
        return rollout.hopeless(*rollout.present(self.live, self.found.get("ReplicaSet") or [], self.troubles))

    @property
    def claims(self) -> dict[str, claims.Waiting]:
        """The reasons why the pods' claims have no volume, if the last poll read the claims."""
        names = claims.claims_of(self.live, self.pods)
        told = [self.found.get(kind) for kind in ("PersistentVolumeClaim", "StorageClass", "Event")]
        heard = [resources for resources in told if resources is not None]
        return claims.waiting(names, *heard) if names and heard == told else {}

    def queries(self, grace: bool) -> list[Query]:
        """The queries of the next poll, depending on the last answers.

        grace -- whether enough time for creating volumes has passed
        """
        selectors = rollout.selectors_of(self.live) if self.known else []
        inside = {"namespace": self.own["namespace"]}
        asked = [self.own]
        if selectors:
            asked.append({"kind": "Pod", **inside, "label_selectors": selectors})
        if selectors and self.suspicious:
            sets = {"kind": "ReplicaSet", "api_version": "apps/v1", **inside, "label_selectors": selectors}
            asked.append(sets)
        if grace and claims.claims_of(self.live, self.pods):
            asked += [{"kind": "PersistentVolumeClaim", **inside}, CLASSES, {"kind": "Event", **inside}]
        return asked

    def take(self, queries: Sequence[Query], answers: Sequence[Heard]) -> None:
        self.found = {query["kind"]: resources for query, resources in zip(queries, answers)}
        own = self.found[self.kind]
        self.known, self.live = True, own[0] if own else self.declared

    def lacks(self, grace: bool) -> bool:
        """Whether the last poll lacked a query that is needed to judge its answers."""
        return any(query["kind"] not in self.found for query in self.queries(grace))


class _Waiting:
    """Polls objects until they are complete, or until it is certain that they will not be."""

    def __init__(self, read: Read, log: Log, warn: Callable[[str], None], timeout: float) -> None:
        self.reader, self.log, self.timeout = _Reader(read), log, timeout
        self.nodes = _Nodes(warn)
        self.start = time.monotonic()

    def wait(self, entries: list[_Entry]) -> None:
        """Poll objects; one that is complete is not read again."""
        pause = SHORTEST
        while entries:
            self._look(entries)
            entries = [entry for entry in entries if not entry.complete]
            if entries and not any(entry.lacks(self._grace()) for entry in entries):
                self._judge(entries)
                time.sleep(pause)
                pause = min(2 * pause, LONGEST)

    def _waited(self) -> float:
        return time.monotonic() - self.start

    def _grace(self) -> bool:
        return self._waited() > min(claims.GRACE, self.timeout)

    def _look(self, entries: Sequence[_Entry]) -> None:
        waited, grace = self._waited(), self._grace()
        asked = [entry.queries(grace) for entry in entries]
        pods_asked = any(query["kind"] == "Pod" for queries in asked for query in queries)
        nodes = [NODES] if pods_asked and self.nodes.due(waited) else []
        answers = iter(self.reader.ask([*(query for queries in asked for query in queries), *nodes]))
        for entry, queries in zip(entries, asked):
            entry.take(queries, [next(answers) for dummy in queries])
        if nodes:
            self.nodes.take(next(answers), waited)

    def _judge(self, entries: Sequence[_Entry]) -> None:
        """Raise UnfinishedError at the timeout, or if waiting helps no workload.

        A hopeless workload does not end the wait for others. A Service without an address has no pods, and does not
        prolong the wait.
        """
        late = self._waited() > self.timeout
        hindering = self.nodes.hinder([entry.pods for entry in entries])
        workloads = [pair for pair in zip(entries, hindering) if pair[0].kind != "Service"]
        if late or (workloads and all(_in_vain(*pair) for pair in workloads)):
            report = self.nodes.explain(self._report(entries, late))
            raise UnfinishedError(printable(report), [name_of(entry.live) for entry in entries])

    def _report(self, entries: Sequence[_Entry], late: bool) -> str:
        after = "after %d s" % self._waited() + ("" if late else ", and no waiting will help")
        events: list[Query] = [{"kind": "Event", "namespace": entry.own["namespace"]} for entry in entries]
        metallb: list[Query] = [POOLS, *({"kind": "Pod", "label_selectors": [label]} for label in METALLB)]
        services = any(entry.kind == "Service" for entry in entries)
        found = self.reader.ask([*events, *(metallb if services else [])], explaining=True)
        pools, *pods = found[len(events) :] or [[]]
        lines = []
        for entry, said in zip(entries, (each or [] for each in found)):
            pending = _pending(entry.live, said, pools or [], pods) if entry.kind == "Service" else None
            head, *rest = rollout.explain(entry.live, entry.troubles, said, self._logs(entry), pending)
            lines += [head, *claims.explained(entry.own["namespace"], entry.claims), *rest]
        return "the rollout is not complete %s.\n%s" % (after, "\n".join(lines))

    def _logs(self, entry: _Entry) -> dict[tuple[str, str], Sequence[str]]:
        return {
            (trouble.pod, trouble.container): self.log(
                trouble.namespace, trouble.pod, trouble.container, rollout.MAX_LINES
            )
            for trouble in entry.troubles[: rollout.MAX_PODS]
            if trouble.logged
        }


class _Reader:
    """Reads the cluster. A forbidden explaining query is not repeated."""

    def __init__(self, read: Read) -> None:
        self.read = read
        self.refused: set[str] = set()  # kinds

    def ask(self, queries: Sequence[Query], explaining: bool = False) -> list[Heard]:
        """The objects for each query, or None if it is refused; equal queries are sent once.

        explaining -- all queries only explain
        """
        wanted: list[Query] = []
        for query in queries:
            if query not in wanted and query["kind"] not in self.refused:
                wanted.append(query)
        optional = [{**query, "optional": explaining or query["kind"] in EXPLAINING} for query in wanted]
        found: list[Heard] = []
        for answer in self.read(optional) if optional else ():
            if answer.get("forbidden"):
                self.refused.add(answer["kind"])
            found.append(None if answer.get("forbidden") else list(answer["resources"]))
        return [found[wanted.index(query)] if query in wanted else None for query in queries]


class _Nodes:
    """The nodes that hinder pods. They are reported as soon as they are found, while others may still become ready."""

    def __init__(self, warn: Callable[[str], None]) -> None:
        self.warn = warn
        self.looked: float | None = None
        self.nodes: Found = []
        self.named: set[str] = set()
        self.found: dict[str, Hindrance] = {}

    def due(self, waited: float) -> bool:
        return self.looked is None or waited - self.looked >= NODES_INTERVAL

    def take(self, nodes: Heard, waited: float) -> None:
        self.nodes, self.looked = nodes or [], waited

    def hinder(self, pods: Sequence[Found]) -> list[list[Hindrance]]:
        """The nodes that hinder the pods of each workload."""
        found = [hindrances(each, self.nodes) for each in pods]
        self.found = {node.said: node for each in found for node in each}
        for said in self.found.keys() - self.named:
            self.warn("%s: %s" % (said, self.found[said].remedy))
        self.named |= self.found.keys()
        return found

    def explain(self, report: str) -> str:
        """The report, with the nodes as its first cause."""
        head, dummy, rest = report.partition("\n")
        return "\n".join([head, *("%s: %s" % (one.said, one.remedy) for one in self.found.values()), rest])


def _in_vain(entry: _Entry, hindering: Sequence[Hindrance]) -> bool:
    lost = any(node.lost for node in hindering)
    return lost or any(why.stuck for why in entry.claims.values()) or entry.hopeless


def _pending(service: dict[str, Any], events: Found, pools: Found, pods: Sequence[Heard]) -> dict[str, str]:
    """The reason why a Service has no address, and a remedy."""
    there = [pod for each in pods for pod in each or []]
    objects: dict[str, Found] = collections.defaultdict(list)
    objects.update(Service=[service], Event=events, IPAddressPool=pools, Pod=there)
    pending: dict[str, str] = view(objects, [full_name(service)], [])["services"][0]["pending"]
    return pending


def _key(thing: Mapping[str, Any]) -> tuple[str, str, str]:
    metadata = thing["metadata"]
    return thing["kind"], metadata.get("namespace") or "default", metadata["name"]
