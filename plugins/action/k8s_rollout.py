# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads the cluster until workloads have rolled out; see the module's documentation for what it does, and
module_utils/_k8s_rollout.py for how it knows that they have, and why not."""

from __future__ import annotations

import collections
import time
from typing import Any

from ansible.errors import AnsibleActionFail

from ansible_collections.homelab.loadbalancer.plugins.module_utils import _k8s_claims as claims
from ansible_collections.homelab.loadbalancer.plugins.module_utils import _k8s_rollout as rollout
from ansible_collections.homelab.loadbalancer.plugins.module_utils._external_access_metallb import full_name
from ansible_collections.homelab.loadbalancer.plugins.module_utils._external_access_view import view
from ansible_collections.homelab.loadbalancer.plugins.module_utils._k8s_nodes import Hindrance, hindrances
from ansible_collections.homelab.loadbalancer.plugins.module_utils._k8s_objects import is_ready, name_of
from ansible_collections.homelab.loadbalancer.plugins.module_utils._printable import printable
from ansible_collections.homelab.loadbalancer.plugins.plugin_utils._k8s_action import K8sAction

ARGUMENTS: dict[str, dict[str, Any]] = {
    "definitions": {"type": "list", "elements": "dict", "required": True},
    "addresses": {"type": "bool", "default": False},
    "timeout": {"type": "int", "default": 300},
}
INTERVAL = 1.0  # seconds between looks
NODES_INTERVAL = 5.0  # and at nodes


class UnfinishedError(Exception):
    """Why waiting ended before all objects were complete."""

    def __init__(self, message: str, lives: list[dict[str, Any]]) -> None:
        super().__init__(message)
        self.lives = lives


class ActionModule(K8sAction):
    """Waits, and when that fails gathers what explains it."""

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result: dict[str, Any] = super().run(tmp, task_vars)
        self._begin(ARGUMENTS, task_vars)
        wanted = rollout.awaited(self._definitions(), self._options["addresses"])
        try:
            lives = [] if self._task.check_mode else self._wait(wanted)
        except UnfinishedError as error:
            unfinished = [name_of(live) for live in error.lives]
            return {**result, "failed": True, "msg": str(error), "unfinished": unfinished}
        addresses = {
            "%s/%s" % (live["metadata"]["namespace"], live["metadata"]["name"]): rollout.addresses_of(live)
            for live in lives
            if live["kind"] == "Service"
        }
        return {**result, "changed": False, "addresses": addresses}

    def _wait(self, wanted: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """The objects when they are complete. Those that are so once are not asked for again."""
        start = time.monotonic()
        complete: list[dict[str, Any]] = []
        nodes = _Nodes(self)
        while wanted:
            lives = self._lives(wanted)
            complete += [live for live in lives if not rollout.unfinished(live)]
            pending = [(entry, live) for entry, live in zip(wanted, lives) if rollout.unfinished(live)]
            wanted, lives = [entry for entry, dummy in pending], [live for dummy, live in pending]
            pods = self._pods(lives)
            found = [rollout.troubles(one) for one in pods]
            waited = time.monotonic() - start
            late = waited > self._options["timeout"]
            grace = late or waited > claims.GRACE
            unbound = [self._unbound(*pair) if grace else {} for pair in zip(lives, pods)]
            hindering = nodes.hinder(pods, waited)
            # Who waits in vain does not end the waiting for the others. A Service without an address, which has no
            # pods, does not prolong it.
            workloads = [each for each in zip(lives, found, unbound, hindering) if each[0]["kind"] != "Service"]
            if lives and (late or (workloads and all(self._in_vain(*each) for each in workloads))):
                report = nodes.explain(self._report(lives, found, unbound, waited, late))
                raise UnfinishedError(printable(report), lives)
            time.sleep(INTERVAL if wanted else 0)
        return complete

    def _in_vain(
        self,
        live: dict[str, Any],
        troubles: list[rollout.Trouble],
        unbound: dict[str, claims.Waiting],
        hindering: list[Hindrance],
    ) -> bool:
        lost = any(node.lost for node in hindering)
        return lost or any(why.stuck for why in unbound.values()) or self._hopeless(live, troubles)

    def _hopeless(self, live: dict[str, Any], troubles: list[rollout.Trouble]) -> bool:
        """Whether waiting is of no use, as far as that can be known: of Deployments only."""
        if live["kind"] != "Deployment" or not rollout.hopeless([live], troubles):
            return False
        return rollout.hopeless(*rollout.present(live, self._info(_of(live, "ReplicaSet", "apps/v1")), troubles))

    def _unbound(self, live: dict[str, Any], pods: list[dict[str, Any]]) -> dict[str, claims.Waiting]:
        """Why claims that the pods of a workload wait for have no volume."""
        names = claims.claims_of(live, pods)
        if not names:
            return {}
        inside = {"namespace": live["metadata"]["namespace"]}
        queries = [
            {"kind": "PersistentVolumeClaim", **inside},
            {"kind": "StorageClass", "api_version": "storage.k8s.io/v1"},
            {"kind": "Event", **inside},
        ]
        try:
            return claims.waiting(names, *(answer["resources"] for answer in self._read(queries)))
        except AnsibleActionFail:
            return {}  # who may not read StorageClasses hears the pods' reasons alone

    def _report(
        self,
        lives: list[dict[str, Any]],
        found: list[list[rollout.Trouble]],
        unbound: list[dict[str, claims.Waiting]],
        waited: float,
        late: bool,
    ) -> str:
        lines = []
        for live, troubles, waiting in zip(lives, found, unbound):
            events = self._info({"kind": "Event", "namespace": live["metadata"]["namespace"]})
            logs = {
                (trouble.pod, trouble.container): self._log(trouble)
                for trouble in troubles[: rollout.MAX_PODS]
                if trouble.logged
            }
            pending = self._pending(live, events) if live["kind"] == "Service" else None
            head, *rest = rollout.explain(live, troubles, events, logs, pending)
            lines += [head, *claims.explained(live["metadata"]["namespace"], waiting), *rest]
        after = "after %d s" % waited + ("" if late else ", and no waiting will help")
        return "the rollout is not complete %s.\n%s" % (after, "\n".join(lines))

    def _pending(self, service: dict[str, Any], events: list[dict[str, Any]]) -> dict[str, str]:
        """Why a Service has no address, and what to do."""
        objects: dict[str, list[dict[str, Any]]] = collections.defaultdict(list)
        objects.update(Service=[service], Event=events)
        # MetalLB's pods, as its manifests label them, and as its Helm chart does.
        labels = ("app=metallb", "app.kubernetes.io/name=metallb")
        pools, *pods = self._read(
            [
                {"api_version": "metallb.io/v1beta1", "kind": "IPAddressPool"},
                *({"kind": "Pod", "label_selectors": [label]} for label in labels),
            ]
        )
        objects["IPAddressPool"] = pools["resources"]
        objects["Pod"] = [pod for answer in pods for pod in answer["resources"]]
        pending: dict[str, str] = view(objects, [full_name(service)], [])["services"][0]["pending"]
        return pending

    def _lives(self, wanted: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """The objects as they are in the cluster; as they are declared when somebody has removed them since."""
        queries = [
            {
                "api_version": entry["apiVersion"],
                "kind": entry["kind"],
                "namespace": entry["metadata"].get("namespace"),
                "name": entry["metadata"]["name"],
            }
            for entry in wanted
        ]
        return [
            answer["resources"][0]
            if answer["resources"]
            else {**entry, "metadata": {**entry["metadata"], "generation": 1}}
            for entry, answer in zip(wanted, self._read(queries))
        ]

    def _pods(self, lives: list[dict[str, Any]]) -> list[list[dict[str, Any]]]:
        """The pods of each object. A Service has none here."""
        queries = [_of(live, "Pod", "v1") if rollout.selectors_of(live) else None for live in lives]
        asked = [query for query in queries if query]
        answers = iter(self._read(asked) if asked else [])
        return [next(answers)["resources"] if query else [] for query in queries]

    def _info(self, query: dict[str, Any]) -> list[dict[str, Any]]:
        """What one query finds."""
        resources: list[dict[str, Any]] = self._read([query])[0]["resources"]
        return resources

    def _log(self, trouble: rollout.Trouble) -> list[str]:
        """The last lines of a container. There may be none any more, and then there is nothing to show."""
        arguments = {
            "name": trouble.pod,
            "namespace": trouble.namespace,
            "container": trouble.container,
            "tail_lines": rollout.MAX_LINES,
        }
        try:
            return list(self._run_module("kubernetes.core.k8s_log", arguments, False)["log_lines"])
        except AnsibleActionFail:
            return []


class _Nodes:
    """The nodes that hinder pods. They are named as soon as they are seen, while others may still become ready."""

    def __init__(self, action: ActionModule) -> None:
        self.action = action
        self.looked: float | None = None
        self.nodes: list[dict[str, Any]] = []
        self.named: set[str] = set()
        self.found: dict[str, Hindrance] = {}

    def hinder(self, pods: list[list[dict[str, Any]]], waited: float) -> list[list[Hindrance]]:
        """Which nodes hinder the pods of each workload."""
        if self.looked is None or waited - self.looked >= NODES_INTERVAL:
            self.looked = waited
            self.nodes = self._read() if not all(is_ready(pod) for each in pods for pod in each) else []
        found = [hindrances(each, self.nodes) for each in pods]
        self.found = {node.said: node for each in found for node in each}
        for said in self.found.keys() - self.named:
            self.action._display.warning("%s: %s" % (said, self.found[said].remedy))
        self.named |= self.found.keys()
        return found

    def explain(self, report: str) -> str:
        """The report with the nodes as its first cause."""
        head, dummy, rest = report.partition("\n")
        return "\n".join([head, *("%s: %s" % (one.said, one.remedy) for one in self.found.values()), rest])

    def _read(self) -> list[dict[str, Any]]:
        try:
            return self.action._info({"kind": "Node"})
        except AnsibleActionFail:
            return []  # who may not read nodes hears the pods' reasons alone


def _of(live: dict[str, Any], kind: str, api_version: str) -> dict[str, Any]:
    """A query for the objects that a workload's labels choose."""
    selectors = rollout.selectors_of(live)
    namespace = live["metadata"]["namespace"]
    return {"kind": kind, "api_version": api_version, "namespace": namespace, "label_selectors": selectors}
