# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Refusals of the connection plugin netns, without root and without a namespace."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from ansible.errors import AnsibleConnectionFailure

from ansible_collections.homelab.loadbalancer.plugins.connection import netns


@pytest.fixture
def _root(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(netns, "RUN_DIR", str(tmp_path))


@pytest.mark.usefixtures("_root")
def test_missing_namespace_is_named() -> None:
    with pytest.raises(AnsibleConnectionFailure) as failed:
        netns.check_namespace("lab-a")
    assert str(failed.value) == (
        "network namespace 'lab-a' does not exist: create it with `ip netns add lab-a`, or create the whole lab with "
        "the playbook homelab.loadbalancer.lab (playbooks/lab.yml)"
    )


@pytest.mark.usefixtures("_root")
def test_file_without_a_mounted_namespace_is_named(tmp_path: Path) -> None:
    (tmp_path / "lab-a").touch()
    with pytest.raises(AnsibleConnectionFailure, match="'lab-a' does not exist"):
        netns.check_namespace("lab-a")


@pytest.mark.usefixtures("_root")
@pytest.mark.parametrize("name", ["", ".", "..", "../../proc/1/ns/net", "a/b", "-all", "a b", "a\n", "$(id)"])
def test_invalid_name_is_refused(name: str) -> None:
    with pytest.raises(AnsibleConnectionFailure, match="is not the name of a network namespace: set ansible_"):
        netns.check_namespace(name)


def test_missing_privileges_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(AnsibleConnectionFailure, match="only root may enter network namespace 'lab-a': run Ansible as"):
        netns.check_namespace("lab-a")


def test_missing_iproute2_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda *args, **keys: None)
    with pytest.raises(AnsibleConnectionFailure, match="not installed on the control node: install iproute2"):
        netns.find_ip()


def test_ip_is_found_outside_of_a_users_path(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    program = tmp_path / "ip"
    program.touch(mode=0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert netns.find_ip() == str(program)
