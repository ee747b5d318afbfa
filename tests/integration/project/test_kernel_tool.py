# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""tools/kernel runs a command in a kernel of its own, and leaves no trace of it."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest


@pytest.fixture(autouse=True, scope="module")
def _linux() -> None:
    if os.geteuid() != 0 or not shutil.which("linux.uml"):
        pytest.skip("needs root and user-mode-linux: run `make integration`")


def test_kernel_tool_passes_on_output_exit_code_and_files(root: Path, tmp_path: Path) -> None:
    command = 'uname -r; seq 20000; echo said >&2; touch /kernel-tool-was-here "$TMPDIR/kept"; exit 7'
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    with open(tmp_path / "output", "w+", encoding="utf-8") as output:
        argv = [str(root / "tools/kernel"), "sh", "-c", command]
        done = subprocess.run(argv, stdout=output, cwd=root, env=environment, check=False)
        # Whoever shares our output finds it as it was: a kernel makes what it writes to non-blocking.
        assert os.get_blocking(output.fileno())
        output.seek(0)
        lines = output.read().splitlines()
    assert lines[0] != os.uname().release
    assert lines[1:] == [*map(str, range(1, 20001)), "said"]
    assert done.returncode == 7
    assert (tmp_path / "kept").exists()
    assert not Path("/kernel-tool-was-here").exists()
