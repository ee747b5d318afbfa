# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Control nodes with other releases of ansible-core and Python."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from ansible_collections.homelab.loadbalancer.tests.compat.matrix import CONTROL, DEMO, NODES
from ansible_collections.homelab.loadbalancer.tests.compat.results import Record


def on_machine(root: Path, release: str, *argv: str) -> str:
    """Run a command on a throw-away machine. It must succeed; its output is returned."""
    done = subprocess.run(
        [str(root / "tools/compat-machine"), release, *argv],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-20000:]
    return done.stdout


@pytest.mark.parametrize(("release", "core"), CONTROL)
def test_ansible_core_runs_the_lab(root: Path, release: str, core: str, record: Record) -> None:
    system = "ansible-core %s" % core
    ran = "syntax of all playbooks; lab, role `iptables_lb`, second run"
    record(system, ran, NODES[release])
    said = on_machine(root, release, "tests/compat/files/control-smoke", core)
    record(system, ran, "%s, %s" % (NODES[release], said.strip().splitlines()[-1].partition("versions: ")[2]))


def test_demo_runs_on_a_new_release(root: Path, record: Record) -> None:
    system, ran = "%s as control machine" % NODES[DEMO], "`make demo`, second run, `make demo-down`"
    record(system, ran, "")
    said = on_machine(root, DEMO, "bash", "-c", "tools/demo-test && .venv/bin/ansible --version")
    versions = [line for line in said.splitlines() if line.startswith(("ansible [core", "  python version"))]
    core, python = versions[0].split()[-1].rstrip("]"), versions[1].split("=")[1].split()[0]
    record(system, ran, "ansible-core %s, Python %s" % (core, python))
