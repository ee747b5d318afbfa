# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Removal of the roles restores the directors."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.homelab.loadbalancer.molecule.conftest import Node


@pytest.mark.parametrize("name", ["director1", "director2"])
def test_node_unchanged(name: str) -> None:
    node = Node(name)
    assert node.changes() == ""
    assert node.host.run("systemctl is-active keepalived.service").stdout.strip() == "inactive"


def test_virtual_addresses_do_not_answer(client: Any) -> None:
    assert client.reaches("192.168.10.1")
    assert client.reaches("192.168.10.2")
    assert not client.reaches("192.168.10.100")
