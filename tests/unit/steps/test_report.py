# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The lines that explain a failed result."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.homelab.loadbalancer.plugins.plugin_utils._steps.report import DETAIL, explanation


@pytest.mark.parametrize(
    ("result", "lines"),
    [
        pytest.param({"msg": "one\n\ntwo"}, ["one", "two"], id="message"),
        pytest.param({"msg": ["one", "two"]}, ["one", "two"], id="list"),
        pytest.param(
            {"msg": "non-zero return code", "rc": 7, "stderr": "curl: (7) refused", "stdout": ""},
            ["curl: (7) refused"],
            id="command",
        ),
        pytest.param({"msg": "non-zero return code", "rc": 1}, ["non-zero return code"], id="silent command"),
        pytest.param({"msg": "it says: broken", "stderr": "broken"}, ["it says: broken"], id="said twice"),
        pytest.param(
            {"msg": "MODULE FAILURE", "module_stderr": "Traceback\n\tline", "rc": 1},
            ["MODULE FAILURE", "Traceback", "        line"],
            id="module failure",
        ),
        pytest.param({"censored": "hidden", "msg": "secret"}, ["hidden"], id="no_log"),
        pytest.param({"failed": True}, ["no message"], id="nothing"),
        pytest.param(
            {"msg": "All items completed", "results": [{"unreachable": True, "msg": "no route", "item": "a"}]},
            ["(a)", "no route"],
            id="unreachable",
        ),
        pytest.param(
            {
                "msg": "One or more items failed",
                "results": [
                    {"failed": True, "msg": "no", "_ansible_item_label": "label", "item": {"name": "x"}},
                    {"failed": True, "msg": "neither", "port": 80, "ansible_loop_var": "port"},
                    {"skipped": True, "item": 3},
                ],
            },
            ["(label)", "no", "(80)", "neither"],
            id="items",
        ),
    ],
)
def test_explanation(result: dict[str, Any], lines: list[str]) -> None:
    assert explanation(result) == [DETAIL + line for line in lines]
