# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""These tests run in a kernel of their own, by `tools/kernel`, and must not be let loose on another."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(autouse=True, scope="session")
def _machine() -> None:
    if "User Mode Linux" not in Path("/proc/cpuinfo").read_text(encoding="ascii"):
        pytest.skip("not in a kernel of its own: run `tools/kernel .venv/bin/pytest tests/kernel`")
