# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The callback plugin `steps` prints a line for each step, and what a failed task said."""

from __future__ import annotations

import io
import sys
from types import SimpleNamespace
from typing import Any

import pytest
from ansible import context
from ansible.parsing.dataloader import DataLoader
from ansible.template import trust_as_template

from ansible_collections.homelab.loadbalancer.plugins.callback import steps


class Screen:
    """Stands in for Ansible's Display."""

    columns = 80

    def __init__(self) -> None:
        self.verbosity = 0
        self.lines: list[str] = []
        self.warnings: list[str] = []

    def display(self, text: str, color: str | None = None, **_options: Any) -> None:
        self.lines += text.split("\n")

    def warning(self, text: str) -> None:
        self.warnings.append(text)

    def banner(self, text: str, **_options: Any) -> None:
        self.lines.append(text)


class Task:
    """Stands in for a task of a playbook."""

    def __init__(self, name: str = "Do it", action: str = "command", **values: Any) -> None:
        self.name, self.action, self._uuid = name, action, name
        self.delegate_to = self.loop = self._parent = None
        self.ignore_unreachable = False
        self.__dict__.update(values)

    def get_name(self) -> str:
        return self.name


class Run:
    """A run of a playbook with one play, in which a second passes only when the test says so."""

    def __init__(self, play: str = "The play") -> None:
        self.callback = steps.CallbackModule()
        self.screen = self.callback._display = Screen()
        self.callback._plugin_options = {"ascii": False, "result_format": "yaml"}
        self.seconds = 0.0
        self.callback._clock = lambda: self.seconds
        self.variables: dict[str, Any] = {}
        self.failed_hosts: dict[str, int] = {}
        self.play(play)

    def play(self, name: str) -> None:
        manager = SimpleNamespace(get_vars=lambda **_context: self.variables)
        play = SimpleNamespace(
            get_name=lambda: name, get_loader=DataLoader, get_variable_manager=lambda: manager, check_mode=False
        )
        self.callback.v2_playbook_on_play_start(play)

    def start(self, task: Task, host: str = "router", **variables: Any) -> None:
        self.variables = variables
        self.callback.v2_runner_on_start(SimpleNamespace(get_name=lambda: host), task)

    def result(self, task: Task, result: dict[str, Any], host: str = "router") -> Any:
        return SimpleNamespace(host=SimpleNamespace(get_name=lambda: host), task=task, result=result)

    def ok(self, task: Task, seconds: float = 0, variables: dict[str, Any] | None = None, **result: Any) -> None:
        self.start(task, **(variables or {}))
        self.seconds += seconds
        self.callback.v2_runner_on_ok(self.result(task, result))

    def fail(
        self,
        task: Task,
        host: str = "router",
        ignore_errors: bool = False,
        variables: dict[str, Any] | None = None,
        **result: Any,
    ) -> None:
        self.start(task, **(variables or {}))
        self.callback.v2_runner_on_failed(self.result(task, result, host), ignore_errors)
        self.failed_hosts[host] = 0 if ignore_errors else 1

    def end(self) -> list[str]:
        self.callback.v2_playbook_on_stats(SimpleNamespace(failures=self.failed_hosts))
        return self.screen.lines


@pytest.fixture(autouse=True)
def _real_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(context, "CLIARGS", {"check": False})


def short(lines: list[str]) -> list[str]:
    """The lines without the blanks that align them."""
    return [" ".join(line.split()) for line in lines]


def test_a_line_has_the_seconds_and_the_changes_of_a_play() -> None:
    run = Run("Build the lab")
    run.ok(Task("one"), seconds=1.26, changed=True)
    run.ok(Task("two"), seconds=0.5)
    run.play("Connect")
    run.ok(Task("three"), seconds=61)
    assert short(run.end()) == ["✓ Build the lab 1.8 s changed=1", "✓ Connect 61.0 s changed=0"]


def test_lines_align_whatever_the_width_of_the_letters() -> None:
    lines = []
    for title in ("Build the lab", "ラボを作成"):
        run = Run(title)
        run.ok(Task())
        lines += run.end()
    assert lines[0].index("0.0 s") - lines[1].index("0.0 s") == len("ラボを作成")


def test_the_variable_step_names_joins_and_hides_steps() -> None:
    run = Run("First")
    run.ok(Task("one"), seconds=1, variables={"step": "Drain"})
    run.play("Second")
    run.ok(Task("two"), seconds=2, variables={"step": "Drain"})
    run.ok(Task("three"), seconds=4, variables={"step": ""})
    run.ok(Task("four"), seconds=8, variables={"step": "Check"})
    assert short(run.end()) == ["✓ Drain 3.0 s changed=0", "✓ Check 8.0 s changed=0"]


def test_a_step_that_cannot_be_rendered_has_the_name_of_its_play() -> None:
    run = Run("The play")
    run.ok(Task("one"), variables={"step": trust_as_template("{{ name }}"), "name": "The step"})
    run.ok(Task("two"), variables={"step": trust_as_template("{{ undefined_name }}")})
    assert short(run.end()) == ["✓ The step 0.0 s changed=0", "✓ The play 0.0 s changed=0"]


def test_check_mode_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(context, "CLIARGS", {"check": True})
    run = Run()
    run.ok(Task(), changed=True)
    assert short(run.end()) == ["✓ The play 0.0 s changed=1 (check mode)"]


def test_marks_for_terminals_without_utf8(monkeypatch: pytest.MonkeyPatch) -> None:
    run = Run()
    run.callback._plugin_options["ascii"] = True
    run.ok(Task())
    run.play("Next")
    run.fail(Task("two"), msg="no")
    assert [line.split()[0] for line in run.end()[:2]] == ["ok", "FAILED"]
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(io.BytesIO(), encoding="latin-1"))
    run = Run()
    run.ok(Task())
    assert run.end()[0].startswith("ok ")


def test_a_failure_shows_step_host_task_message_and_the_way_to_see_more() -> None:
    run = Run("Configure")
    run.ok(Task("one"), variables={"step_hint": "the hint of another task"})
    run.seconds = 3
    hint = {"step_hint": "make demo ARGS=-v"}
    task = Task("name.space.role : Declare the rules")
    run.fail(task, variables=hint, msg="lb_interface nosuch0 does not exist", changed=False)
    run.fail(Task("Declare the rules", delegate_to="localhost"), host="other", variables=hint, msg="the same")
    run.ok(Task("two"))
    run.play("Never shown, since no host is left")
    assert [line.rstrip() for line in run.end()] == [
        "✗ Configure" + " " * 51 + "3.0 s   changed=0",
        "  router: role : Declare the rules",
        "    lb_interface nosuch0 does not exist",
        "  other -> localhost: Declare the rules",
        "    the same",
        "",
        "make demo ARGS=-v",
    ]


def test_a_hidden_step_that_fails_has_the_name_of_its_play() -> None:
    run = Run("Check the hosts")
    task = Task()
    run.start(task, step="")
    run.callback.v2_runner_on_failed(run.result(task, {"msg": "there is none"}))
    assert short(run.end())[:3] == ["✗ Check the hosts 0.0 s changed=0", "router: Do it", "there is none"]
    assert run.screen.lines[-1] == steps.HINT


def test_an_ignored_failure_is_no_failure() -> None:
    run = Run()
    run.fail(Task(), msg="no", ignore_errors=True)
    assert short(run.end()) == ["✓ The play 0.0 s changed=0"]


def rescued() -> Task:
    block = SimpleNamespace(rescue=["a task"], _parent=None)
    return Task("Try", _parent=SimpleNamespace(rescue=[], _parent=block))


def test_a_rescued_failure_is_no_failure() -> None:
    run = Run()
    run.fail(rescued(), msg="no")
    run.failed_hosts = {}
    assert short(run.end()) == ["✓ The play 0.0 s changed=0"]


def test_a_failure_that_nothing_rescues_is_shown_at_the_end() -> None:
    run = Run()
    run.fail(rescued(), msg="no")
    assert short(run.end())[:3] == ["✗ The play 0.0 s changed=0", "router: Try", "no"]


def test_the_failure_of_a_rescue_replaces_what_it_was_to_rescue() -> None:
    run = Run()
    run.fail(rescued(), msg="the first")
    run.fail(Task("Report"), msg="the second")
    assert short(run.end())[:3] == ["✗ The play 0.0 s changed=0", "router: Report", "the second"]
    assert "the first" not in "\n".join(run.screen.lines)


def test_an_unreachable_host_is_a_failure_unless_it_may_be() -> None:
    run = Run()
    for task in (Task("Ping", ignore_unreachable=True), Task("Log in")):
        run.start(task)
        run.callback.v2_runner_on_unreachable(run.result(task, {"msg": "timed out", "unreachable": True}))
    assert short(run.end())[:3] == ["✗ The play 0.0 s changed=0", "router: Log in", "timed out"]
    assert "Ping" not in "\n".join(run.screen.lines)


def test_skipped_tasks_and_items_say_nothing() -> None:
    run = Run()
    task = Task(loop=[1])
    run.start(task)
    run.callback.v2_runner_item_on_skipped(run.result(task, {"item": 1, "skipped": True}))
    run.callback.v2_runner_on_skipped(run.result(task, {"skipped": True, "warnings": ["odd"]}))
    assert run.end() == []
    assert run.screen.warnings == ["odd"]


def test_the_failed_items_of_a_loop_are_named() -> None:
    run = Run()
    task = Task(loop=["eth0", "eth9"])
    items = [
        {"item": "eth0", "ansible_loop_var": "item", "msg": "fine", "failed": False},
        {"item": "eth9", "ansible_loop_var": "item", "msg": "no such link", "failed": True},
    ]
    run.start(task)
    for item in items[1:]:
        run.callback.v2_runner_item_on_failed(run.result(task, item))
    run.callback.v2_runner_on_failed(run.result(task, {"msg": "One or more items failed", "results": items}))
    assert short(run.end())[1:4] == ["router: Do it", "(eth9)", "no such link"]


def test_messages_of_debug_appear_as_they_are_and_others_do_not() -> None:
    run = Run()
    run.ok(Task("Say", action="ansible.builtin.debug"), msg="one\n  two")
    run.ok(Task("Say lines", action="debug"), msg=["three", "four"])
    run.ok(Task("Show a value", action="debug"), value={"key": 5})
    run.ok(Task("Run"), msg="not shown", stdout="not shown")
    looped = Task("Say each", action="debug", loop=["a", "b"])
    run.start(looped)
    for item in ("a", "b"):
        run.callback.v2_runner_item_on_ok(run.result(looped, {"msg": item}))
    run.callback.v2_runner_on_ok(run.result(looped, {"msg": "All items completed", "results": []}))
    assert run.screen.lines[:4] == ["one", "  two", "three", "four"]
    assert [line.strip() for line in run.screen.lines[4:] if line.strip()] == ["value:", "key: 5", "a", "b"]


def test_a_hostile_node_cannot_write_to_the_terminal() -> None:
    run = Run("Title \x1b[2J")
    run.ok(Task(action="debug"), msg="msg \x1b[2J", warnings=["warning \x1b[2J"])
    diff = Task("Change")
    run.start(diff)
    found = {"changed": True, "diff": {"before": "a\x1b[2J\n", "after": "b\n"}}
    run.callback.v2_on_file_diff(run.result(diff, found))
    run.fail(Task("Fail"), msg="failed \x1b[2J", stderr="error \x1b[2J\r\nnext")
    printed = "\n".join([*run.end(), *run.screen.warnings])
    assert printed.count(r"\x1b[2J") == 6
    assert "\x1b" not in printed.replace("\x1b[0;3", "").replace("\x1b[0m", "")


def test_diffs_of_changes_are_printed() -> None:
    run = Run()
    task = Task(loop=[1, 2])
    diffs = [{"changed": True, "diff": {"before": "old\n", "after": "new\n"}}, {"changed": False, "diff": {}}]
    run.start(task)
    run.callback.v2_on_file_diff(run.result(task, {"results": diffs}))
    assert {"-old", "+new"} <= set(run.screen.lines)


def test_verbose_output_is_ansibles_own() -> None:
    run = Run()
    run.screen.verbosity = 1
    run.callback._plugin_options["show_per_host_start"] = False
    run.play("The second play")
    task = Task("Do it")
    run.start(task)
    assert "PLAY [The second play]" in run.screen.lines
    assert run.callback._step is None


def test_a_play_without_hosts_says_so() -> None:
    run = Run()
    run.callback.v2_playbook_on_no_hosts_matched()
    assert run.end() == ["- The play: no hosts matched"]


def test_results_of_older_ansible_releases() -> None:
    run = Run()
    task = Task()
    run.start(task)
    old = SimpleNamespace(_host=SimpleNamespace(get_name=lambda: "router"), _task=task, _result={"msg": "no"})
    run.callback.v2_runner_on_failed(old)
    assert short(run.end())[1:3] == ["router: Do it", "no"]


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_terminal_shows_the_running_task_and_then_the_line(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stdout", terminal)
    monkeypatch.setenv("TERM", "xterm")
    run = Run("Build")
    run.callback._plugin_options["ascii"] = True
    run.ok(Task("A task with a long name, " * 9))
    assert terminal.getvalue().startswith("\r\x1b[K...    Build: A task with a long name")
    assert len(terminal.getvalue()) < len("\r\x1b[K\r") + run.screen.columns
    run.end()
    assert terminal.getvalue().endswith("\r\x1b[K")
    monkeypatch.setenv("TERM", "dumb")
    before = terminal.getvalue()
    run = Run("Build")
    run.callback._plugin_options["ascii"] = True
    run.ok(Task())
    run.end()
    assert terminal.getvalue() == before
