# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How it is before the role was applied, after a check run, and after the role was taken away."""

from __future__ import annotations

from typing import Any

from ansible_collections.homelab.loadbalancer.molecule.split_dns.hosts import USUAL, resolve


def test_nothing_is_asked_of_the_cluster(client: Any) -> None:
    assert "cluster" not in resolve(client, "k8s.local")[1]


def test_other_names_are_asked_of_the_usual_server(client: Any) -> None:
    assert resolve(client, "example.test") == (USUAL, {"usual"})


def test_the_client_is_as_it_was(client: Any) -> None:
    assert client.output("/root/node-state") == client.output("cat /root/node-state.before")
