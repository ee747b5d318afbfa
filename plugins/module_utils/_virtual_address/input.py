# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Validates declared virtual addresses, without the node."""

from __future__ import annotations

import ipaddress
import re
from typing import NamedTuple, Sequence, Union

from .._common.errors import InputError

IPAddress = Union[ipaddress.IPv4Address, ipaddress.IPv6Address]


class Declared(NamedTuple):
    """One valid entry of `addresses`.

    entry -- the name of the entry in messages
    prefix -- the prefix length; None if the user gave none
    """

    entry: str
    ip: IPAddress
    prefix: int | None

    @property
    def full_prefix(self) -> int:
        return self.ip.max_prefixlen if self.prefix is None else self.prefix


def parse_addresses(values: Sequence[str], option: str = "addresses") -> tuple[Declared, ...]:
    """The valid entries of an option. InputError names the first invalid one.

    option -- the name of the list for messages, or a field of a list's entries such as `lb_services[*].address`.
        With a field, several entries may have the same address.
    """
    declared: dict[IPAddress, Declared] = {}
    field = "[*]" in option
    place = option if field else option + "[*]"
    for index, value in enumerate(values):
        new = _parse_address("%s %s" % (place.replace("*", str(index)), value), value)
        old = declared.setdefault(new.ip, new)
        if old is not new and not field:
            raise InputError("%s is the same address as %s: remove one of them" % (new.entry, old.entry))
    return tuple(declared.values())


def _parse_address(entry: str, value: str) -> Declared:
    text, slash, prefix_text = value.partition("/")
    try:
        if "%" in text:
            raise ValueError
        ip = ipaddress.ip_address(text)
    except ValueError:
        raise InputError("%s is not an IP address" % entry) from None
    prefix = None
    if slash:
        if not re.fullmatch("[0-9]{1,3}", prefix_text) or not 1 <= int(prefix_text) <= ip.max_prefixlen:
            raise InputError("%s has no valid prefix length: give 1 to %d, or none" % (entry, ip.max_prefixlen))
        prefix = int(prefix_text)
    reason = _unusable(ip)
    if reason:
        raise InputError("%s is %s: declare an address that other hosts can reach" % (entry, reason))
    if prefix is not None:
        refuse_ends(entry, ip, ipaddress.ip_network((ip, prefix), strict=False))
    return Declared(entry, ip, prefix)


def parse_metric(value: int) -> int:
    """A metric that can mark addresses. 0 cannot: addresses without a metric have it. The kernel stores 32 bits."""
    if not 1 <= value <= 0xFFFFFFFF:
        raise InputError("metric %d cannot mark an address: give 1 to 4294967295" % value)
    return value


def _unusable(ip: IPAddress) -> str:
    if ip.is_unspecified:
        return "the unspecified address"
    if ip.is_loopback:
        return "a loopback address"
    if ip.is_multicast:
        return "a multicast address"
    if isinstance(ip, ipaddress.IPv4Address):
        return "the broadcast address" if int(ip) == 0xFFFFFFFF else ""
    if ip.ipv4_mapped is not None:
        return "an IPv4-mapped address"
    return "a link-local address" if ip.is_link_local else ""


def refuse_ends(entry: str, ip: IPAddress, network: ipaddress.IPv4Network | ipaddress.IPv6Network) -> None:
    """Refuse the network and the broadcast address of an IPv4 network (RFC 1122). A /31 has neither (RFC 3021)."""
    if network.version == 4 and network.prefixlen <= 30 and ip in (network.network_address, network.broadcast_address):
        end = "network" if ip == network.network_address else "broadcast"
        raise InputError("%s is the %s address of %s: declare an address of a host" % (entry, end, network))
