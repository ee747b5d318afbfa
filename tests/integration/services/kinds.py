# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A service of every kind, for tests of what the tools list."""

from __future__ import annotations

from typing import Any

from ansible_collections.homelab.loadbalancer.tests.integration.services_lab import endpoints


def services_of_every_kind(family: str) -> list[dict[str, Any]]:
    six = "6" if family == "ipv6" else ""
    base: dict[str, Any] = {"address": "fd00:10::100" if six else "192.168.10.100"}
    ranges = ["fd00:10::/64", "fd00::/8"] if six else ["192.168.10.0/24", "10.0.0.0/8", "192.168.10.7"]
    weighted = [{**entry, "weight": weight} for entry, weight in zip(endpoints(1, 2, 3, family=family), (1, 2, 65535))]
    kinds: list[dict[str, Any]] = [
        {"endpoints": endpoints(1, family=family)},
        {"endpoints": weighted},
        {"endpoints": endpoints(*range(1, 10), family=family)},
        {"endpoints": []},
        {"endpoints": weighted, "session_affinity": {"timeout": 10800}},
        {"endpoints": weighted, "source_ranges": ranges},
        {"endpoints": weighted, "session_affinity": {"timeout": 5}, "source_ranges": ranges},
    ]
    return [
        {
            **base,
            **kind,
            "name": "%s%s-%d-%d" % (protocol, six, i, p),
            "port": 1000 + i,
            "protocol": protocol,
            **node_port,
        }
        for protocol in ("tcp", "udp", "sctp")
        for i, kind in enumerate(kinds)
        for p, node_port in enumerate([{}, {"node_port": 30000 + i, "port": 2000 + i}])
    ]


EVERY_KIND = [*services_of_every_kind("ipv4"), *services_of_every_kind("ipv6")]
