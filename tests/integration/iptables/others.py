# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rules of others on a node, and ours beside them."""

from __future__ import annotations

from typing import Any

from ansible_collections.homelab.loadbalancer.tests.integration.namespaces import Firewall, without_empty_tables

FOREIGN = """\
*nat
:DOCKER - [0:0]
-A PREROUTING -j DOCKER
COMMIT
*filter
:FORWARD DROP [0:0]
:DOCKER-USER - [0:0]
-A FORWARD -j DOCKER-USER
COMMIT
"""
OURS: dict[str, Any] = {
    "nat": {"chains": {"LB-X": ["-j RETURN"]}, "jumps": {"PREROUTING": [{"rule": "-j LB-X", "position": "last"}]}},
    "filter": {
        "chains": {"LB-X": ["-j DROP"], "LB-Y": []},
        "jumps": {"FORWARD": [{"rule": "-j LB-X", "before": "DOCKER-USER"}, {"rule": "-j LB-Y"}]},
    },
}


def state(firewall: Firewall) -> str:
    """The node as it may be told from another: a table in use once, in the legacy backend, is there for good."""
    saved = firewall.save(counters=True)
    return without_empty_tables(saved) if firewall.backend == "legacy" else saved
