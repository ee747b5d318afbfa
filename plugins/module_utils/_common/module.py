# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What every module of the collection is made of."""

from __future__ import annotations

from typing import Any, NoReturn

from ansible.module_utils.basic import AnsibleModule

from .printable import printable, printable_diff


class Module(AnsibleModule):  # type: ignore[misc] # ansible-core carries no types
    """A module whose diff and messages a terminal only shows.

    Comments of rules, names of links, answers of an API server are text of others, and Ansible prints it as it is. What
    a module returns as data stays as it was read.
    """

    def exit_json(self, **result: Any) -> NoReturn:
        if "diff" in result:
            result["diff"] = printable_diff(result["diff"])
        super().exit_json(**result)
        raise AssertionError("exit_json ends the process")

    def fail_json(self, msg: str, **result: Any) -> NoReturn:
        super().fail_json(msg=printable(msg), **result)
        raise AssertionError("fail_json ends the process")

    def warn(self, warning: str, **more: Any) -> None:
        super().warn(printable(warning), **more)
