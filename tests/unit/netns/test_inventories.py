# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Two labs, one network: the inventories differ only in the roles of client and server."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from ansible_collections.homelab.loadbalancer.plugins.module_utils._netns.model import parse_lab

LABS = ("lab", "lab_ja")


def load(root: Path, lab: str, path: str) -> Any:
    return yaml.safe_load((root / "inventories" / lab / path).read_text())


@pytest.mark.parametrize("lab", LABS)
def test_inventory_is_a_valid_lab_whose_hosts_are_in_groups(root: Path, lab: str) -> None:
    own = load(root, lab, "group_vars/all/lab.yml")
    network = load(root, lab, "group_vars/all/network.yml")
    parsed = parse_lab(own["vlan_lab_name"], network["vlan_lab_hosts"], own["vlan_lab_servers"])
    groups = load(root, lab, "hosts.yml")["lab"]["children"]
    assert sorted(host for group in groups.values() for host in group["hosts"]) == sorted(
        host.name for host in parsed.hosts
    )
    assert set(groups["pods"]["hosts"]) == {server.host for server in parsed.servers}


def test_labs_exist_side_by_side(root: Path) -> None:
    names = [load(root, lab, "group_vars/all/lab.yml")["vlan_lab_name"] for lab in LABS]
    assert len(set(names)) == len(names)
