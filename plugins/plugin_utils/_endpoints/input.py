# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The declaration of endpoints, checked: Services without a selector, and the addresses or pods behind them."""

from __future__ import annotations

import ipaddress
from typing import Any, NamedTuple

from ...module_utils._common.errors import InputError
from ...module_utils._common.values import check_keys, parse_boolean, parse_list, parse_number, value_or
from ...module_utils._k8s.values import parse_label, parse_labels, parse_name
from ...module_utils._services.model import PROTOCOLS, parse_address

KEYS = ("name", "namespace", "addresses", "selector", "ports", "manage_service")
PORT_KEYS = ("name", "port", "target_port", "protocol")


class Port(NamedTuple):
    """A port of the Service, and the port of its endpoints."""

    name: str  # empty if it is the only port and has no name
    port: int
    target: int
    protocol: str  # tcp | udp | sctp

    def __str__(self) -> str:
        return ("%s %d/%s" % (self.name, self.port, self.protocol)).strip()


class Declared(NamedTuple):
    """A checked entry, with either addresses or a selector."""

    where: str  # its name in messages
    name: str
    namespace: str
    addresses: tuple[tuple[str, str], ...]  # each with its family, ipv4 | ipv6
    selector: dict[str, str]
    ports: tuple[Port, ...]
    manage_service: bool

    @property
    def key(self) -> tuple[str, str]:
        """Namespace and name of the Service."""
        return self.namespace, self.name


def parse_endpoints(raw: Any, where: str = "services") -> list[Declared]:
    """Check the entries. Raises InputError, which names the first wrong one.

    where -- the list's name in messages
    """
    if raw is None:
        raise InputError(
            "%s is undefined or null: declare the Services, or write %s: [] to remove everything that this role made"
            % (where, where)
        )
    entries: list[Declared] = []
    for index, entry in enumerate(parse_list(raw, where)):
        found = _entry(entry, "%s[%d]" % (where, index))
        for other in entries:
            if other.key == found.key:
                raise InputError(
                    "%s declares Service %s/%s, which %s has already: merge them"
                    % (found.where, *found.key, other.where)
                )
        entries.append(found)
    return entries


def _entry(raw: Any, where: str) -> Declared:
    check_keys(raw, KEYS, ("name", "ports"), where)
    if (raw.get("addresses") is None) == (raw.get("selector") is None):
        raise InputError("%s needs one of addresses and selector, and not both" % where)
    selector = parse_labels(value_or(raw, "selector", {}), where + ".selector")
    if raw.get("addresses") is None and not selector:
        raise InputError("%s.selector is empty, and would choose every pod: name at least one label" % where)
    namespace = raw.get("namespace")
    return Declared(
        where,
        parse_name(raw["name"], where + ".name"),
        "default" if namespace is None else parse_label(namespace, where + ".namespace"),
        _addresses(value_or(raw, "addresses", []), where + ".addresses"),
        selector,
        _ports(raw["ports"], where + ".ports"),
        parse_boolean(raw.get("manage_service"), where + ".manage_service"),
    )


def _addresses(raw: Any, where: str) -> tuple[tuple[str, str], ...]:
    """The addresses in the kernel's spelling. Refuses those that the API server would refuse."""
    seen: dict[str, int] = {}
    found = []
    for index, entry in enumerate(parse_list(raw, where)):
        place = "%s[%d]" % (where, index)
        address, family = parse_address(entry, place)
        if ipaddress.ip_address(address).is_link_local:
            raise InputError("%s %s is a link-local address: no other network reaches it" % (place, entry))
        first = seen.setdefault(address, index)
        if first != index:
            raise InputError("%s %s stands already in %s[%d]" % (place, entry, where, first))
        found.append((address, family))
    return tuple(found)


def _ports(raw: Any, where: str) -> tuple[Port, ...]:
    entries = parse_list(raw, where)
    ports = [_port(entry, "%s[%d]" % (where, index), len(entries)) for index, entry in enumerate(entries)]
    if not ports:
        raise InputError("%s is empty: give at least one port" % where)
    taken: dict[tuple[Any, ...], int] = {}
    for index, port in enumerate(ports):
        for key in (("name", port.name), ("port", port.port, port.protocol)):
            first = taken.setdefault(key, index)
            if first != index:
                raise InputError("%s[%d].%s %s is already that of %s[%d]" % (where, index, *key[:2], where, first))
    return tuple(ports)


def _port(raw: Any, where: str, count: int) -> Port:
    check_keys(raw, PORT_KEYS, ("port",), where)
    protocol = value_or(raw, "protocol", "tcp")
    if protocol not in PROTOCOLS:
        raise InputError("%s.protocol %s is not one of %s" % (where, protocol, ", ".join(PROTOCOLS)))
    name = value_or(raw, "name", "")
    if name != "":
        parse_label(name, where + ".name")
    elif count > 1:
        raise InputError("%s.name is missing: where there are several ports, each has a name" % where)
    port = parse_number(raw["port"], 1, 65535, where + ".port", "a port")
    target = raw.get("target_port")
    if target is not None:
        target = parse_number(target, 1, 65535, where + ".target_port", "a port")
    return Port(name, port, target or port, protocol)
