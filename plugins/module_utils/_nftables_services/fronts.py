# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The addresses and UDP ports at which a table of services answers clients. Pure."""

from __future__ import annotations

from .._nftables.model import Table
from .._services.conntrack import Socket
from .places import IP

_NAMES = ("services", "no-endpoints")
_UDP = ("udp", "17")


def fronts_in(table: Table | None, family: str) -> set[Socket]:
    """The addresses and UDP ports of one family; an empty address for node ports."""
    names = {prefix + name + "-" + IP[family] for prefix in ("", "node-") for name in _NAMES}
    found = set()
    for (dummy, name), block in table.blocks.items() if table else ():
        for key in block.elements if name in names else ():
            address, protocol, port = ("", *key.split(" . "))[-3:]
            if protocol in _UDP:
                found.add((address, int(port)))
    return found
