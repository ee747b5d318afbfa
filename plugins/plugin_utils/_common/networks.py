# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The addresses of a network that no host can have. Pure."""

from __future__ import annotations

import ipaddress
from typing import NamedTuple, Union

Network = Union[ipaddress.IPv4Network, ipaddress.IPv6Network]


class Unusable(NamedTuple):
    """An address at which no host can be reached."""

    address: ipaddress.IPv4Address | ipaddress.IPv6Address
    what: str


def unusable(network: Network) -> list[Unusable]:
    """The addresses of a network that no host can have."""
    if network.num_addresses <= 2:
        return []
    if isinstance(network, ipaddress.IPv6Network):
        return [Unusable(network.network_address, "the anycast address of the routers of %s (RFC 4291)" % network)]
    return [
        Unusable(network.network_address, "the network address of %s" % network),
        Unusable(network.broadcast_address, "the broadcast address of %s" % network),
    ]
