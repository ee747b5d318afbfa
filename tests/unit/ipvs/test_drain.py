# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ended connections in the kernel's list."""

from __future__ import annotations

from ansible_collections.homelab.loadbalancer.plugins.module_utils._ipvs.drain import Route, ended
from ansible_collections.homelab.loadbalancer.plugins.module_utils._ipvs.model import Front

# As Linux 6.1 writes /proc/net/ip_vs_conn.
LISTED = """\
Pro FromIP   FPrt ToIP     TPrt DestIP   DPrt State       Expires PEName PEData
TCP C0A80A0A 9C40 0AFE0A80 0050 0AF40103 1F90 TIME_WAIT       117
TCP C0A80A0A 9C41 0AFE0A80 0050 0AF40103 1F90 TIME_WAIT       119
TCP C0A80A0A 9C42 0AFE0A80 0050 0AF40103 1F90 ESTABLISHED     899
TCP C0A80A0A 9C43 0AFE0A80 0050 0AF40103 1F90 FIN_WAIT         12
TCP C0A80A0A 9C44 0AFE0A80 0050 0AF40103 1F90 CLOSE             9
TCP C0A80A0A 0000 0AFE0A80 0050 0AF40103 1F90 NONE             99
UDP C0A80A0A 9C40 0AFE0A80 0050 0AF40103 1F90 UDP             299
TCP fd00:0010:0000:0000:0000:0000:0000:0010 9C40 fd00:0254:0000:0000:0000:0000:0000:0080 0050 \
fd00:0244:0001:0000:0000:0000:0000:0003 1F90 TIME_WAIT        50
"""
IPV4 = Route(Front("ipv4", "tcp", "10.254.10.128", 80), "10.244.1.3", 8080)
IPV6 = Route(Front("ipv6", "tcp", "fd00:254::80", 80), "fd00:244:1::3", 8080)


def test_connection_has_ended_some_seconds_after_both_sides_closed_it() -> None:
    assert list(ended(LISTED.splitlines())) == [IPV4, IPV6]


def test_duplicate_connections_count_once() -> None:
    assert list(ended([*LISTED.splitlines(), *LISTED.splitlines()])) == [IPV4, IPV6]
