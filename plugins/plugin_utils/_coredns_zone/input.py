# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A declared zone, checked: its records, the names from HTTPRoutes, and how it is reached from outside.

Everything here is pure. `prefix` is the prefix of option names in messages.
"""

from __future__ import annotations

import ipaddress
import re
import zlib
from typing import Any, Iterator, Mapping, NamedTuple, Sequence

from ...module_utils._common.errors import InputError
from ...module_utils._common.values import check_keys, parse_list, parse_number
from ...module_utils._services.model import parse_address

MAX_TTL = 86400  # seconds

_LABEL = r"[a-z0-9_]([-a-z0-9_]{0,61}[a-z0-9_])?"
_NAME = re.compile(r"(?=.{1,253}\Z)(\*\.)?%s(\.%s)*\Z" % (_LABEL, _LABEL))
# A name outside the zone with one of these endings is meant as fully qualified, so it is refused.
_TOP_LEVEL = ("arpa", "com", "example", "invalid", "lan", "local", "localdomain", "net", "org")


class Record(NamedTuple):
    """The addresses of a name."""

    name: str  # fully qualified, without the last dot; a wildcard begins with `*.`
    addresses: tuple[str, ...]
    ttl: int  # seconds


class Zone(NamedTuple):
    """A checked zone."""

    name: str
    ttl: int  # seconds, for records without a ttl and for negative answers
    records: tuple[Record, ...]

    @property
    def serial(self) -> int:
        """The SOA's serial number, a checksum of the content: it changes if and only if the content does."""
        return zlib.crc32(repr(tuple(self)).encode()) or 1


class Outside(NamedTuple):
    """How the zone is reached from outside the cluster."""

    node_port: int  # 0: none
    balanced: bool
    addresses: list[str]  # of the load balancer; empty: the load balancer chooses


def parse_zone(
    name: Any,
    ttl: Any,
    records: Any,
    routes: Sequence[Mapping[str, Any]],
    gateways: Sequence[Mapping[str, Any]],
    *,
    prefix: str = "",
) -> Zone:
    """Check a zone, and add the host names of HTTPRoutes that no record declares.

    routes, gateways -- the cluster's HTTPRoutes and Gateways, as objects of the API
    Raises InputError, which names the entry.
    """
    zone = parse_name(name, prefix)
    ttl = parse_number(ttl, 0, MAX_TTL, prefix + "ttl", "a number of seconds")
    declared: dict[str, Record] = {}
    places: dict[str, str] = {}
    for index, entry in enumerate(parse_list(records, prefix + "records")):
        place = "%srecords[%d]" % (prefix, index)
        record = _record(entry, zone, ttl, place)
        if record.name in declared:
            first = places[record.name]
            raise InputError(
                "%s.name %s is already that of %s: give all addresses there" % (place, entry["name"], first)
            )
        declared[record.name], places[record.name] = record, place
    routed = _routed(routes, gateways)
    found = {host: Record(host, tuple(routed[host]), ttl) for host in routed if in_zone(host, zone)}
    return Zone(zone, ttl, tuple(sorted({**found, **declared}.values())))


def parse_name(raw: Any, prefix: str = "") -> str:
    """Check the name of a zone."""
    name = raw.lower().rstrip(".") if isinstance(raw, str) else ""
    if not _NAME.match(name) or "*" in name:
        raise InputError("%sname %s is not the name of a zone: write it like k8s.local" % (prefix, raw))
    return name


def parse_outside(options: Mapping[str, Any], prefix: str = "") -> Outside:
    """Check the node port and the addresses of the load balancer."""
    raw, where = options["load_balancer"], prefix + "load_balancer"
    port = parse_number(options["node_port"], 0, 65535, prefix + "node_port", "a port, or 0 for none,")
    # Jinja may pass a boolean as text.
    raw = {"true": True, "false": False}.get(raw.lower(), raw) if isinstance(raw, str) else raw
    if isinstance(raw, bool):
        return Outside(port, raw, [])
    entries = [raw] if isinstance(raw, str) else parse_list(raw, where)
    if not entries:
        raise InputError("%s is empty: give an address, true or false" % where)
    return Outside(port, True, [parse_address(entry, where)[0] for entry in entries])


def in_zone(name: str, zone: str) -> bool:
    """Whether a name is the zone's name or below it."""
    return ("." + name).endswith("." + zone)


def _record(raw: Any, zone: str, ttl: int, where: str) -> Record:
    check_keys(raw, ("name", "addresses", "ttl"), ("name", "addresses"), where)
    addresses = parse_list(raw["addresses"], where + ".addresses")
    if not addresses:
        raise InputError("%s.addresses is empty: give at least one" % where)
    parsed = [parse_address(entry, "%s.addresses[%d]" % (where, i))[0] for i, entry in enumerate(addresses)]
    given = raw.get("ttl")
    ttl = ttl if given is None else parse_number(given, 0, MAX_TTL, where + ".ttl", "a number of seconds")
    return Record(_full_name(raw["name"], zone, where + ".name"), tuple(dict.fromkeys(parsed)), ttl)


def _full_name(raw: Any, zone: str, where: str) -> str:
    """The fully qualified name: a name in the zone stays as written, any other is relative to the zone."""
    name = raw.lower() if isinstance(raw, str) else ""
    absolute = name.endswith(".")
    full = zone if name == "@" else name[:-1] if absolute else name
    if not in_zone(full, zone):
        if absolute or ("." in name and name.rpartition(".")[2] in (*_TOP_LEVEL, zone.rpartition(".")[2])):
            raise InputError("%s %s is outside the zone %s: names in it end with .%s" % (where, raw, zone, zone))
        full = "%s.%s" % (full, zone)
    if not _NAME.match(full):
        raise InputError(
            "%s %s is not a host name: use letters, digits, inner hyphens and dots, and * as the first label alone"
            % (where, raw)
        )
    return full


def _routed(routes: Sequence[Mapping[str, Any]], gateways: Sequence[Mapping[str, Any]]) -> dict[str, list[str]]:
    """The addresses of the Gateways, by host name of the HTTPRoutes. Invalid names and addresses are left out."""
    known = {(entry["metadata"]["namespace"], entry["metadata"]["name"]): entry for entry in gateways}
    found: dict[str, set[str]] = {}
    for route in routes:
        spec = route.get("spec") or {}
        for parent in spec.get("parentRefs") or []:
            namespace = parent.get("namespace") or route["metadata"]["namespace"]
            gateway = known.get((namespace, parent["name"])) if parent.get("kind", "Gateway") == "Gateway" else None
            addresses = set(_addresses(gateway)) if gateway else set()
            if gateway and addresses:
                for host in spec.get("hostnames") or _listened(gateway, parent.get("sectionName")):
                    if _NAME.match(host):
                        found.setdefault(host, set()).update(addresses)
    return {host: sorted(addresses) for host, addresses in found.items()}


def _addresses(gateway: Mapping[str, Any]) -> Iterator[str]:
    for entry in (gateway.get("status") or {}).get("addresses") or []:
        try:
            yield str(ipaddress.ip_address(entry.get("value")))
        except ValueError:
            continue  # a host name


def _listened(gateway: Mapping[str, Any], section: str | None) -> list[str]:
    """The host names of a Gateway's listeners. A route without host names serves these."""
    listeners = (gateway.get("spec") or {}).get("listeners") or []
    return [entry["hostname"] for entry in listeners if entry.get("hostname") and section in (None, entry.get("name"))]
