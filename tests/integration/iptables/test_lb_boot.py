# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The folder of the role lb_boot: only ours is written to, and files go one by one. No unit of a machine is named."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.homelab.loadbalancer.tests.integration.lab import ansible_playbook

PLAYBOOK = """
- hosts: all
  gather_facts: false
  vars: {lb_boot_caller: iptables_lb}
  tasks:
    - ansible.builtin.include_role: {name: homelab.loadbalancer.lb_boot, tasks_from: "{{ item }}.yml"}
      loop: "{{ phases }}"
"""
PRESENT = ["preflight", "folder"]


class Folder:
    """What is in a folder, and what the role does with it."""

    def __init__(self, path: Path) -> None:
        self.path = path / "kept"
        self._playbook = path / "boot.yml"
        self._playbook.write_text(PLAYBOOK, encoding="ascii")

    def fill(self, *names: str) -> None:
        self.path.mkdir(exist_ok=True)
        for name in names:
            (self.path / name).write_text("*nat\nCOMMIT\n", encoding="ascii")

    def files(self) -> list[str]:
        return sorted(os.listdir(self.path)) if self.path.exists() else ["no folder"]

    def run(self, *phases: str, rc: int = 0, name: str = "homelab-loadbalancer") -> str:
        values: dict[str, Any] = {"phases": phases, "lb_boot_path": str(self.path), "lb_boot_name": name}
        values["ansible_python_interpreter"] = sys.executable
        playbook = os.path.relpath(self._playbook, "playbooks")[:-4]
        return re.sub(r"\s+", " ", ansible_playbook("localhost,", playbook, ("-c", "local"), rc, values))


@pytest.fixture
def folder(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Folder:
    monkeypatch.chdir(root)
    return Folder(tmp_path)


def test_a_folder_of_others_is_refused_and_left(folder: Folder) -> None:
    folder.fill("rules.v4", "rules.v6")  # netfilter-persistent's, of the same names as ours
    said = folder.run(*PRESENT, rc=2)
    refusal = "iptables_lb_persist_path %s exists and does not belong to this role: it holds rules.v4, rules.v6. Choose"
    assert refusal % folder.path in said
    folder.run("absent", name="lb-boot-test")
    assert folder.files() == ["rules.v4", "rules.v6"]


def test_our_files_go_one_by_one(folder: Folder) -> None:
    folder.run(*PRESENT, name="lb-boot-test")
    folder.fill("rules.v4", "addresses.batch", "notes")
    # It belongs to another declaration.
    assert "exists and does not belong to this role" in folder.run("preflight", rc=2, name="lb-boot-test-2")
    folder.run(*PRESENT, "absent", name="lb-boot-test")
    assert folder.files() == ["notes"]


def test_a_folder_of_a_former_version_becomes_ours(folder: Folder) -> None:
    folder.fill("rules.v4", "sysctl.conf", "addresses.batch")
    folder.run(*PRESENT)
    assert folder.files() == ["addresses.batch", "owner", "rules.v4", "sysctl.conf"]
    assert (folder.path / "owner").read_text(encoding="ascii").endswith("\nhomelab-loadbalancer\n")
