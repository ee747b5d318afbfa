# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The addresses of the routers, as molecule.yml has them."""

from __future__ import annotations

from typing import NamedTuple


class Addresses(NamedTuple):
    """A router's own addresses in VLAN 10, in VLAN 20 (inside), and its virtual ones."""

    own: str
    own6: str
    inside: str
    vip: str
    vip6: str
    vip_without_pods: str


ADDRESSES = {
    "router": Addresses(
        "192.168.10.1", "fd00:10::1", "192.168.20.1", "192.168.10.100", "fd00:10::100", "192.168.10.101"
    ),
    "legacy": Addresses(
        "192.168.10.2", "fd00:10::2", "192.168.20.2", "192.168.10.110", "fd00:10::110", "192.168.10.111"
    ),
    "nftables": Addresses(
        "192.168.10.3", "fd00:10::3", "192.168.20.3", "192.168.10.120", "fd00:10::120", "192.168.10.121"
    ),
}
