# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Playbooks for the cluster and its nodes change nothing when the API server does not answer."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from ansible_collections.homelab.loadbalancer.tests.integration.lab import ansible_playbook, in_repository

CLOSED = {
    "apiVersion": "v1",
    "kind": "Config",
    "clusters": [{"name": "closed", "cluster": {"server": "https://127.0.0.1:1"}}],
    "contexts": [{"name": "closed", "context": {"cluster": "closed", "user": ""}}],
    "current-context": "closed",
}


@pytest.mark.parametrize("playbook", ["site", "metallb"])
def test_nothing_changes_when_the_api_server_does_not_answer(root: Path, tmp_path: Path, playbook: str) -> None:
    """The nodes get no request: a connection to one would fail."""
    (tmp_path / "kubeconfig").write_text(json.dumps(CLOSED))
    local = {"ansible_connection": "local"}
    groups = {
        "k8s_api": {"hosts": {"operator": local}},
        "kubernetes": {"hosts": {"node": {"ansible_host": "127.0.0.1", "ansible_port": 1}}},
    }
    (tmp_path / "hosts.json").write_text(json.dumps({"all": {"children": groups}}))
    variables = {"k8s_kubeconfig": str(tmp_path / "kubeconfig"), "firewalld_ports_state": "absent"}
    with in_repository(root):
        output = ansible_playbook(str(tmp_path / "hosts.json"), playbook, (), 2, variables)
    assert "https://127.0.0.1:1 does not answer" in " ".join(output.split())
    counts = re.findall(r"\b(?:changed|unreachable)=(\d+)", output)
    assert counts and set(counts) == {"0"}, output
