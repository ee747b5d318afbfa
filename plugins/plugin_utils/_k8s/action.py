# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The base classes of the action plugins for Kubernetes.

ansible-core imports the action plugin of a task before it forks the task's process. So the Kubernetes client, which
takes half a second to import, is already loaded, and a task takes only the time of its requests.
"""

from __future__ import annotations

import contextlib
import copy
import functools
import os
from typing import Any, ClassVar, Iterator, Mapping, Sequence

from ansible import constants
from ansible.errors import AnsibleActionFail, AnsibleError
from ansible.plugins.action import ActionBase

from ...module_utils._common.errors import InputError
from ...module_utils._common.printable import printable, printable_diff
from ...module_utils._k8s import options as k8s_access
from ...module_utils._k8s import transport as k8s_transport
from .._common.objects import MANAGER
from .._common.redact import scrub, secret_values
from . import eks
from .access import Access
from .engine import Engine, FailedError, RefusedError, make_plan
from .model import Outcome, Planner
from .server import RefusalError, Server, UnansweredError

# The options that locate the API server.
ACCESS: dict[str, dict[str, Any]] = {**k8s_access.ACCESS, "kubeconfig": {"type": "str", "default": ""}}


class ApiAction(ActionBase):  # type: ignore[misc] # ansible-core carries no types
    """Sends requests to the API server of the task's options."""

    _supports_check_mode = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result: dict[str, Any] = super().run(tmp, task_vars)
        self._vars = task_vars or {}
        self._secrets: list[str] = []
        try:
            return {**result, **self._work()}
        except InputError as error:
            raise AnsibleActionFail(self._said(str(error))) from None
        except (RefusalError, eks.EksError) as error:
            raise AnsibleActionFail(self._said(str(error))) from None
        except UnansweredError as error:
            raise AnsibleActionFail(self._said(self._access.explained(error))) from None

    def _work(self) -> dict[str, Any]:
        """The task's result."""
        raise NotImplementedError

    def _begin(self, arguments: Mapping[str, dict[str, Any]]) -> None:
        """Check the task's options, and determine how to reach the API server."""
        access = {**ACCESS, "eks": {**ACCESS["eks"], "default": copy.copy(self._variable("k8s_eks") or None)}}
        if not access["eks"]["default"] and not self._task.args.get("eks"):
            for key in ("kubeconfig", "context"):
                access[key] = {**ACCESS[key], "default": self._variable("k8s_" + key) or ""}
        self._options = self.validate_argument_spec({**arguments, **access})[1]
        k8s_access.check_numbers(self._options, self._options["prefix"])
        for key in ("kubeconfig", "context"):
            if self._options["eks"] and self._options[key]:
                raise InputError(
                    "%s %s and the EKS cluster %s are both given: leave out k8s_%s or k8s_eks"
                    % (key, self._options[key], self._options["eks"]["cluster"], key)
                )

    @functools.cached_property
    def _access(self) -> Access:
        options, here = self._options, self._runs_here()
        kubeconfig = options["kubeconfig"]
        if here and kubeconfig and not kubeconfig.startswith(("~", "/")):
            kubeconfig = os.path.join(self._loader.get_basedir(), kubeconfig)  # as modules resolve it
        return Access(
            kubeconfig,
            options["context"],
            options["eks"],
            constants.DEFAULT_LOCAL_TMP,
            namespace=self._network_namespace() if here else "",
            run_module=None if here else self._run_on_host,
        )

    @functools.cached_property
    def _server(self) -> Server:
        host = "" if self._runs_here() else str(self._task.delegate_to or self._vars.get("inventory_hostname", ""))
        return Server(self._access.exchange, constants.DEFAULT_LOCAL_TMP, host + self._access.key)

    def _runs_here(self) -> bool:
        """Whether this process has the user, network and environment that a module of the task would have."""
        if k8s_transport.MISSING or any(self._task.environment or []):
            return False
        if self._task.become and (os.geteuid() != 0 or self._task.become_user not in (None, "", "root")):
            return False
        return self._connection.transport == "local" or hasattr(self._connection, "network_namespace")

    def _network_namespace(self) -> str:
        found = getattr(self._connection, "network_namespace", None)
        return str(found()) if found else ""

    def _run_on_host(self, arguments: Mapping[str, Any]) -> Mapping[str, Any]:
        """Send requests with a module on the task's host."""
        with self._silent():
            name = "homelab.loadbalancer.k8s_request"
            returned: dict[str, Any] = self._execute_module(name, dict(arguments), task_vars=self._vars)
        if returned.get("failed"):
            # After an exception, ansible-core before 2.19 has the text in other fields.
            event = getattr(returned.get("exception"), "event", None)
            said = str(returned.get("msg") if event is None else event.msg) + str(returned.get("module_stderr", ""))
            raise AnsibleActionFail(self._said(said))
        return returned

    @contextlib.contextmanager
    def _silent(self) -> Iterator[None]:
        """Keep the module's arguments and result out of logs, because they contain secrets.

        A module writes its arguments to the system's log, and the connection prints both at -vvv.
        """
        # The connection has its own play context, which the SSH plugin reads. There is no other way to set its no_log.
        task, printer = self._task, self._connection._play_context
        saved = task.check_mode, task.diff, task.no_log, printer.no_log
        task.check_mode, task.diff, task.no_log, printer.no_log = False, False, True, True
        try:
            yield
        finally:
            task.check_mode, task.diff, task.no_log, printer.no_log = saved

    def _variable(self, name: str) -> Any:
        """A variable of the task's host or, if the task is delegated, of the other host if it has the variable."""
        hostvars = self._vars.get("hostvars", {})
        for host in self._vars.get("ansible_delegated_vars", {}):
            if host in hostvars and hostvars[host].get(name):
                return hostvars[host][name]
        value = self._vars.get(name)
        return value and self._templar.template(value)

    def _content(self, path: str) -> bytes:
        """The content of a file on the control node, found as by the lookup `file`, decrypted if Vault encrypted it."""
        try:
            real = self._loader.get_real_file(self._find_needle("files", path))
            try:
                with open(real, "rb") as file:
                    return file.read()
            finally:
                self._loader.cleanup_tmp_file(real)
        except (AnsibleError, OSError) as error:
            raise InputError("%s cannot be read: %s" % (path, getattr(error, "strerror", None) or error)) from None

    def _text(self, path: str) -> str:
        """The text of a file on the control node."""
        try:
            return self._content(path).decode()
        except UnicodeError as error:
            raise InputError("%s cannot be read: %s" % (path, error)) from None

    def _said(self, text: str) -> str:
        """A message without secrets and without control characters for the terminal."""
        return printable(scrub(self._access.scrubbed(text) if "_access" in self.__dict__ else text, self._secrets))


class ClusterAction(ApiAction):
    """Applies the declaration of a module: reads, plans, tries, and then acts."""

    # The module's options, without those that locate the API server.
    ARGUMENTS: ClassVar[Mapping[str, dict[str, Any]]]
    PLANNER: ClassVar[Planner]

    def _work(self) -> dict[str, Any]:
        self._begin(self.ARGUMENTS)
        self._prepare()
        plan = make_plan(self._server, self.PLANNER, self._options)
        check_mode = bool(self._task.check_mode)
        refused = plan.refused(check_mode)
        if refused:
            raise AnsibleActionFail(self._said("\n".join(refused)))
        notes = [printable(note) for note in plan.noted(check_mode)]
        engine = Engine(self._server, check_mode, self._display.warning, self._options.get("field_manager", MANAGER))
        self._secrets += secret_values([one for step in plan.steps for one in getattr(step, "objects", ())])
        try:
            outcome = engine.run(plan)
        except RefusedError as error:
            raise AnsibleActionFail(self._said(str(error))) from None
        except FailedError as error:
            return {
                **_returned(error.outcome),
                "notes": notes,
                "failed": True,
                "msg": self._said(_with_changes(str(error), error.outcome)),
                "unfinished": error.unfinished,
            }
        return {**_returned(outcome), "notes": notes, **plan.results(outcome)}

    def _prepare(self) -> None:
        """Read files on the control node that the options name, into the options."""


def _returned(outcome: Outcome) -> dict[str, Any]:
    diff: Sequence[Any] = printable_diff(outcome.diff)
    return {"changed": bool(outcome.changes), "changes": list(outcome.changes), "diff": diff}


def _with_changes(text: str, outcome: Outcome) -> str:
    if not outcome.changes:
        return text
    return "%s\nDone before the failure: %s. Fix the cause, then run it again" % (text, ", ".join(outcome.changes))
