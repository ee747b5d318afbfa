# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the action plugins for Kubernetes share: they let modules reach the API server."""

from __future__ import annotations

import base64
import contextlib
import copy
from typing import Any, Iterator, NoReturn

import yaml
from ansible import constants
from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase
from ansible.plugins.loader import filter_loader

from ansible_collections.homelab.loadbalancer.plugins.module_utils import _k8s_access
from ansible_collections.homelab.loadbalancer.plugins.module_utils import _k8s_objects as objects
from ansible_collections.homelab.loadbalancer.plugins.module_utils._errors import InputError
from ansible_collections.homelab.loadbalancer.plugins.module_utils._printable import printable
from ansible_collections.homelab.loadbalancer.plugins.plugin_utils import _eks as eks

# The options by which modules find the API server.
ACCESS: dict[str, dict[str, Any]] = {**_k8s_access.ACCESS, "kubeconfig": {"type": "str", "default": ""}}
# Where a pod has the token of its service account. kubernetes.core looks there when it is given nothing.
POD_TOKEN = "/var/run/secrets/kubernetes.io/serviceaccount/token"  # noqa: S105 # a path

# ansible-core looks at the action plugin of a task before it forks the process that runs it. What is loaded by then,
# that process has; otherwise each would load all filters of the collection anew, which takes a fifth of a second.
with contextlib.suppress(KeyError):  # what Ansible raises outside of a run of it, in unit tests
    filter_loader.get("homelab.loadbalancer.table")


class K8sAction(ActionBase):
    """Runs modules that ask the API server, on the host of the task."""

    _supports_check_mode = True

    def _begin(self, arguments: dict[str, dict[str, Any]], task_vars: dict[str, Any] | None) -> None:
        """Check the task's options."""
        self._vars = task_vars or {}
        access = {**ACCESS, "eks": {**ACCESS["eks"], "default": copy.copy(self._default_eks())}}
        self._options = self.validate_argument_spec({**arguments, **access})[1]
        try:
            _k8s_access.check_numbers(self._options, self._options["prefix"])
        except InputError as error:
            raise AnsibleActionFail(printable(str(error))) from None
        for key in ("kubeconfig", "context"):
            if self._options["eks"] and self._options[key]:
                raise AnsibleActionFail(
                    "%s %s and the EKS cluster %s are both given: leave out k8s_%s or k8s_eks"
                    % (key, self._options[key], self._options["eks"]["cluster"], key)
                )

    def _default_eks(self) -> Any:
        """The variable k8s_eks, as of the host that a task is delegated to when that has one."""
        hostvars = self._vars.get("hostvars", {})
        for name in self._vars.get("ansible_delegated_vars", {}):
            if name in hostvars and hostvars[name].get("k8s_eks"):
                return hostvars[name]["k8s_eks"]
        value = self._vars.get("k8s_eks")
        # None where it is empty, so that it can be switched off for some hosts.
        return (value and self._templar.template(value)) or None

    def _definitions(self) -> list[dict[str, Any]]:
        """The objects that the task names."""
        try:
            return objects.parse_definitions(self._options["definitions"], self._options["prefix"] + "definitions")
        except InputError as error:
            raise AnsibleActionFail(str(error)) from error

    def _read(self, queries: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """What homelab.loadbalancer.k8s_read finds, an answer to each query."""
        returned = self._run_module("homelab.loadbalancer.k8s_read", {"queries": queries}, check_mode=False)
        found: list[dict[str, Any]] = returned["found"]
        return found

    def _run_module(self, name: str, arguments: dict[str, Any], check_mode: bool) -> dict[str, Any]:
        """Run a module that asks the API server, and fail with what the user can do when it does not work."""
        access = {key: self._options[key] for key in ("kubeconfig", "context") if self._options[key]}
        made = self._login()
        if made:
            access = {"kubeconfig": eks.kubeconfig(made), "context": eks.CONTEXT}
        with self._silent(check_mode):
            returned: dict[str, Any] = self._execute_module(name, {**arguments, **access}, task_vars=self._vars)
        if returned.get("failed"):
            raise AnsibleActionFail(printable(self._explained(_said(returned), made)))
        return returned

    def _fail(self, text: str) -> NoReturn:
        """Fail with what the API server said of an object, and what the user can do."""
        raise AnsibleActionFail(printable(self._explained(text, self._login())))

    @contextlib.contextmanager
    def _silent(self, check_mode: bool) -> Iterator[None]:
        """What modules are given and return holds secrets: it belongs neither into the system's log, to which a module
        writes its arguments, nor into what the connection prints at -vvv."""
        # The connection has a play context of its own, which the SSH plugin asks.
        task, printer = self._task, self._connection._play_context
        saved = task.check_mode, task.diff, task.no_log, printer.no_log
        task.check_mode, task.diff, task.no_log, printer.no_log = check_mode, True, True, True
        try:
            yield
        finally:
            task.check_mode, task.diff, task.no_log, printer.no_log = saved

    def _login(self) -> eks.Login | None:
        """The login to EKS where the task names it, on the control node. Asked for anew for each module, because it
        ends."""
        if not self._options["eks"]:
            return None
        try:
            return eks.kept(constants.DEFAULT_LOCAL_TMP, self._options["eks"])
        except eks.EksError as error:
            raise AnsibleActionFail(printable(str(error))) from None

    def _explained(self, text: str, made: eks.Login | None) -> str:
        """Why a module failed, with what the user can do."""
        if made:
            name = eks.who(self._options["eks"])
            return _advised(
                objects.failure(text.replace(made.token, "********"), made.server, name),
                "give that principal access to the cluster, by `aws eks create-access-entry` or the ConfigMap aws-auth",
                "run the task where the cluster's endpoint is reached; a private one is from its VPC only",
            )
        if self._in_pod():
            return _advised(
                objects.failure(text, "of this pod's cluster", "the pod's service account"),
                "look whether the service account is still there, and restart the pod",
                "look at the network policies of the pod's namespace",
            )
        return objects.failure(text, self._server(), self._kubeconfig)

    def _in_pod(self) -> bool:
        """Whether modules on the host have used the token of a pod's service account."""
        if self._options["kubeconfig"] or self._options["context"]:
            return False
        with self._silent(False):
            found = self._execute_module("ansible.builtin.stat", {"path": POD_TOKEN}, task_vars=self._vars)
        return bool(found.get("stat", {}).get("exists"))

    @property
    def _kubeconfig(self) -> str:
        return self._options["kubeconfig"] or "~/.kube/config"

    def _server(self) -> str:
        """The API server's address, for messages, as far as the kubeconfig tells it."""
        with self._silent(False):
            read = self._execute_module("ansible.builtin.slurp", {"src": self._kubeconfig}, task_vars=self._vars)
        try:
            return objects.server_of(yaml.safe_load(base64.b64decode(read["content"])), self._options["context"])
        except (KeyError, ValueError, yaml.YAMLError):
            return ""


def _advised(said: str, refused: str, unreachable: str) -> str:
    """A message about the API server, with advice for those who use no kubeconfig."""
    head, end, dummy = said.partition("): ")
    if not end or not said.startswith("the API server "):
        return said
    return head + end + (refused if head.endswith("(401 Unauthorized") else unreachable)


def _said(returned: dict[str, Any]) -> str:
    """Why a module failed. Where it did so by an exception, ansible-core before 2.19 has its text elsewhere."""
    event = getattr(returned.get("exception"), "event", None)
    return str(returned.get("msg") if event is None else event.msg) + str(returned.get("module_stderr", ""))
