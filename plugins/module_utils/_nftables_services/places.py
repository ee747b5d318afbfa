# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The two places at which services of a family answer: their own addresses, and ports of the node. Pure."""

from __future__ import annotations

from typing import Mapping, NamedTuple

from .._services.model import Service

# The word of each family in rules and in names of maps.
IP = {"ipv4": "ip", "ipv6": "ip6"}
FAMILIES = tuple(IP)


class Place(NamedTuple):
    """Services of one family at their addresses (VIPs), or at their node ports.

    spelled -- the protocols as the node's nft writes them
    """

    family: str
    node: bool
    spelled: Mapping[str, str]

    @property
    def ip(self) -> str:
        return IP[self.family]

    @property
    def address(self) -> str:
        """The type of an address in sets and maps."""
        return self.family + "_addr"

    @property
    def prefix(self) -> str:
        """The start of the names of chains, sets and maps."""
        return "node-" if self.node else ""

    @property
    def type(self) -> str:
        """The type of a front in sets and maps."""
        return "inet_proto . inet_service" if self.node else self.address + " . inet_proto . inet_service"

    @property
    def key(self) -> str:
        """The front of a packet, as a key of sets and maps."""
        return "meta l4proto . th dport" if self.node else self.ip + " daddr . meta l4proto . th dport"

    @property
    def match(self) -> str:
        """The same for any packet; a node port is on all addresses of the node that others can reach."""
        if not self.node:
            return self.key
        loopback = {"ipv4": "127.0.0.0/8", "ipv6": "::1"}[self.family]
        return "fib daddr type local %s daddr != %s %s" % (self.ip, loopback, self.key)

    @property
    def original(self) -> str:
        """The front of a translated packet."""
        front = "meta l4proto . ct original proto-dst"
        return front if self.node else "ct original %s daddr . %s" % (self.ip, front)

    def front(self, service: Service) -> str:
        """The front of a service, as an element of sets and maps."""
        protocol = self.spelled[service.protocol]
        if self.node:
            return "%s . %d" % (protocol, service.node_port)
        return "%s . %s . %d" % (service.address, protocol, service.port)

    def serves(self, service: Service) -> bool:
        return service.family == self.family and bool(service.node_port or not self.node)
