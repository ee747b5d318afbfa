# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Each phase of a role runs alone by its tag: what it needs to know comes from a phase that every tag runs."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Iterator

import pytest
import yaml

ROLES = Path(__file__).resolve().parents[3] / "roles"
PRIVATE = re.compile(r"\b__\w+")
# Another of our variables takes its place, or it is another host's. An empty list in its place would remove things.
MAY_BE_MISSING = r"\b%(name)s\S* (\| default\(__|is (not )?defined)|\.%(name)s \| default\(|'%(name)s'"


def phases(role: Path) -> Iterator[tuple[list[str], list[Any]]]:
    """The tags of each phase of a role's main tasks, and its tasks, those of included files among them."""
    for task in load(role / "tasks/main.yml"):
        for each in task.get("block", [task]):
            yield each.get("tags", []), [*expand(role, each)]


def load(path: Path) -> list[dict[str, Any]]:
    return yaml.safe_load(path.read_text()) or []


def expand(role: Path, task: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """A task and those that it leads to."""
    yield task
    below = [each for key in ("block", "rescue", "always") for each in task.get(key, [])]
    for word in ("import_tasks", "include_tasks"):
        file = task.get("ansible.builtin." + word)
        name = file["file"] if isinstance(file, dict) else file
        if name and "{{" not in name:
            below += load(role / "tasks" / name)
    for each in below:
        yield from expand(role, each)


def made(tasks: list[dict[str, Any]]) -> set[str]:
    """The private variables that tasks set."""
    names = {task["register"] for task in tasks if "register" in task}
    names.update(*(task.get("ansible.builtin.set_fact", {}) for task in tasks))
    return {name for name in names if name.startswith("__")}


def texts(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        value = [*value.keys(), *value.values()]
    if isinstance(value, list):
        for each in value:
            yield from texts(each)
    elif isinstance(value, str):
        yield value


def needed(role: Path, tasks: list[dict[str, Any]]) -> set[str]:
    """The private variables that tasks read where there must be one, also by way of the role's own variables."""
    own: dict[str, Any] = {}
    if (role / "vars/main.yml").exists():
        own = yaml.safe_load((role / "vars/main.yml").read_text()) or {}
    found: set[str] = set()
    left = [text for task in tasks for text in texts({k: v for k, v in task.items() if k != "register"})]
    while left:
        text = left.pop()
        for name in set(PRIVATE.findall(text)) - found:
            if re.search(MAY_BE_MISSING % {"name": name}, text):
                continue
            found.add(name)
            left += [*texts(own.get(name))]
    return found


@pytest.mark.parametrize("role", sorted(path.name for path in ROLES.iterdir() if path.is_dir()))
def test_each_phase_runs_alone(role: str) -> None:
    parts = list(phases(ROLES / role))
    for tags, tasks in parts:
        there = {name for other, others in parts if other in (tags, ["always"]) for name in made(others)}
        elsewhere = {name for dummy, others in parts for name in made(others)}
        missing = elsewhere & needed(ROLES / role, tasks) - there
        assert not missing, "the phase %s needs %s of a phase that its tag does not run" % (tags, sorted(missing))
