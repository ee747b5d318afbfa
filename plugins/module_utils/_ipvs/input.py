# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The options of the module ipvs: checked, and converted to the planner's types."""

from __future__ import annotations

import ipaddress
import re
from typing import Any, NamedTuple

from .._common.errors import InputError
from .._common.values import check_keys, parse_boolean, parse_list, parse_number, value_or
from .._services.model import MAX_WEIGHT, PROTOCOLS, parse_address, parse_network, spoken
from .model import FLAGS, FULL_NETMASKS, OWN_FLAGS, Front, RealServer, VirtualServer, host, spell

VIRTUAL_KEYS = (
    "address", "port", "protocol", "mark", "family", "scheduler", "flags", "one_packet", "persistence_timeout",
    "persistence_netmask", "persistence_engine", "real_servers",
)  # fmt: skip
REAL_KEYS = ("address", "port", "forward", "weight", "upper_threshold", "lower_threshold")
FORWARDS = ("masquerade", "direct", "tunnel")
# The kernel counts timeouts as 32 bits of jiffies, which overflow after 49 days with the fastest clock (HZ=1000).
MAX_TIMEOUT = 31 * 24 * 3600
_NUMBERS = {
    "port": (65535, "a port"),
    "weight": (MAX_WEIGHT, "a weight"),
    "persistence_timeout": (MAX_TIMEOUT, "a number of seconds"),
    "upper_threshold": (999999999, "a number of connections"),
    "lower_threshold": (999999999, "a number of connections"),
}
MAX_MARK = (1 << 32) - 1
_NAME = re.compile(r"[a-z0-9_]{1,15}\Z")  # IP_VS_SCHEDNAME_MAXLEN
_MARKS = re.compile(r"([0-9]{1,10})(?:-([0-9]{1,10}))?\Z")


class Scope(NamedTuple):
    """Our virtual servers besides declared ones: networks, each as first and last address, and ranges of marks."""

    networks: tuple[tuple[str, int, int], ...] = ()  # family, first, last
    marks: tuple[tuple[int, int], ...] = ()

    def holds(self, front: Front) -> bool:
        if front.mark:
            return any(first <= front.mark <= last for first, last in self.marks)
        number = int(ipaddress.ip_address(front.address)) if self.networks else 0
        return any(front.family == family and first <= number <= last for family, first, last in self.networks)


def parse_scope(networks: Any, marks: Any) -> Scope:
    """Check the options `scope` and `scope_marks`."""
    ranges = []
    for i, raw in enumerate(parse_list(networks, "scope")):
        text, family = parse_network(raw, "scope[%d]" % i)
        network = ipaddress.ip_network(text)
        ranges.append((family, int(network.network_address), int(network.broadcast_address)))
    return Scope(
        tuple(ranges),
        tuple(_marks(raw, "scope_marks[%d]" % i) for i, raw in enumerate(parse_list(marks, "scope_marks"))),
    )


def _marks(raw: Any, where: str) -> tuple[int, int]:
    found = _MARKS.match(str(raw))
    first = int(found.group(1)) if found else 0
    last = int(found.group(2) or first) if found else 0
    if not 1 <= first <= last <= MAX_MARK:
        raise InputError("%s %s is not a range of marks: write it like 7 or 1-100, up to %d" % (where, raw, MAX_MARK))
    return first, last


def parse_virtual_servers(raw: Any, scope: Scope, where: str = "virtual_servers") -> list[VirtualServer]:
    """Check a list of virtual servers. InputError names the first wrong entry."""
    found: list[VirtualServer] = []
    seen: dict[Front, int] = {}
    for i, entry in enumerate(parse_list(raw, where)):
        at = "%s[%d]" % (where, i)
        virtual = _virtual(entry, at)
        first = seen.setdefault(virtual.front, i)
        if first != i:
            raise InputError(
                "%s declares %s, which %s[%d] also declares: merge their real "
                "servers" % (at, spell(virtual.front), where, first)
            )
        if any(scope) and not scope.holds(virtual.front):
            raise InputError(
                "%s %s is outside the scope, so the module could not remove it later: widen %s"
                % (at, spell(virtual.front), "scope_marks" if virtual.front.mark else "scope")
            )
        found.append(virtual)
    return found


def _virtual(raw: Any, where: str) -> VirtualServer:
    check_keys(raw, VIRTUAL_KEYS, (), where)
    front = _front(raw, where)
    scheduler = value_or(raw, "scheduler", "wlc")
    if not isinstance(scheduler, str) or not _NAME.match(scheduler):
        raise InputError(
            "%s.scheduler %r is not the name of a scheduler: write one such as rr or wlc" % (where, scheduler)
        )
    engine = value_or(raw, "persistence_engine", "")
    if engine != "" and not (isinstance(engine, str) and _NAME.match(engine)):
        raise InputError("%s.persistence_engine %r is not a persistence engine: write sip" % (where, engine))
    timeout = _given(raw, "persistence_timeout", where)
    if engine and not (timeout and front.protocol == "udp"):
        raise InputError("%s.persistence_engine needs the protocol udp and a persistence_timeout" % where)
    if not front.mark and not front.port and not timeout:
        raise InputError(
            "%s.port 0 stands for all ports, which needs a persistence_timeout: set one, or name the port" % where
        )
    one_packet = parse_boolean(raw.get("one_packet"), where + ".one_packet")
    if one_packet and front.protocol in ("tcp", "sctp"):
        raise InputError("%s.one_packet is for udp and marks: a connection of %s is more" % (where, front.protocol))
    reals = [
        _real(entry, front, "%s.real_servers[%d]" % (where, i))
        for i, entry in enumerate(parse_list(value_or(raw, "real_servers", []), where + ".real_servers"))
    ]
    _refuse_duplicates(reals, where)
    return VirtualServer(
        front,
        scheduler,
        _flags(raw.get("flags"), scheduler, where + ".flags"),
        one_packet,
        timeout,
        _netmask(raw.get("persistence_netmask"), front.family, timeout, where + ".persistence_netmask"),
        engine,
        tuple(sorted(reals)),
    )


def _front(raw: Any, where: str) -> Front:
    if raw.get("mark") is not None:
        for key in ("address", "port", "protocol"):
            if raw.get(key) is not None:
                raise InputError("%s has both mark and %s: the mark replaces it, so leave it out" % (where, key))
        family = value_or(raw, "family", "ipv4")
        if family not in tuple(FULL_NETMASKS):
            raise InputError("%s.family %s is not one of %s" % (where, family, ", ".join(FULL_NETMASKS)))
        # A mark may have more than the nine digits that parse_number allows.
        first, last = _marks(raw["mark"], where + ".mark")
        if first != last:
            raise InputError("%s.mark %s is not one mark" % (where, raw["mark"]))
        return Front(family, mark=first)
    for key in ("address", "port"):
        if raw.get(key) is None:
            raise InputError("%s.%s is missing" % (where, key))
    if raw.get("family") is not None:
        raise InputError("%s.family is only for marks: leave it out, the address defines it" % where)
    address, family = parse_address(raw["address"], where + ".address")
    protocol = value_or(raw, "protocol", "tcp")
    if protocol not in PROTOCOLS:
        raise InputError("%s.protocol %s is not one of %s" % (where, protocol, ", ".join(PROTOCOLS)))
    return Front(family, protocol, address, _given(raw, "port", where))


def _real(raw: Any, front: Front, where: str) -> RealServer:
    check_keys(raw, REAL_KEYS, ("address",), where)
    address, family = parse_address(raw["address"], where + ".address")
    forward = value_or(raw, "forward", "masquerade")
    if forward not in FORWARDS:
        raise InputError("%s.forward %s is not one of %s" % (where, forward, ", ".join(FORWARDS)))
    if family != front.family and forward != "tunnel":
        raise InputError(
            "%s.address %s is %s but the virtual server %s is %s, which %s cannot turn into it: use forward tunnel, "
            "or a virtual server of that family"
            % (where, address, spoken(family), spell(front), spoken(front.family), forward)
        )
    port = _given(raw, "port", where, front.port)
    if port != front.port and forward != "masquerade" and not front.mark:
        raise InputError(
            "%s.port %d is not the virtual server's, %d, and only forward masquerade can translate it: leave it out"
            % (where, port, front.port)
        )
    if (port == 0) != (front.port == 0) and not front.mark:
        raise InputError(
            "%s.port %d: a virtual server of all ports keeps them, and only that: leave it out" % (where, port)
        )
    upper, lower = _given(raw, "upper_threshold", where), _given(raw, "lower_threshold", where)
    if lower > upper:
        raise InputError(
            "%s.lower_threshold %d is above upper_threshold %d: connections come back when there are fewer than the "
            "lower one" % (where, lower, upper)
        )
    return RealServer(address, port, forward, _given(raw, "weight", where, 1), upper, lower)


def _given(raw: Any, key: str, where: str, default: int = 0) -> int:
    """An optional number."""
    value = raw.get(key)
    if value is None:
        return default
    most, what = _NUMBERS[key]
    return parse_number(value, 0, most, "%s.%s" % (where, key), what)


def _flags(raw: Any, scheduler: str, where: str) -> int:
    known = {**FLAGS, **OWN_FLAGS.get(scheduler, {})}
    bits = 0
    for name in parse_list([] if raw is None else raw, where):
        if name not in known:
            raise InputError("%s: %s is not a flag of the scheduler %s: those are %s" % (
                where, name, scheduler, ", ".join(known)
            ))  # fmt: skip
        bits |= known[name]
    return bits


def _netmask(raw: Any, family: str, timeout: int, where: str) -> str:
    if raw is None:
        return FULL_NETMASKS[family]
    if not timeout:
        raise InputError("%s has no effect without a persistence_timeout: set one, or leave it out" % where)
    text = str(raw).lstrip("/")
    if family == "ipv6":
        return str(parse_number(text, 1, 128, where, "a prefix length"))
    try:
        # Also refuses netmasks with holes and inverted ones.
        network = ipaddress.ip_network("0.0.0.0/" + text)
        if not network.prefixlen or ("." in text and str(network.netmask) != text):
            raise ValueError
    except ValueError:
        raise InputError("%s %s is not a netmask: write 255.255.255.0, or 24" % (where, raw)) from None
    return str(network.netmask)


def _refuse_duplicates(reals: list[RealServer], where: str) -> None:
    seen: dict[tuple[str, int], int] = {}
    for i, real in enumerate(reals):
        first = seen.setdefault(real[:2], i)
        if first != i:
            raise InputError(
                "%s.real_servers[%d] %s stands already in real_servers[%d]: raise its weight instead"
                % (where, i, host(*real[:2]), first)
            )
