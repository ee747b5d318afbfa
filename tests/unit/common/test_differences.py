# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Messages about a node that differs from its declaration, and the diffs of files behind them."""

from __future__ import annotations

from pathlib import Path

from ansible_collections.homelab.loadbalancer.plugins.filter.differences import differences
from ansible_collections.homelab.loadbalancer.plugins.module_utils._common import files

NAT = "*nat\n:PREROUTING ACCEPT\n:LB-X -\n"


def test_each_line_that_differs_is_named_with_its_table() -> None:
    part = {
        "before_header": "iptables-save",
        "after_header": "iptables-save",
        "before": NAT + "-A PREROUTING -j LB-X\n-A LB-X -j OLD\n*filter\n-A INPUT -j LB-X\n",
        "after": NAT + "-A PREROUTING -j LB-X\n-A LB-X -j NEW\n*filter\n-A INPUT -j LB-X\n",
    }
    assert differences([part, {"before": "", "after": "x = 1\n"}]) == [
        "iptables-save *nat: not declared `-A LB-X -j OLD`",
        "iptables-save *nat: missing `-A LB-X -j NEW`",
        "the node: missing `x = 1`",
    ]
    assert differences([]) == []


def test_a_change_of_a_file_alone_has_a_diff(tmp_path: Path) -> None:
    path = str(tmp_path / "rules")
    edit = files.edit(path, "new\n")
    assert edit.diff() == {"before_header": path, "after_header": path, "before": "", "after": "new\n"}
    edit.write()
    assert not files.edit(path, "new\n").changed
    same = {"before": "x = 1\n", "after": "x = 1\n"}
    assert files.with_files(same, [files.edit(path, "new\n")]) == same
    assert files.with_files(same, [files.edit(path, None)]) == [same, {**edit.diff(), "before": "new\n", "after": ""}]


def test_binary_files_are_compared(tmp_path: Path) -> None:
    path = tmp_path / "program"
    path.write_bytes(b"\xff\x00")
    diff = files.edit(str(path), b"\xff\x01").diff()
    assert diff["before"] != diff["after"]
    assert diff["before"].startswith("2 bytes that are no text")
