# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Refuses misspelt variables of a role. It runs only on the control node; the module's documentation describes it."""

from __future__ import annotations

from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase

from ..module_utils._common.errors import InputError
from ..module_utils._common.printable import printable
from ..module_utils._common.values import parse_list
from ..plugin_utils._variables import check as variables

# ansible-core loads the action plugin of a task before it forks, so all tasks of a run share this cache.
variables.options_of_roles()


class ActionModule(ActionBase):  # type: ignore[misc] # ansible-core carries no types
    """Checks the names of all variables, and the values of the role's options that are texts or numbers."""

    _supports_check_mode = True
    _requires_connection = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result: dict[str, Any] = super().run(tmp, task_vars)
        role = self.validate_argument_spec({"role": {"type": "str"}})[1]["role"] or self._own_role()
        try:
            self._check(role, task_vars or {})
        except InputError as error:
            raise AnsibleActionFail(printable(str(error))) from None
        return {**result, "changed": False}

    def _check(self, role: str, found: dict[str, Any]) -> None:
        known = variables.options_of_roles()
        if role not in known:
            raise InputError("%s is not a role of homelab.loadbalancer: choose one of %s" % (role, ", ".join(known)))
        own = parse_list(self._templar.template(found.get(variables.OWN, [])), variables.OWN)
        faults = variables.unknown_variables(role, found, map(str, own))
        if faults:
            faults.append("If a variable is your own, add its name to the list %s" % variables.OWN)
        texts = {name: found[name] for name in known[role] if isinstance(found.get(name), str)}
        # Only booleans are templated here: templating lists may be slow, and the modules check them.
        switches = {name: text for name, text in texts.items() if known[role][name]["type"] == "bool"}
        faults += variables.misread_values(role, {**texts, **self._templar.template(switches)})
        faults += variables.negative_numbers(role, found)
        if faults:
            raise InputError("\n".join(faults))

    def _own_role(self) -> str:
        """The name of the task's role; empty outside a role."""
        role = self._task._role
        return str(role.get_name(include_role_fqcn=False)) if role else ""
