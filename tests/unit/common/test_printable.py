# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Text of others, in a comment of a rule or in an answer of an API server, is shown by the terminal and not obeyed."""

from __future__ import annotations

import ast
import json
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils import basic

from ansible_collections.homelab.loadbalancer.plugins.module_utils._common.module import Module
from ansible_collections.homelab.loadbalancer.plugins.module_utils._common.printable import printable, printable_diff
from ansible_collections.homelab.loadbalancer.plugins.module_utils._netns.node import parse_json

PLUGINS = Path(__file__).resolve().parents[3] / "plugins"
HOSTILE = "\x1b]0;owned\x07\u202e\udc80end"
SHOWN = r"\x1b]0;owned\x07\x202e\xdc80end"


def test_lines_stay_lines() -> None:
    assert printable("one\n%s\ntwo" % HOSTILE) == "one\n%s\ntwo" % SHOWN
    assert printable("日本 ─ ok") == "日本 ─ ok"


def test_a_diff_is_shown_whatever_its_form() -> None:
    assert printable_diff([{"before": "\t" + HOSTILE, "after_header": HOSTILE, "after": None}]) == [
        {"before": "\t" + SHOWN, "after_header": SHOWN, "after": None}
    ]
    assert printable_diff({"prepared": HOSTILE}) == {"prepared": SHOWN}


@pytest.fixture(name="module")
def _module(monkeypatch: pytest.MonkeyPatch) -> Module:
    monkeypatch.setattr(basic, "_load_params", dict)
    monkeypatch.setattr(basic, "_ANSIBLE_ARGS", b'{"ANSIBLE_MODULE_ARGS": {}}', raising=False)
    monkeypatch.setattr(basic, "_ANSIBLE_PROFILE", "modern", raising=False)
    return Module(argument_spec={})


def result(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    answer = json.loads(capsys.readouterr().out)
    assert isinstance(answer, dict)
    return answer


def test_failure_message_is_printable(module: Module, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        module.fail_json(msg="iptables-restore: " + HOSTILE)
    assert result(capsys)["msg"] == "iptables-restore: " + SHOWN


def test_warning_is_printable(module: Module, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    monkeypatch.setattr(basic.AnsibleModule, "warn", lambda _self, warning: said.append(warning))
    module.warn("real server " + HOSTILE)
    assert said == ["real server " + SHOWN]


def test_a_module_shows_a_diff_and_returns_data_as_it_is(module: Module, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        module.exit_json(changed=True, diff={"before": HOSTILE, "after": ""}, found="\x1b[2J")
    answer = result(capsys)
    assert answer["diff"] == {"before": SHOWN, "after": ""}
    assert answer["found"] == "\x1b[2J"


@pytest.mark.parametrize("path", sorted(PLUGINS.glob("modules/*.py")), ids=lambda path: path.stem)
def test_all_modules_print_safely(path: Path) -> None:
    tree = ast.parse(path.read_text())
    names = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    assert "AnsibleModule" not in names
    # Without a main() the action plugin of the same name does it all.
    assert "main" not in names or names & {"Module", "NodeModule", "discreet_module", "run_module"}


@pytest.mark.parametrize("path", sorted(PLUGINS.glob("action/*.py")), ids=lambda path: path.stem)
def test_messages_of_actions_are_printable(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "AnsibleActionFail":
            assert ast.unparse(node.args[0]).startswith("printable(")


def test_json_of_ip_is_read_with_any_link_names() -> None:
    """It does not escape control characters."""
    assert parse_json('[{"ifname":"\x1b[2J"}]\n[]') == [[{"ifname": "\x1b[2J"}], []]
