# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ranges of addresses in MetalLB's pools: `172.16.0.100-172.16.0.149`, or a network in CIDR form."""

from __future__ import annotations

import ipaddress
from typing import Any, NamedTuple

from ...module_utils._common.errors import InputError


class Range(NamedTuple):
    """All addresses from the first to the last, as numbers."""

    version: int  # 4 | 6
    first: int
    last: int

    def overlaps(self, other: Range) -> bool:
        """Whether the ranges have an address in common."""
        return self.version == other.version and self.first <= other.last and other.first <= self.last

    def holds(self, address: str) -> bool:
        """Whether the range contains the address, which may be of the other family."""
        parsed = ipaddress.ip_address(address)
        return self.version == parsed.version and self.first <= int(parsed) <= self.last


def parse_range(raw: Any, where: str) -> Range:
    """Check a range of addresses. Raises InputError with the expected format."""
    if not isinstance(raw, str):
        raise InputError('%s must be text, such as "172.16.0.100-172.16.0.149", not %s' % (where, type(raw).__name__))
    name = "%s %s" % (where, raw)
    first, dash, last = (part.strip() for part in raw.partition("-"))
    if "/" in raw and dash:
        raise InputError("%s is a network and a range at once: write FIRST-LAST or NETWORK/LENGTH" % name)
    if dash:
        found = Range(_address(first, name).version, int(_address(first, name)), int(_address(last, name)))
        if found.version != _address(last, name).version:
            raise InputError("%s has an IPv4 and an IPv6 address: both ends must be of one kind" % name)
        if found.first > found.last:
            raise InputError("%s is written backwards: write %s-%s" % (name, last, first))
    else:
        found = _network(first, name)
    _refuse_unusable(found, name)
    return found


def _network(text: str, name: str) -> Range:
    address, slash, length = text.partition("/")
    parsed = _address(address, name)
    bits = parsed.max_prefixlen
    if not slash:
        raise InputError("%s is one address: write %s/%d" % (name, text, bits))
    if not (length.isascii() and length.isdigit() and int(length) <= bits):
        raise InputError("%s has no prefix length from 0 to %d after the slash" % (name, bits))
    network = ipaddress.ip_network("%s/%s" % (parsed, int(length)), strict=False)
    if network.network_address != parsed:
        raise InputError("%s has host bits: write %s, or a range FIRST-LAST" % (name, network))
    return Range(parsed.version, int(network.network_address), int(network.broadcast_address))


def _address(text: str, name: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        raise InputError("%s: %s is not an IP address" % (name, text or "nothing")) from None


def _refuse_unusable(found: Range, name: str) -> None:
    """Refuse addresses at which no host can be reached."""
    for kind, network in (
        ("loopback", "127.0.0.0/8"),
        ("multicast", "224.0.0.0/3"),  # and the reserved addresses above it
        ("unspecified", "0.0.0.0/8"),
        ("unspecified or loopback", "::/127"),
        ("link-local", "fe80::/10"),
        ("multicast", "ff00::/8"),
    ):
        parsed = ipaddress.ip_network(network)
        if found.overlaps(Range(parsed.version, int(parsed.network_address), int(parsed.broadcast_address))):
            raise InputError("%s holds %s addresses: choose free ones of the nodes' network" % (name, kind))
