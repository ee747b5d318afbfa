# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The folder of the role lb_boot: only ours is written to, and files go one by one. No unit of a machine is named."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest

from ansible_collections.homelab.loadbalancer.tests.integration.lab import ansible_playbook, refused_hosts

PLAYBOOK = """
- hosts: all
  gather_facts: false
  vars: {lb_boot_caller: iptables_lb}
  tasks:
    - ansible.builtin.include_role: {name: homelab.loadbalancer.lb_boot, tasks_from: "{{ item }}.yml"}
      loop: "{{ phases }}"
"""


class Folders:
    """Folders, and what the role does with them in one play: a host of the play has one of them."""

    def __init__(self, path: Path) -> None:
        self.path = path
        (path / "boot.yml").write_text(PLAYBOOK, encoding="ascii")

    def fill(self, folder: str, *names: str) -> None:
        (self.path / folder).mkdir(exist_ok=True)
        for name in names:
            (self.path / folder / name).write_text("*nat\nCOMMIT\n", encoding="ascii")

    def files(self, folder: str) -> list[str]:
        return sorted(os.listdir(self.path / folder))

    def run(self, rc: int, **folders: tuple[list[str], str]) -> dict[str, str]:
        """Run phases for a declaration in each folder; returns the messages of those that were refused."""
        hosts = {
            name: {"phases": phases, "lb_boot_path": str(self.path / name), "lb_boot_name": declaration}
            for name, (phases, declaration) in folders.items()
        }
        inventory = self.path / "hosts.yml"
        inventory.write_text(json.dumps({"all": {"hosts": hosts}}), encoding="ascii")
        playbook = os.path.relpath(self.path / "boot.yml", "playbooks")[:-4]
        values = {"ansible_python_interpreter": sys.executable}
        return refused_hosts(ansible_playbook(str(inventory), playbook, ("-c", "local"), rc, values))


def test_only_our_own_files_are_written_and_removed(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:  # fmt: skip
    monkeypatch.chdir(root)
    folders = Folders(tmp_path)
    folders.fill("theirs", "rules.v4", "rules.v6")  # netfilter-persistent's, of the same names as ours
    folders.fill("former", "rules.v4", "sysctl.conf", "addresses.batch")
    present, ours = ["preflight", "folder"], "lb-boot-test"
    said = folders.run(2, theirs=(present, ours), ours=(present, ours), former=(present, "homelab-loadbalancer"))
    assert list(said) == ["theirs"]
    refusal = "iptables_lb_persist_path %s/theirs exists and does not belong to this role: it holds rules.v4, rules.v6."
    assert refusal % tmp_path in said["theirs"]
    # A folder that a former version made becomes ours.
    assert folders.files("former") == ["addresses.batch", "owner", "rules.v4", "sysctl.conf"]
    assert (tmp_path / "former/owner").read_text(encoding="ascii").endswith("\nhomelab-loadbalancer\n")

    folders.fill("ours", "rules.v4", "addresses.batch", "notes")
    said = folders.run(2, theirs=(["absent"], ours), ours=(["preflight"], "lb-boot-test-2"))
    assert list(said) == ["ours"]
    assert "exists and does not belong to this role" in said["ours"]
    assert folders.files("theirs") == ["rules.v4", "rules.v6"]

    assert folders.run(0, ours=([*present, "absent"], ours)) == {}
    assert folders.files("ours") == ["notes"]
