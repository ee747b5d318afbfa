# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The scenario does not change the network of the machine that runs it."""

from __future__ import annotations

import difflib
import os
import subprocess
from pathlib import Path


def test_machine_network_unchanged() -> None:
    before = Path(os.environ["MOLECULE_EPHEMERAL_DIRECTORY"], "machine-state.before").read_text(encoding="utf-8")
    script = Path(__file__).parent.parent / "files" / "machine-state"
    now = subprocess.run([script], capture_output=True, check=True, encoding="utf-8").stdout
    assert len(before.splitlines()) > 20
    changes = "\n".join(difflib.unified_diff(before.splitlines(), now.splitlines(), "before", "now", lineterm="", n=0))
    assert not changes, changes
