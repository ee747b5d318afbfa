# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A check run changes nothing, and removal restores the state before the role."""

from __future__ import annotations

from typing import Any

from ansible_collections.homelab.loadbalancer.molecule.split_dns.hosts import USUAL, resolve


def test_cluster_gets_no_queries(client: Any) -> None:
    assert "cluster" not in resolve(client, "k8s.local")[1]


def test_other_names_resolved_by_the_usual_server(client: Any) -> None:
    assert resolve(client, "example.test") == (USUAL, {"usual"})


def test_client_unchanged(client: Any) -> None:
    assert client.changes() == ""
