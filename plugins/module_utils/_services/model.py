# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The service model: the meaning of `lb_services`, independent of the data plane.

A service is a virtual address (VIP), a protocol and a port, with endpoints behind them. This module validates and
normalises the declaration once. Data planes make their rules from the model and never read raw input.

Semantics follow the Kubernetes Service API. With an empty list of endpoints, connections are refused. Session affinity
is by client address with a timeout of 1 to 86400 seconds (default 10800). Source ranges are the networks that may
connect.
"""

from __future__ import annotations

import re
import socket
from typing import Any, Iterable, NamedTuple

from .._common import files
from .._common.errors import InputError
from .._common.values import DIGITS, check_keys, parse_list, parse_number, value_or

PROTOCOLS = ("tcp", "udp", "sctp")
NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?\Z")
DEFAULT_AFFINITY_TIMEOUT = 10800
MAX_AFFINITY_TIMEOUT = 86400
MAX_WEIGHT = 65535

SERVICE_KEYS = (
    "name", "address", "port", "protocol", "endpoints", "session_affinity", "source_ranges", "node_port",
)  # fmt: skip
ENDPOINT_KEYS = ("address", "port", "weight")


# The options that the modules of all data planes share.
SERVICES_ARGUMENTS: dict[str, dict[str, Any]] = {
    "services": {"type": "list", "elements": "dict", "default": []},
    "services_file": {"type": "path"},
    "prefix": {"type": "str", "default": "LB-"},
    "masquerade": {"type": "bool", "default": True},
    "masquerade_mark": {"type": "str", "default": "0x1000"},
    "pod_cidr": {"type": "list", "elements": "str", "default": []},
    "isolate": {
        "type": "list",
        "elements": "dict",
        "default": [],
        "options": {"from": {"type": "str", "required": True}, "to": {"type": "str", "required": True}},
    },
}


class Endpoint(NamedTuple):
    """One backend of a service. Its share of new connections is weight / (sum of the weights)."""

    address: str
    port: int
    weight: int


class Service(NamedTuple):
    """A validated service. Addresses are in the kernel's spelling."""

    name: str
    family: str  # ipv4 | ipv6
    address: str
    port: int
    protocol: str  # tcp | udp | sctp
    endpoints: tuple[Endpoint, ...]
    affinity: int  # seconds, 0 for none
    source_ranges: tuple[str, ...]  # empty: everyone
    node_port: int  # 0 for none


def read_services(options: dict[str, Any]) -> list[Service]:
    """The services of the options `services` and `services_file`, validated together."""
    return parse_services(files.read_list(options, "services"), "lb_services")


def parse_services(raw: Any, where: str = "lb_services") -> list[Service]:
    """Validate and normalise a list of services.

    raw -- the declared list
    where -- the variable's name in messages

    Raises an InputError that names the first invalid entry.
    """
    services = [_service(entry, "%s[%d]" % (where, i)) for i, entry in enumerate(parse_list(raw, where))]
    _refuse_duplicates(services, where)
    return services


def parse_network(raw: Any, where: str) -> tuple[str, str]:
    """Validate a network in CIDR notation and return it with its family. A single address is a network of one."""
    text, slash, length_text = str(raw).partition("/")
    family, packed = _pack(text)
    bits = len(packed) * 8
    if not family or (slash and not (DIGITS.match(length_text) and int(length_text) <= bits)):
        raise InputError("%s %s is not a network: write it like 192.168.10.0/24 or fd00:10::/64" % (where, raw))
    length = int(length_text) if slash else bits
    host = int.from_bytes(packed, "big") & ((1 << (bits - length)) - 1)
    if host:
        network = (int.from_bytes(packed, "big") - host).to_bytes(len(packed), "big")
        right = "%s/%d" % (_spell(network), length)
        raise InputError("%s %s has host bits set: write %s" % (where, raw, right))
    return "%s/%d" % (_spell(packed), length), family


def _service(raw: Any, where: str) -> Service:
    check_keys(raw, SERVICE_KEYS, ("name", "address", "port", "endpoints"), where)
    name = raw["name"]
    if not isinstance(name, str) or not NAME.match(name):
        raise InputError(
            "%s.name %r is not a service name: use letters, digits and inner hyphens, 63 at most" % (where, name)
        )
    address, family = parse_address(raw["address"], where + ".address")
    port = parse_number(raw["port"], 1, 65535, where + ".port", "a port")
    protocol = value_or(raw, "protocol", "tcp")
    if protocol not in PROTOCOLS:
        raise InputError("%s.protocol %s is not one of %s" % (where, protocol, ", ".join(PROTOCOLS)))
    endpoints = tuple(
        _endpoint(entry, port, address, family, "%s.endpoints[%d]" % (where, i))
        for i, entry in enumerate(parse_list(raw["endpoints"], where + ".endpoints"))
    )
    _refuse_duplicate_endpoints(endpoints, where)
    ranges = tuple(
        _source_range(entry, family, "%s.source_ranges[%d]" % (where, i))
        for i, entry in enumerate(parse_list(value_or(raw, "source_ranges", []), where + ".source_ranges"))
    )
    node_port = raw.get("node_port")
    return Service(
        name,
        family,
        address,
        port,
        protocol,
        endpoints,
        _affinity(raw.get("session_affinity"), where + ".session_affinity"),
        ranges,
        0 if node_port is None else parse_number(node_port, 1, 65535, where + ".node_port", "a port"),
    )


def _endpoint(raw: Any, service_port: int, vip: str, vip_family: str, where: str) -> Endpoint:
    check_keys(raw, ENDPOINT_KEYS, ("address",), where)
    address, family = parse_address(raw["address"], where + ".address")
    if family != vip_family:
        raise InputError(
            "%s.address %s is %s but the service's address %s is %s: a packet's family cannot change, "
            "declare a service for each family" % (where, address, spoken(family), vip, spoken(vip_family))
        )
    if address == vip:
        raise InputError("%s.address %s is the service's own address: name the backend's" % (where, address))
    raw_port, raw_weight = raw.get("port"), raw.get("weight")
    port = service_port if raw_port is None else parse_number(raw_port, 1, 65535, where + ".port", "a port")
    weight = 1 if raw_weight is None else parse_number(raw_weight, 1, MAX_WEIGHT, where + ".weight", "a weight")
    return Endpoint(address, port, weight)


def _affinity(raw: Any, where: str) -> int:
    if raw is None:
        return 0
    check_keys(raw, ("timeout",), (), where)
    timeout = raw.get("timeout")
    if timeout is None:
        return DEFAULT_AFFINITY_TIMEOUT
    return parse_number(timeout, 1, MAX_AFFINITY_TIMEOUT, where + ".timeout", "a number of seconds")


def _source_range(raw: Any, vip_family: str, where: str) -> str:
    network, family = parse_network(raw, where)
    if family != vip_family:
        raise InputError(
            "%s %s is %s but the service is %s: it can never match" % (where, raw, spoken(family), spoken(vip_family))
        )
    return network


def _refuse_duplicate_endpoints(endpoints: Iterable[Endpoint], where: str) -> None:
    seen: dict[tuple[str, int], int] = {}
    for i, endpoint in enumerate(endpoints):
        first = seen.setdefault(endpoint[:2], i)
        if first != i:
            raise InputError(
                "%s.endpoints[%d] %s port %d stands already in endpoints[%d]: raise its weight instead"
                % (where, i, endpoint.address, endpoint.port, first)
            )


def _refuse_duplicates(services: list[Service], where: str) -> None:
    names: dict[str, int] = {}
    fronts: dict[tuple[str, str, int], int] = {}
    node_ports: dict[tuple[str, str, int], int] = {}
    for i, service in enumerate(services):
        first = names.setdefault(service.name, i)
        if first != i:
            raise InputError("%s[%d].name %s is already the name of %s[%d]" % (where, i, service.name, where, first))
        first = fronts.setdefault((service.address, service.protocol, service.port), i)
        if first != i:
            raise InputError(
                "%s[%d] declares %s port %d/%s, which %s[%d] (%s) has already: merge their endpoints or change one"
                % (where, i, service.address, service.port, service.protocol, where, first, services[first].name)
            )
        if not service.node_port:
            continue
        first = node_ports.setdefault((service.family, service.protocol, service.node_port), i)
        if first != i:
            raise InputError(
                "%s[%d].node_port %d/%s is already taken by %s[%d] (%s)"
                % (where, i, service.node_port, service.protocol, where, first, services[first].name)
            )


def parse_address(raw: Any, where: str) -> tuple[str, str]:
    """Validate the address of a host, and return it with its family."""
    family, packed = _pack(str(raw))
    if not family:
        raise InputError("%s %s is not an IP address" % (where, raw))
    reason = _unusable(packed)
    if reason:
        raise InputError("%s %s is %s: it cannot carry a service" % (where, raw, reason))
    return _spell(packed), family


def _pack(text: str) -> tuple[str, bytes]:
    """The family and the bytes of an address, or ("", b""). Ten times faster than the ipaddress module."""
    for family, number in (("ipv4", socket.AF_INET), ("ipv6", socket.AF_INET6)):
        try:
            return family, socket.inet_pton(number, text)
        except (OSError, ValueError):
            continue
    return "", b""


def _spell(packed: bytes) -> str:
    return socket.inet_ntop(socket.AF_INET if len(packed) == 4 else socket.AF_INET6, packed)


def _unusable(packed: bytes) -> str:
    """Why no host can have this unicast address (RFC 6890, RFC 4291), or an empty string."""
    if not any(packed):
        return "the unspecified address"
    return _unusable_ipv4(packed[0]) if len(packed) == 4 else _unusable_ipv6(packed)


def _unusable_ipv4(first: int) -> str:
    if first >= 224:
        return "a reserved address" if first >= 240 else "a multicast address"
    return {0: "in 0.0.0.0/8", 127: "a loopback address"}.get(first, "")


def _unusable_ipv6(packed: bytes) -> str:
    if packed == b"\0" * 15 + b"\1":
        return "the loopback address"
    if packed[0] == 0xFF:
        return "a multicast address"
    if packed[0] == 0xFE and packed[1] & 0xC0 == 0x80:
        return "a link-local address"
    return "an IPv4-mapped address" if packed[:12] == b"\0" * 10 + b"\xff\xff" else ""


def spoken(family: str) -> str:
    """The spelling of a family in messages."""
    return {"ipv4": "IPv4", "ipv6": "IPv6"}[family]
