# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Has kubernetes.core.k8s try the objects on the API server, and then apply those that change; see the module's
documentation for what it does, and module_utils/_k8s_objects.py for how it knows what changes."""

from __future__ import annotations

import itertools
from typing import Any

from ansible.errors import AnsibleActionFail

from ansible_collections.homelab.loadbalancer.plugins.module_utils import _k8s_objects as objects
from ansible_collections.homelab.loadbalancer.plugins.module_utils._printable import printable, printable_diff
from ansible_collections.homelab.loadbalancer.plugins.plugin_utils._k8s_action import K8sAction

ARGUMENTS: dict[str, dict[str, Any]] = {
    "definitions": {"type": "list", "elements": "dict", "required": True},
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    "field_manager": {"type": "str", "default": objects.MANAGER},
    "force_conflicts": {"type": "bool", "default": False},
    "timeout": {"type": "int", "default": 120},
}
KIND = "CustomResourceDefinition"
ESTABLISHED = {"type": "Established", "status": "True"}


class ActionModule(K8sAction):
    """Plans by a dry run of all objects, so that nothing is applied when one of them is refused."""

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result: dict[str, Any] = super().run(tmp, task_vars)
        self._begin(ARGUMENTS, task_vars)
        definitions = self._definitions()
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
        if any(step.fault == objects.UNAUTHORIZED for step in steps):
            self._fail(objects.UNAUTHORIZED)  # one cause, of all objects
        if faults:
            said = "nothing was changed, because the cluster refuses\n" + "\n".join(faults)
            raise AnsibleActionFail(printable(said))
        steps = [step for step in steps if step.verb != "keep"]
        if not check_mode:
            self._apply([step.definition for step in steps])
        names = [(objects.name_of(step.definition), step) for step in steps]
        result["changed"] = bool(steps)
        result["changes"] = ["%s %s" % (step.verb, name) for name, step in names]
        result["diff"] = printable_diff(
            [
                {"before_header": name, "after_header": name, "before": step.before or "", "after": step.after or ""}
                for name, step in names
            ]
        )
        return result

    def _apply(self, definitions: list[dict[str, Any]]) -> None:
        """Apply or remove them. Kinds come first, and are awaited: objects of them may follow."""
        if self._options["state"] == "absent":
            # In the foreground: the pods of a workload are gone when it is. For what has none that takes long.
            for policy, group in itertools.groupby(definitions, _deletion):
                options = {"propagationPolicy": policy}
                self._ask(list(group), check_mode=False, wait=True, delete_options=options)
            return
        kinds = [entry for entry in definitions if entry["kind"] == KIND]
        self._ask(kinds, check_mode=False, wait=True, wait_condition=ESTABLISHED)
        self._ask([entry for entry in definitions if entry["kind"] != KIND], check_mode=False)

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


def _deletion(definition: dict[str, Any]) -> str:
    """How to delete an object."""
    return "Foreground" if definition["apiVersion"].startswith(("apps/", "batch/")) else "Background"
