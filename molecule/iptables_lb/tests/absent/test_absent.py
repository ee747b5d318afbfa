# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Removal of the role restores the node."""

from __future__ import annotations

from typing import Any


def test_node_unchanged(router: Any) -> None:
    assert router.changes() == ""


def test_the_virtual_address_does_not_answer(client: Any, addresses: Any) -> None:
    # The control: the node itself answers.
    assert client.reaches(addresses.own)
    assert not client.reaches(addresses.vip)
    assert client.curl(f"http://{addresses.vip}/").rc != 0
