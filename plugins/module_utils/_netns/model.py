# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The declaration of a lab of network namespaces: validated and normalised.

Nothing here looks at the node. A refused value raises InputError, and its text names the entry.
"""

from __future__ import annotations

import ipaddress
import re
from typing import Any, NamedTuple, Union

from .._common.errors import InputError
from .._common.values import value_or

Address = Union[ipaddress.IPv4Interface, ipaddress.IPv6Interface]
IP = Union[ipaddress.IPv4Address, ipaddress.IPv6Address]

NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9_-]{0,30}[A-Za-z0-9])?")
# The kernel's own limit is 15 bytes, without "/" and white space; the characters here need no quoting anywhere.
LINK_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,14}")
RESERVED_LINKS = ("lo", "all", "default")
SYSCTL = re.compile(r"net([./][A-Za-z0-9_-]+)+")
SWITCH = "switch"
PROTOCOLS = ("http", "udp")


class Link(NamedTuple):
    """One end of a cable; the other end is in the bridge of its VLAN."""

    name: str
    vlan: int
    mtu: int
    addresses: tuple[str, ...]


class Route(NamedTuple):
    """A route for traffic that leaves the host's own links; `to` is a network, or `default`."""

    family: int
    to: str
    via: str
    dev: str


class Host(NamedTuple):
    """A network namespace that plays a machine."""

    name: str
    links: tuple[Link, ...]
    routes: tuple[Route, ...]
    sysctls: tuple[tuple[str, str], ...]


class Server(NamedTuple):
    """A process that answers with a fixed text, by HTTP or to each UDP datagram."""

    host: str
    protocol: str
    port: int
    text: str


class Lab(NamedTuple):
    """The whole declaration."""

    name: str
    hosts: tuple[Host, ...]
    servers: tuple[Server, ...]

    def namespace(self, host: str) -> str:
        """The name of the host's network namespace."""
        return "%s-%s" % (self.name, host)

    @property
    def switch(self) -> str:
        """The network namespace that holds the bridges."""
        return self.namespace(SWITCH)


def parse_lab(name: Any, hosts: Any, servers: Any, prefix: str = "", extra: tuple[str, ...] = ()) -> Lab:
    """Turn the declaration into a Lab.

    prefix -- of the variables' names in messages: `vlan_lab_` for `vlan_lab_hosts[1]`
    extra -- keys of a host that this function ignores
    """
    parse_name(name, prefix + "name")
    seen: dict[str, str] = {}
    parsed: list[Host] = []
    for at, entry in each(hosts, prefix + "hosts"):
        host = _parse_host(entry, at, seen, extra)
        if host.name in [other.name for other in parsed]:
            raise InputError("%s.name %s is declared twice: give each host a different name" % (at, host.name))
        parsed.append(host)
    known = [host.name for host in parsed]
    offered: dict[tuple[str, str, int], str] = {}
    listed: list[Server] = []
    for at, entry in each(servers, prefix + "servers"):
        server = _parse_server(entry, at, known)
        first = offered.setdefault(server[:3], at)
        if first != at:
            raise InputError("%s.port %d of %s is already taken by %s" % (at, server.port, server.host, first))
        listed.append(server)
    return Lab(name, tuple(parsed), tuple(listed))


def parse_name(value: Any, at: str) -> str:
    """Check a name that becomes part of a namespace's name."""
    if not isinstance(value, str) or not NAME.fullmatch(value):
        raise InputError(
            "%s %s is not a name: use 1 to 32 letters, digits, - and _, with a letter or digit at both ends"
            % (at, shown(value))
        )
    return value


def shown(value: Any) -> str:
    """A refused value as messages show it."""
    return value if isinstance(value, str) and value else repr(value)


def each(value: Any, at: str) -> list[tuple[str, Any]]:
    """The entries of a list, each with its name for messages."""
    if value is None:
        return []
    if not isinstance(value, (list, tuple)):
        raise InputError("%s is not a list: write its entries one a line, each after a dash" % at)
    return [("%s[%d]" % (at, index), entry) for index, entry in enumerate(value)]


def _mapping(value: Any, at: str, required: tuple[str, ...], optional: tuple[str, ...]) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise InputError("%s is not a mapping: it has the keys %s" % (at, ", ".join(required + optional)))
    for key in value:
        if key not in required + optional:
            raise InputError("%s.%s is not a known key: known are %s" % (at, key, ", ".join(required + optional)))
    for key in required:
        if value.get(key) is None:
            raise InputError("%s.%s is missing: declare it" % (at, key))
    return value


def integer(value: Any, at: str, low: int, high: int) -> int:
    """A whole number within limits."""
    # Templates give numbers as text.
    if isinstance(value, str) and re.fullmatch(r"[0-9]{1,9}", value):
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise InputError("%s %s is not a number from %d to %d" % (at, shown(value), low, high))
    return value


def _parse_host(value: Any, at: str, seen: dict[str, str], extra: tuple[str, ...]) -> Host:
    entry = _mapping(value, at, ("name",), ("links", "gateways", "routes", "sysctls", *extra))
    name = parse_name(entry["name"], at + ".name")
    if name == SWITCH:
        raise InputError("%s.name switch is taken by the lab's own bridges: choose another name" % at)
    links: list[Link] = []
    for where, item in each(entry.get("links"), at + ".links"):
        link = _parse_link(item, where, seen)
        if link.name in [other.name for other in links]:
            raise InputError("%s.name %s is declared twice: give each link a different name" % (where, link.name))
        links.append(link)
    return Host(name, tuple(links), _parse_routes(entry, at, links), _parse_sysctls(entry.get("sysctls"), at))


def _parse_link(value: Any, at: str, seen: dict[str, str]) -> Link:
    entry = _mapping(value, at, ("name", "vlan"), ("addresses", "mtu"))
    name = entry["name"]
    if not isinstance(name, str) or not LINK_NAME.fullmatch(name) or name in RESERVED_LINKS:
        raise InputError(
            "%s.name %s is not an interface name: use 1 to 15 letters, digits, -, _ and dots, but not %s"
            % (at, shown(name), ", ".join(RESERVED_LINKS))
        )
    vlan = integer(entry["vlan"], at + ".vlan", 1, 4094)
    addresses = []
    for where, text in each(entry.get("addresses"), at + ".addresses"):
        address = _parse_address(text, where)
        first = seen.setdefault(str(address.ip), where)
        if first != where:
            raise InputError("%s %s is already declared as %s: each address exists once" % (where, text, first))
        addresses.append(address)
    mtu = entry.get("mtu")
    # The kernel switches IPv6 off on a link with an MTU below the minimum of RFC 8200.
    low = 1280 if any(address.version == 6 for address in addresses) else 68
    return Link(
        name,
        vlan,
        1500 if mtu is None else integer(mtu, at + ".mtu", low, 65535),
        tuple(address.with_prefixlen for address in addresses),
    )


def _parse_address(text: Any, at: str) -> Address:
    if not isinstance(text, str) or "/" not in text:
        raise InputError("%s %s has no prefix length: write it as in 192.168.10.10/24" % (at, shown(text)))
    try:
        address = ipaddress.ip_interface(text)
    except ValueError as error:
        raise InputError("%s %s is not an IP address with a prefix length" % (at, text)) from error
    ip, network = address.ip, address.network
    if ip.is_multicast or ip.is_loopback or ip.is_unspecified:
        raise InputError("%s %s is not an address that a link can have" % (at, text))
    wide = network.prefixlen < network.max_prefixlen - 1
    if wide and (ip == network.network_address or (ip.version == 4 and ip == network.broadcast_address)):
        raise InputError("%s %s is the network itself or its broadcast address: choose one inside it" % (at, text))
    return address


def _ip(text: Any, at: str) -> IP:
    try:
        if isinstance(text, str):
            return ipaddress.ip_address(text)
    except ValueError:
        pass
    raise InputError("%s %s is not an IP address" % (at, shown(text)))


def _parse_routes(entry: dict[str, Any], at: str, links: list[Link]) -> tuple[Route, ...]:
    routes: list[Route] = []
    wanted = [(where, None, text, where) for where, text in each(entry.get("gateways"), at + ".gateways")]
    for where, item in each(entry.get("routes"), at + ".routes"):
        route = _mapping(item, where, ("to", "via"), ())
        wanted.append((where + ".to", route["to"], route["via"], where + ".via"))
    for where_to, to, text, where_via in wanted:
        via = _ip(text, where_via)
        target = "default" if to is None else _parse_target(to, where_to, via.version)
        found = Route(via.version, target, str(via), _device(via, where_via, links))
        if found[:2] in [other[:2] for other in routes]:
            raise InputError("%s: there is already an IPv%d route to %s" % (where_to, via.version, target))
        routes.append(found)
    return tuple(routes)


def _parse_target(to: Any, at: str, version: int) -> str:
    try:
        network = ipaddress.ip_network(to if isinstance(to, str) else "")
    except ValueError as error:
        raise InputError("%s %s is not a network, as 10.0.0.0/8 is one" % (at, shown(to))) from error
    if network.version != version:
        raise InputError("%s %s and its gateway are not of one IP version" % (at, to))
    if network.prefixlen == 0:
        return "default"
    return network.with_prefixlen


def _device(via: IP, at: str, links: list[Link]) -> str:
    networks = []
    for link in links:
        for text in link.addresses:
            address = ipaddress.ip_interface(text)
            if via == address.ip:
                raise InputError("%s %s is the host's own address: name the next host's" % (at, via))
            if via in address.network:
                return link.name
            networks.append(str(address.network))
    raise InputError(
        "%s %s is in none of the host's networks (%s): choose a gateway inside one of them"
        % (at, via, ", ".join(networks) or "it has none")
    )


def _parse_sysctls(value: Any, at: str) -> tuple[tuple[str, str], ...]:
    if value is None:
        return ()
    if not isinstance(value, dict):
        raise InputError("%s.sysctls is not a mapping of names to values" % at)
    sysctls = []
    for key, setting in value.items():
        where = "%s.sysctls.%s" % (at, key)
        if not isinstance(key, str) or not SYSCTL.fullmatch(key):
            # Any other sysctl belongs to the whole machine.
            raise InputError("%s is not a sysctl of a network namespace: those begin with net." % where)
        if isinstance(setting, bool):
            setting = int(setting)
        if not isinstance(setting, (int, str)) or "\n" in str(setting):
            raise InputError("%s has a value that is neither a number nor a line of text" % where)
        sysctls.append((key, " ".join(str(setting).split())))
    return tuple(sysctls)


def _parse_server(value: Any, at: str, hosts: list[str]) -> Server:
    entry = _mapping(value, at, ("host", "text"), ("port", "protocol"))
    host, text = entry["host"], entry["text"]
    if host not in hosts:
        raise InputError("%s.host %s is not a host of the lab: known are %s" % (at, shown(host), ", ".join(hosts)))
    if not isinstance(text, str) or "\0" in text:
        raise InputError("%s.text is not a text: put it between quotes" % at)
    protocol = value_or(entry, "protocol", "http")
    if protocol not in PROTOCOLS:
        raise InputError("%s.protocol %s is not one of %s" % (at, shown(protocol), ", ".join(PROTOCOLS)))
    port = entry.get("port")
    return Server(host, protocol, 80 if port is None else integer(port, at + ".port", 1, 65535), text)
