# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A playbook whose hosts the inventory lacks says so first: Ansible would skip its plays and end green."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

FOLDER = Path(__file__).resolve().parents[2] / "playbooks"
# The check itself; what is imported where the check was made; and what does as well with some of its hosts.
OTHERS = {"needed_hosts", "api_server", "metallb_needed", "site_down"}
PLAYBOOKS = sorted(path for path in FOLDER.glob("*.yml") if path.stem not in OTHERS)
# Hosts that a playbook does without, and says so.
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
