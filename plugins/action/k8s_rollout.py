# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Asks kubernetes.core.k8s_info until workloads have rolled out; see the module's documentation for what it does, and
module_utils/_k8s_rollout.py for how it knows that they have, and why not."""

from __future__ import annotations

import collections
import time
from typing import Any

from ansible.errors import AnsibleActionFail

from ansible_collections.homelab.loadbalancer.plugins.module_utils import _k8s_rollout as rollout
from ansible_collections.homelab.loadbalancer.plugins.module_utils._external_access_view import full_name, view
from ansible_collections.homelab.loadbalancer.plugins.plugin_utils._k8s_action import ACCESS, K8sAction

ARGUMENTS: dict[str, dict[str, Any]] = {
    "definitions": {"type": "list", "elements": "dict", "required": True},
    "addresses": {"type": "bool", "default": False},
    "timeout": {"type": "int", "default": 300},
    **ACCESS,
}
INTERVAL = 1.0  # seconds between looks


class ActionModule(K8sAction):
    """Waits, and when that fails gathers what explains it."""

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result: dict[str, Any] = super().run(tmp, task_vars)
        definitions = self._begin(ARGUMENTS, task_vars)
        wanted = rollout.awaited(definitions, self._options["addresses"])
        lives = [] if self._task.check_mode else self._wait(wanted)
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
        while wanted:
            lives = [self._live(entry) for entry in wanted]
            complete += [live for live in lives if not rollout.unfinished(live)]
            pending = [(entry, live) for entry, live in zip(wanted, lives) if rollout.unfinished(live)]
            wanted, lives = [entry for entry, dummy in pending], [live for dummy, live in pending]
            found = [rollout.troubles(self._pods(live)) for live in lives]
            waited = time.monotonic() - start
            late = waited > self._options["timeout"]
            if lives and (late or any(map(self._hopeless, lives, found))):
                raise AnsibleActionFail(self._report(lives, found, waited, late))
            time.sleep(INTERVAL if wanted else 0)
        return complete

    def _hopeless(self, live: dict[str, Any], troubles: list[rollout.Trouble]) -> bool:
        """Whether waiting is of no use, as far as that can be known: of Deployments only."""
        if live["kind"] != "Deployment" or not rollout.hopeless([live], troubles):
            return False
        selectors = rollout.selectors_of(live)
        sets = self._info("apps/v1", "ReplicaSet", live["metadata"]["namespace"], label_selectors=selectors)
        return rollout.hopeless(*rollout.present(live, sets, troubles))

    def _report(
        self, lives: list[dict[str, Any]], found: list[list[rollout.Trouble]], waited: float, late: bool
    ) -> str:
        lines = []
        for live, troubles in zip(lives, found):
            events = self._info("v1", "Event", live["metadata"]["namespace"])
            logs = {
                (trouble.pod, trouble.container): self._log(trouble)
                for trouble in troubles[: rollout.MAX_PODS]
                if trouble.logged
            }
            pending = self._pending(live, events) if live["kind"] == "Service" else None
            lines += rollout.explain(live, troubles, events, logs, pending)
        after = "after %d s" % waited + ("" if late else ", and no waiting will help")
        return "the rollout is not complete %s.\n%s" % (after, "\n".join(lines))

    def _pending(self, service: dict[str, Any], events: list[dict[str, Any]]) -> dict[str, str]:
        """Why a Service has no address, and what to do."""
        objects: dict[str, list[dict[str, Any]]] = collections.defaultdict(list)
        objects.update(Service=[service], Event=events)
        objects["IPAddressPool"] = self._info("metallb.io/v1beta1", "IPAddressPool", None)
        # As MetalLB's manifests label its pods, and as its Helm chart does.
        for label in ("app=metallb", "app.kubernetes.io/name=metallb"):
            objects["Pod"] += self._info("v1", "Pod", None, label_selectors=[label])
        pending: dict[str, str] = view(objects, [full_name(service)], [])["services"][0]["pending"]
        return pending

    def _live(self, entry: dict[str, Any]) -> dict[str, Any]:
        """The object as it is in the cluster; as it is declared when somebody has removed it since."""
        metadata = entry["metadata"]
        found = self._info(entry["apiVersion"], entry["kind"], metadata.get("namespace"), name=metadata["name"])
        return found[0] if found else {**entry, "metadata": {**metadata, "generation": 1}}

    def _pods(self, live: dict[str, Any]) -> list[dict[str, Any]]:
        selectors = rollout.selectors_of(live)
        if not selectors:
            return []
        return self._info("v1", "Pod", live["metadata"]["namespace"], label_selectors=selectors)

    def _info(self, api_version: str, kind: str, namespace: str | None, **more: Any) -> list[dict[str, Any]]:
        arguments = {"api_version": api_version, "kind": kind, "namespace": namespace, **more}
        resources: list[dict[str, Any]] = self._run_module("kubernetes.core.k8s_info", arguments, False)["resources"]
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
