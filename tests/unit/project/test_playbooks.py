# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A playbook fails first when the inventory lacks its hosts. Ansible would skip its plays and succeed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

FOLDER = Path(__file__).resolve().parents[3] / "playbooks"
# The check itself; what is imported where the check was made; and what does as well with some of its hosts.
OTHERS = {"needed_hosts", "demo_vars", "api_server", "metallb_needed", "site_down"}
PLAYBOOKS = sorted(path for path in FOLDER.glob("*.yml") if path.stem not in OTHERS)
# Optional hosts. The playbook reports that they are missing.
OPTIONAL = {"kubernetes", "clients", "k8s_api:kubernetes:clients"}


def plays(path: Path) -> list[dict[str, Any]]:
    loaded = yaml.safe_load(path.read_text())
    assert isinstance(loaded, list)
    return loaded


@pytest.mark.parametrize("path", PLAYBOOKS, ids=lambda path: path.stem)
def test_the_hosts_of_each_play_are_looked_for_first(path: Path) -> None:
    first, *others = plays(path)
    acting = {play["hosts"] for play in [first, *others] if "hosts" in play} - {"localhost"} - OPTIONAL
    if acting:
        assert first.get("import_playbook") == "needed_hosts.yml"
        assert acting <= set(first["vars"]["needed_hosts"])
        assert "needed_hosts_by" in first["vars"]


def included(tasks: list[dict[str, Any]]) -> list[tuple[str, list[str], list[str]]]:
    """The roles that tasks include, with the tags that run the task, and those that its tasks get."""
    found = []
    for task in tasks:
        role = task.get("ansible.builtin.include_role")
        if role:
            name = role["name"].replace("homelab.loadbalancer.", "")
            found.append((name, task.get("tags", []), role["apply"]["tags"]))
        for part in ("block", "rescue", "always"):
            below = included(task.get(part, []))
            found += [(name, tags or task.get("tags", []), inside) for name, tags, inside in below]
    return found


@pytest.mark.parametrize("playbook", ["site", "site_down", "metallb"])
def test_each_part_of_a_site_runs_alone_by_the_tag_of_its_role(playbook: str) -> None:
    parts = [part for play in plays(FOLDER / (playbook + ".yml")) for part in included(play.get("tasks", []))]
    # The zone's servers are looked up for clients where the zone itself is left out.
    parts = [part for part in parts if part != ("coredns_zone", ["split_dns"], ["split_dns"])]
    assert parts == [(name, [name], [name]) for name, *dummy in parts]
    assert {"firewalld_ports", "metallb"} <= {name for name, *dummy in parts}
