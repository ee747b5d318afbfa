# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: steps
type: stdout
short_description: One line with its time for each step of a playbook
version_added: 0.2.0
author:
  - The homelab.loadbalancer authors (@homelab-loadbalancer)
description:
  - Prints a line with a mark, the seconds and the number of changes for each play, in place of a line for each task.
    On a terminal it also shows which task runs.
  - A play, a block or a task can set the variable C(step), the title of the step. Tasks that follow each other with
    the same title are one step. An empty title is for tasks that are not worth a line. Without the variable the name
    of the play is the title.
  - A step whose tasks are all skipped gets no line.
  - Messages of M(ansible.builtin.debug) appear as they are, without quotes.
  - A failed task appears with its host, name and message, followed by the text of the variable C(step_hint), if the
    task has it.
  - With C(-v) it prints what P(ansible.builtin.default#callback) does.
  - Control characters in the text, which a hostile node might send, are escaped.
options:
  ascii:
    description: Use C(ok) and C(FAILED) as marks, for terminals without UTF-8.
    type: bool
    default: false
    env:
      - name: HOMELAB_STEPS_ASCII
extends_documentation_fragment:
  - default_callback
  - result_format_callback
requirements:
  - set as stdout in the configuration
"""

EXAMPLES = r"""
# ANSIBLE_STDOUT_CALLBACK=homelab.loadbalancer.steps ansible-playbook site.yml
- name: Configure the load balancer
  hosts: routers
  vars:
    step: Load-balance the services on the router
    step_hint: The router is described in docs/router.md.
  roles:
    - homelab.loadbalancer.iptables_lb
"""

import functools
import os
import sys
import time
from typing import Any, Callable

from ansible import constants, context
from ansible.errors import AnsibleError
from ansible.plugins.callback.default import CallbackModule as Default
from ansible.template import Templar
from ansible.utils.color import stringc

from ..module_utils._common.printable import printable, printable_diff
from ..plugin_utils._common.columns import shortened
from ..plugin_utils._steps.report import Step, explanation

DEBUG = ("debug", "ansible.builtin.debug", "ansible.legacy.debug")
HINT = "Run it again with -v for Ansible's own output."


class _Found:
    """The parts of a task's result, under the names that ansible-core has since 2.19."""

    def __init__(self, result: Any) -> None:
        self.host = getattr(result, "host", None) or result._host
        self.task = getattr(result, "task", None) or result._task
        self.result: dict[str, Any] = result.result if hasattr(result, "result") else result._result

    def where(self) -> str:
        """The host that the task ran for, and the one that it ran on if that is another; its role and its name."""
        host, other = str(self.host.get_name()), self.task.delegate_to
        return "%s: %s" % ("%s -> %s" % (host, other) if other and other != host else host, _task_name(self.task))


def _event(own: Callable[..., None]) -> Callable[..., None]:
    """An event of this plugin, or with -v that of Ansible's own callback."""

    @functools.wraps(own)
    def handle(self: CallbackModule, *args: Any, **options: Any) -> None:
        if self._display.verbosity == 0:
            own(self, *args, **options)
        else:
            getattr(Default, own.__name__)(self, *args, **options)

    return handle


def _task_name(task: Any) -> str:
    """The name of a task after that of its role, without the role's collection."""
    role, separator, name = str(task.get_name()).strip().rpartition(" : ")
    return role.rpartition(".")[2] + separator + name


def _has_rescue(task: Any) -> bool:
    """Whether the task is in a block whose `rescue` may take its failure back."""
    parent = task._parent
    while parent is not None:
        if getattr(parent, "rescue", None):
            return True
        parent = parent._parent
    return False


class CallbackModule(Default):  # type: ignore[misc]
    """Prints steps. With -v each event goes to Ansible's own callback."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "stdout"
    CALLBACK_NAME = "homelab.loadbalancer.steps"

    def __init__(self) -> None:
        super().__init__()
        self._clock: Callable[[], float] = time.monotonic
        self._step: Step | None = None
        self._hint = HINT  # of the running task
        self._advice = ""  # the hint of the last failed task
        # Failures of tasks in a block with `rescue`, by host: they count only if nothing rescues them.
        self._held: dict[str, tuple[_Found, list[str]]] = {}
        self._live = False
        self._seen = ""  # the task whose variables have been read

    # The lines on the screen.

    def _mark(self, failed: bool) -> str:
        marks = ("ok    ", "FAILED") if self._ascii() else ("✓", "✗")
        return str(stringc(marks[failed], constants.COLOR_ERROR if failed else constants.COLOR_OK))

    def _ascii(self) -> bool:
        if self.get_option("ascii"):
            return True
        try:
            "✓✗…".encode(getattr(sys.stdout, "encoding", None) or "ascii")
        except UnicodeEncodeError:
            return True
        return False

    def _show_task(self, name: str) -> None:
        """Show on a terminal which task runs. The next line is written over it, also a warning of Ansible's."""
        if self._step and self._step.title and sys.stdout.isatty() and os.environ.get("TERM") != "dumb":
            dots = "...   " if self._ascii() else "…"
            line = printable("%s %s: %s" % (dots, self._step.title, name)).replace("\n", " ")
            sys.stdout.write("\r\x1b[K" + shortened(line, int(self._display.columns) - 1) + "\r")
            sys.stdout.flush()
            self._live = True

    def _print(self, text: str, color: str | None = None) -> None:
        self._clear()
        self._display.display(text, color=color)

    def _clear(self) -> None:
        """Remove the line of the running task."""
        if self._live:
            sys.stdout.write("\r\x1b[K")
            sys.stdout.flush()
            self._live = False

    # Steps.

    def _enter(self, title: str) -> None:
        """Begin a step, unless it runs already."""
        if self._step is None or self._step.title != title:
            self._leave()
            self._step = Step(title, self._clock())

    def _leave(self) -> None:
        """End the running step."""
        step, self._step = self._step, None
        if step and step.ran and step.title and not step.failed:
            self._print_step(step)

    def _print_step(self, step: Step) -> None:
        line = step.line(self._clock(), bool(context.CLIARGS.get("check")))
        self._print("%s %s" % (self._mark(step.failed), line))

    def _fail(self, found: _Found, lines: list[str]) -> None:
        """Print a failed task, after the line of its step."""
        self._advice = self._hint
        self._held.pop(found.host.get_name(), None)
        step = self._step
        if step and not step.failed:
            step.failed = True
            step.title = step.title or self._play_name()
            self._print_step(step)
        self._print("\n".join(["  " + printable(found.where()), *lines]), color=constants.COLOR_ERROR)

    def _play_name(self) -> str:
        return str(self._play.get_name()).strip() if self._play else ""

    def _read(self, host: Any, task: Any) -> None:
        """Take the title and the hint from the task's variables."""
        found = {}
        if self._play is not None:
            loader, manager = self._play.get_loader(), self._play.get_variable_manager()
            variables = manager.get_vars(play=self._play, host=host, task=task)
            templar = Templar(loader=loader, variables=variables)
            for name in ("step", "step_hint"):
                try:
                    found[name] = str(templar.template(variables[name]))
                except (AnsibleError, KeyError):
                    continue
        self._hint = found.get("step_hint", HINT)
        self._enter(found.get("step", self._play_name()))

    # Ansible's events.

    @_event
    def v2_playbook_on_play_start(self, play: Any) -> None:
        self._play = play

    @_event
    def v2_playbook_on_no_hosts_matched(self) -> None:
        self._leave()
        self._print("- %s: no hosts matched" % printable(self._play_name()), color=constants.COLOR_SKIP)

    @_event
    def v2_runner_on_start(self, host: Any, task: Any) -> None:
        if self._seen != task._uuid:
            self._seen = task._uuid
            self._read(host, task)
            self._show_task(_task_name(task))

    @_event
    def v2_runner_on_ok(self, result: Any) -> None:
        found = _Found(result)
        self._warn(found)
        if self._step:
            self._step.ran = True
            self._step.changed += bool(found.result.get("changed"))
        if found.task.action in DEBUG and not found.task.loop:
            self._print(self._message(found.result))

    @_event
    def v2_runner_item_on_ok(self, result: Any) -> None:
        found = _Found(result)
        if found.task.action in DEBUG:
            self._print(self._message(found.result))

    @_event
    def v2_runner_on_failed(self, result: Any, ignore_errors: bool = False) -> None:
        found = _Found(result)
        self._warn(found)
        if self._step:
            self._step.ran = True
        lines = explanation(found.result)
        if ignore_errors:
            return
        if _has_rescue(found.task):
            self._held[found.host.get_name()] = (found, lines)
        else:
            self._fail(found, lines)

    @_event
    def v2_runner_on_unreachable(self, result: Any) -> None:
        found = _Found(result)
        self._warn(found)
        if not found.task.ignore_unreachable:
            self._fail(found, explanation(found.result))

    @_event
    def v2_runner_on_skipped(self, result: Any) -> None:
        self._warn(_Found(result))

    @_event
    def v2_on_file_diff(self, result: Any) -> None:
        found = _Found(result)
        results = found.result["results"] if found.task.loop and "results" in found.result else [found.result]
        for one in results:
            text = self._get_diff(printable_diff(one["diff"])) if one.get("diff") and one.get("changed") else ""
            if text:
                self._print(text)

    @_event
    def v2_playbook_on_stats(self, stats: Any) -> None:
        for host, (found, lines) in list(self._held.items()):
            if stats.failures.get(host):
                self._fail(found, lines)
        self._leave()
        self._clear()
        if self._advice:
            self._print("\n" + printable(self._advice))

    def _message(self, result: dict[str, Any]) -> str:
        """What a debug task says."""
        message = result.get("msg")
        if isinstance(message, list) and all(isinstance(line, str) for line in message):
            message = "\n".join(message)
        if not isinstance(message, str):
            self._clean_results(result, "debug")
            message = self._dump_results(result)
        return printable(message)

    def _warn(self, found: _Found) -> None:
        for warning in found.result.pop("warnings", None) or []:
            self._clear()
            self._display.warning(printable(str(warning)))


def _silent(name: str) -> Callable[..., None]:
    """An event that only Ansible's own callback prints."""

    def event(*dummy: Any, **options: Any) -> None:
        """Print nothing."""

    event.__name__ = name
    return _event(event)


for _name in (
    "v2_playbook_on_start",
    "v2_playbook_on_no_hosts_remaining",
    "v2_playbook_on_task_start",
    "v2_playbook_on_handler_task_start",
    "v2_playbook_on_include",
    "v2_runner_item_on_failed",  # v2_runner_on_failed has all items
    "v2_runner_item_on_skipped",
    "v2_runner_retry",
    "v2_runner_on_async_poll",
    "v2_runner_on_async_ok",
    "v2_runner_on_async_failed",
):
    setattr(CallbackModule, _name, _silent(_name))
