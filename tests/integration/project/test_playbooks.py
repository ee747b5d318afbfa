# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The playbooks of a clone, started from somewhere else, and with an inventory that lacks their hosts."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest


def play(cwd: Path, *arguments: str) -> tuple[int, str]:
    """Run ansible-playbook in a folder, without this project's settings, and return its code and what it printed."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("ANSIBLE_")}
    done = subprocess.run(
        ["ansible-playbook", *arguments],
        cwd=cwd,
        env={**clean, "ANSIBLE_NOCOLOR": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout


def test_playbooks_run_from_any_folder(root: Path, tmp_path: Path) -> None:
    code, said = play(tmp_path, "-i", str(root / "inventories/homelab"), str(root / "playbooks/k8s.yml"))
    assert code == 0, said
    # Line by line, by Ansible's default callback.
    assert '"  --tags logs   -e k8s_tools_labels=app.kubernetes.io/name=web -e k8s_tools_since=10m",' in said


@pytest.mark.parametrize(
    ("playbook", "options", "message"),
    [
        ("iptables_lb", [], "no host of the group routers is in the inventory"),
        ("iptables_lb", ["-e", "lb_hosts=dmz"], "no host of the group dmz is in the inventory"),
    ],
)
def test_a_missing_group_is_named(root: Path, tmp_path: Path, playbook: str, options: list[str], message: str) -> None:
    code, said = play(
        tmp_path, "-i", str(root / "inventories/homelab"), str(root / "playbooks" / (playbook + ".yml")), *options
    )
    assert code == 2, said
    assert message in said
    assert "The inventory has the groups clients, control_plane, k8s_api, kubernetes, workers: add the hosts" in said


@pytest.mark.parametrize(("playbook", "options"), [("site", ["--limit", "workers"]), ("k8s", ["--limit", "workers"])])
def test_a_limit_that_leaves_out_the_api_server_says_what_to_run(
    root: Path, tmp_path: Path, playbook: str, options: list[str]
) -> None:
    code, said = play(
        tmp_path, "-i", str(root / "inventories/homelab"), str(root / "playbooks" / (playbook + ".yml")), *options
    )
    assert code == 2, said
    assert (
        "--limit workers excludes the group k8s_api, which this playbook needs: run it with --limit 'workers:k8s_api'"
        in " ".join(said.split())
    )
