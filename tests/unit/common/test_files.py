# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Files are replaced atomically, with the SELinux type of their folder."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ansible_collections.homelab.loadbalancer.plugins.module_utils._common.files import write


def test_a_file_is_made_in_its_own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A new file inherits the SELinux type of its folder; one that is moved there keeps the type of another."""
    moves: list[tuple[str, str]] = []
    replace = os.replace

    def noted(old: str, new: str) -> None:
        moves.append((old, new))
        replace(old, new)

    monkeypatch.setattr(os, "replace", noted)
    write(str(tmp_path / "rules"), "text")
    assert [os.path.dirname(old) for old, dummy in moves] == [str(tmp_path)]
    assert [path.name for path in tmp_path.iterdir()] == ["rules"]
