# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Has kubernetes.core.k8s try the objects on the API server, and then apply those that change; see the module's
documentation for what it does, and module_utils/_k8s_objects.py for how it knows what changes."""

from __future__ import annotations

import base64
import itertools
from typing import Any

import yaml
from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase

from ansible_collections.homelab.loadbalancer.plugins.module_utils import _k8s_objects as objects
from ansible_collections.homelab.loadbalancer.plugins.module_utils._errors import InputError

ARGUMENTS: dict[str, dict[str, Any]] = {
    "definitions": {"type": "list", "elements": "dict", "required": True},
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    "field_manager": {"type": "str", "default": "homelab.loadbalancer"},
    "force_conflicts": {"type": "bool", "default": False},
    "kubeconfig": {"type": "str", "default": ""},
    "context": {"type": "str", "default": ""},
    "timeout": {"type": "int", "default": 120},
}
ESTABLISHED = {"type": "Established", "status": "True"}


class ActionModule(ActionBase):
    """Plans by a dry run of all objects, so that nothing is applied when one of them is refused."""

    _supports_check_mode = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result: dict[str, Any] = super().run(tmp, task_vars)
        self._vars = task_vars or {}
        self._options = self.validate_argument_spec(ARGUMENTS)[1]
        try:
            definitions = objects.parse_definitions(self._options["definitions"], "definitions")
        except InputError as error:
            raise AnsibleActionFail(str(error)) from error
        if not definitions:
            about = self._run_module("kubernetes.core.k8s_cluster_info", {}, check_mode=True)
            version = about["version"]["server"]["kubernetes"]["gitVersion"]
            return {**result, "changed": False, "server": about["connection"]["host"], "version": version}

        check_mode = self._task.check_mode
        present = self._options["state"] == "present"
        if not present:
            definitions.reverse()
        answers = self._ask(definitions, check_mode=True, continue_on_error=True)
        if present:
            steps = objects.plan(definitions, answers, self._options["field_manager"], check_mode)
        else:
            steps = objects.plan_removal(definitions, answers)
        faults = ["%s: %s" % (objects.name_of(step.definition), step.fault) for step in steps if step.fault]
        if faults:
            raise AnsibleActionFail("nothing was changed, because the cluster refuses\n" + "\n".join(faults))
        steps = [step for step in steps if step.verb != "keep"]
        if not check_mode:
            self._apply([step.definition for step in steps])
        names = [(objects.name_of(step.definition), step) for step in steps]
        result["changed"] = bool(steps)
        result["changes"] = ["%s %s" % (step.verb, name) for name, step in names]
        result["diff"] = [
            {"before_header": name, "after_header": name, "before": step.before or "", "after": step.after or ""}
            for name, step in names
        ]
        return result

    def _apply(self, definitions: list[dict[str, Any]]) -> None:
        """Apply or remove them. Kinds come first, and are awaited: objects of them may follow."""
        if self._options["state"] == "absent":
            # In the foreground: the pods of a workload are gone when it is. For what has none that takes long.
            for policy, group in itertools.groupby(definitions, _deletion):
                options = {"propagationPolicy": policy}
                self._ask(list(group), check_mode=False, wait=True, delete_options=options)
            return
        kinds = [entry for entry in definitions if entry["kind"] == "CustomResourceDefinition"]
        self._ask(kinds, check_mode=False, wait=True, wait_condition=ESTABLISHED)
        self._ask([entry for entry in definitions if entry not in kinds], check_mode=False)

    def _ask(self, definitions: list[dict[str, Any]], check_mode: bool, **more: Any) -> list[dict[str, Any]]:
        """Let kubernetes.core.k8s apply or remove the objects, all of them in one go."""
        if not definitions:
            return []
        arguments = {"definition": definitions, "state": self._options["state"], **more}
        if self._options["state"] == "present":
            manager = {"field_manager": self._options["field_manager"]}
            arguments["apply"] = True
            arguments["server_side_apply"] = {**manager, "force_conflicts": self._options["force_conflicts"]}
        arguments.update(wait_timeout=self._options["timeout"], wait_sleep=1)
        return objects.answers_of(self._run_module("kubernetes.core.k8s", arguments, check_mode))

    def _run_module(self, name: str, arguments: dict[str, Any], check_mode: bool) -> dict[str, Any]:
        """Run a module of kubernetes.core, and fail with what the user can do when it does not work."""
        access = {key: self._options[key] for key in ("kubeconfig", "context") if self._options[key]}
        task = self._task
        saved = task.check_mode, task.diff, task.no_log
        # Secrets do not belong into the system's log, to which a module writes its arguments.
        task.check_mode, task.diff, task.no_log = check_mode, True, True
        try:
            returned: dict[str, Any] = self._execute_module(name, {**arguments, **access}, task_vars=self._vars)
        finally:
            task.check_mode, task.diff, task.no_log = saved
        if returned.get("failed"):
            raise AnsibleActionFail(objects.failure(_said(returned), self._server(), self._kubeconfig))
        return returned

    @property
    def _kubeconfig(self) -> str:
        return self._options["kubeconfig"] or "~/.kube/config"

    def _server(self) -> str:
        """The API server's address, for messages, as far as the kubeconfig tells it."""
        read = self._execute_module("ansible.builtin.slurp", {"src": self._kubeconfig}, task_vars=self._vars)
        try:
            return objects.server_of(yaml.safe_load(base64.b64decode(read["content"])), self._options["context"])
        except (KeyError, ValueError, yaml.YAMLError):
            return ""


def _deletion(definition: dict[str, Any]) -> str:
    """How to delete an object."""
    return "Foreground" if definition["apiVersion"].startswith(("apps/", "batch/")) else "Background"


def _said(returned: dict[str, Any]) -> str:
    """Why a module failed. Where it did so by an exception, ansible-core before 2.19 has its text elsewhere."""
    event = getattr(returned.get("exception"), "event", None)
    return str(returned.get("msg") if event is None else event.msg) + str(returned.get("module_stderr", ""))
