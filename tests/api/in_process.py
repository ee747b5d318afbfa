# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Action plugins, planners and the engine in this process, without ansible-playbook."""

from __future__ import annotations

import contextlib
import importlib
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Callable, Iterator, Mapping

from ansible.errors import AnsibleActionFail
from ansible.parsing.dataloader import DataLoader

from ansible_collections.homelab.loadbalancer.plugins.module_utils._common.errors import InputError
from ansible_collections.homelab.loadbalancer.plugins.plugin_utils._common.objects import MANAGER
from ansible_collections.homelab.loadbalancer.plugins.plugin_utils._k8s.access import Access
from ansible_collections.homelab.loadbalancer.plugins.plugin_utils._k8s.engine import Engine, make_plan
from ansible_collections.homelab.loadbalancer.plugins.plugin_utils._k8s.model import Apply, Outcome, Plan, Planner
from ansible_collections.homelab.loadbalancer.plugins.plugin_utils._k8s.server import Server
from ansible_collections.homelab.loadbalancer.tests.api.api_server import ApiServer


class Cluster:
    """An API server for one task after another: each has a server of its own, as tasks of Ansible have.

    kubeconfig -- of one that stands before it, for instance; the administrator's by default
    here -- it is not in the API server's network, but in this process's own
    folder -- where kinds are kept from one task to the next, as in one run of Ansible
    """

    def __init__(
        self, api: ApiServer, kubeconfig: Path | None = None, here: bool = False, folder: Path | None = None
    ) -> None:
        self._folder = str(folder or "")
        self._network = "" if here else "/run/netns/" + api.name
        self._kubeconfig = str(kubeconfig or api.kubeconfig)
        self.warnings: list[str] = []

    def server(self) -> Server:
        access = Access(self._kubeconfig, "", None, "", namespace=self._network)
        return Server(access.exchange, self._folder, access.key)

    def run(self, plan: Plan, check_mode: bool = False, manager: str = MANAGER) -> Outcome:
        """Carry out a plan. Raises the engine's errors."""
        return Engine(self.server(), check_mode, self.warnings.append, manager).run(plan)

    def apply(self, *objects: Any, check_mode: bool = False, **options: Any) -> Outcome:
        """Apply objects in one step."""
        return self.run(Plan(steps=[Apply(objects, **options)]), check_mode)

    def module(self, planner: Planner, options: Mapping[str, Any], check_mode: bool = False) -> dict[str, Any]:
        """The result of a role's module. `options` has them all, with their defaults. Raises InputError for refusals,
        and the engine's errors."""
        server = self.server()
        plan = make_plan(server, planner, options)
        refused = plan.refused(check_mode)
        if refused:
            raise InputError("\n".join(refused))
        outcome = Engine(server, check_mode, self.warnings.append).run(plan)
        told = {"changed": bool(outcome.changes), "changes": outcome.changes, "diff": outcome.diff}
        return {**told, "notes": plan.noted(check_mode), **plan.results(outcome)}

    def action(self, name: str, *calls: Mapping[str, Any], **options: Any) -> list[dict[str, Any]]:
        """The results of an action plugin, one for each call, as tasks with `ignore_errors` have them.

        calls -- the options of each call. `check` is not one of the action: it runs the call in check mode
        options -- the options that all calls have in common
        """
        return [self._result(name, {**options, **call}) for call in calls]

    def _result(self, name: str, options: dict[str, Any]) -> dict[str, Any]:
        task = SimpleNamespace(action="homelab.loadbalancer." + name, async_val=0, become=False, environment=[])
        task.check_mode = options.pop("check", False)
        task.args = {"kubeconfig": self._kubeconfig, **options}
        task.get_search_path = list
        connection = SimpleNamespace(
            transport="netns", network_namespace=lambda: self._network, _shell=SimpleNamespace(tmpdir="")
        )
        plugin = importlib.import_module("ansible_collections.homelab.loadbalancer.plugins.action." + name)
        try:
            action = plugin.ActionModule(task, connection, None, DataLoader(), None)
            returned: dict[str, Any] = action.run(task_vars={})
        except AnsibleActionFail as error:
            return {"failed": True, "msg": str(error), "changed": False, "changes": []}
        return returned


def seen(api: ApiServer, namespace: str, plural: str = "configmaps") -> list[str]:
    """The names of the objects of a namespace."""
    listed = api.ask("GET", "/api/v1/namespaces/%s/%s" % (namespace, plural))["items"]
    return sorted(one["metadata"]["name"] for one in listed)


def unchanged(outcome: Outcome) -> bool:
    return outcome.changes == [] and outcome.diff == []


def run_all(run: Callable[[int], None]) -> None:
    """Run a function in three threads at once."""
    threads = [threading.Thread(target=run, args=(which,)) for which in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


@contextlib.contextmanager
def repeated(act: Callable[[], None]) -> Iterator[None]:
    """Call a function in another thread, ten times a second."""
    end = threading.Event()

    def work() -> None:
        while not end.wait(0.1):
            act()

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        end.set()
        thread.join()
