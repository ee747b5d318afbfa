# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The base of all modules of the collection."""

from __future__ import annotations

import contextlib
import os
from typing import Any, NoReturn

from ansible.module_utils.basic import AnsibleModule

from . import system
from .errors import NodeError
from .lock import locked
from .printable import printable, printable_diff


class Module(AnsibleModule):  # type: ignore[misc] # ansible-core carries no types
    """A module whose diff and messages cannot control the terminal.

    Comments of rules, names of links and answers of an API server are untrusted text that Ansible would print
    unchanged. Data in results stays unescaped.

    needs_linux -- the thing that works only on Linux, for a message; empty for a module that works elsewhere as well
    """

    def __init__(self, needs_linux: str = "", **options: Any) -> None:
        super().__init__(**options)
        if needs_linux and system.name() != "Linux":
            self.fail_json(
                msg="%s needs Linux, and this host runs %s: use a Linux machine, for instance a virtual machine"
                % (needs_linux, system.name())
            )

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


class NodeModule(Module):
    """A module that changes the node. It holds the node's lock until it reports.

    Two modules that ran at once would each plan from a state that the other is about to change. In check mode a module
    shares the lock with other readers.
    """

    def __init__(self, needs_linux: str = "this module", **options: Any) -> None:
        # AnsibleModule itself fails on wrong arguments, before there is anything to unlock.
        self._lock = contextlib.ExitStack()
        super().__init__(needs_linux, supports_check_mode=True, **options)
        # Only root changes the node. For another user the module itself reports the missing privilege.
        if os.geteuid() != 0:
            return
        try:
            self._lock.enter_context(locked(shared=self.check_mode))
        except NodeError as error:
            self.fail_json(msg=str(error))
        except OSError as error:
            self.fail_json(msg="the lock of this node cannot be taken: %s" % error)

    def exit_json(self, **result: Any) -> NoReturn:
        self._lock.close()
        super().exit_json(**result)

    def fail_json(self, msg: str, **result: Any) -> NoReturn:
        self._lock.close()
        super().fail_json(msg, **result)
