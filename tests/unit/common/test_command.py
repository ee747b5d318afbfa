# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tools of a node that succeed and say that they did not do all."""

from __future__ import annotations

from pathlib import Path

import pytest

from ansible_collections.homelab.loadbalancer.plugins.module_utils._common.command import CommandError, ask

# As iproute2 6.1: a list that changes meanwhile may be incomplete. It warns, and exits with 0.
LISTS = """#!/bin/sh
echo x >> "$1"
[ "$(wc -l < "$1")" -gt "$2" ] || echo 'Dump was interrupted and may be inconsistent.' >&2
echo "reading $(wc -l < "$1")"
"""


def test_interrupted_dump_is_read_again(tmp_path: Path) -> None:
    tool = tmp_path / "ip"
    tool.write_text(LISTS)
    tool.chmod(0o755)
    assert ask([str(tool), str(tmp_path / "count"), "2"]) == "reading 3\n"
    with pytest.raises(CommandError, match="Dump was interrupted"):
        ask([str(tool), str(tmp_path / "again"), "1000"])
