# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The output of roles and playbooks is readable with Ansible's default callback."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Iterator

import pytest
import yaml
from ansible import constants

from ansible_collections.homelab.loadbalancer.plugins.filter.for_debug import for_debug

ROOT = Path(__file__).resolve().parents[3]
FILES = sorted([*ROOT.glob("roles/*/tasks/*.yml"), *ROOT.glob("playbooks/*.yml")])


def messages(node: Any) -> Iterator[str]:
    """The messages of all debug tasks below a node, in blocks as well."""
    if isinstance(node, list):
        for one in node:
            yield from messages(one)
    elif isinstance(node, dict):
        task = node.get("ansible.builtin.debug")
        if isinstance(task, dict):
            yield task["msg"]
        for key in ("block", "rescue", "always", "tasks", "pre_tasks", "post_tasks"):
            yield from messages(node.get(key))


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_debug_tasks_print_lines(path: Path) -> None:
    for message in messages(yaml.safe_load(path.read_text())):
        expression = message.startswith("{{") and message.endswith("}}") and message.count("{{") == 1
        if expression:
            assert message[2:-2].split("|")[-1].strip() == "homelab.loadbalancer.for_debug", message
        else:
            assert "\n" not in message, "a text of several lines: give its lines to the filter for_debug\n" + message


def test_a_list_of_lines_for_the_default_callback() -> None:
    assert for_debug("one \ntwo") == ["one", "two"]
    assert for_debug(["one", "two\nthree"]) == ["one", "two", "three"]


def test_a_text_where_results_are_printed_as_yaml(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants.config, "get_config_value", lambda *_args, **_options: "yaml")
    assert for_debug("one\ntwo") == "one\ntwo"
    assert for_debug(["one", "two"]) == "one\ntwo"


def test_a_hostile_node_cannot_write_to_the_terminal() -> None:
    assert for_debug("\x1b[2J\u202eone\rtwo") == [r"\x1b[2J\x202eone\x0dtwo"]
