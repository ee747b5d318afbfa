# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The addresses and ports that a node serves itself: its own addresses, its programs, and Ansible's login.

A service takes all packets to its address and port before any program of the node gets them. So a service is refused if
the node itself uses its address, or if a program listens on its port, unless an option allows that address or port.
A service that would take Ansible's next login is always refused.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import sys
from typing import Any, Iterator, Mapping, NamedTuple, Sequence

from .._common.command import run
from .._common.errors import InputError
from .._virtual_address.plan import OWNERS
from .model import Service, parse_address

_BITS = {"inet": 32, "inet6": 128}
_FAMILIES = {"": socket.AF_INET, "6": socket.AF_INET6}
_WAITS = {"tcp": "0A", "udp": "07"}  # TCP_LISTEN and TCP_CLOSE of net/tcp_states.h, the latter of unconnected sockets
_ALL = ("0.0.0.0", "::")  # noqa: S104 - nothing is bound
# Addresses for documentation (RFC 5737, RFC 3849). No packet is sent to them.
_ELSEWHERE = {socket.AF_INET: "192.0.2.1", socket.AF_INET6: "2001:db8::1"}

ARGUMENTS: dict[str, dict[str, Any]] = {
    "allow_own_addresses": {"type": "list", "elements": "str", "default": []},
    "allow_listening_ports": {"type": "list", "elements": "str", "default": []},
}


class Socket(NamedTuple):
    """A socket on which a program waits for clients."""

    protocol: str
    address: str
    port: int


class Answers(NamedTuple):
    """The addresses and sockets that a node serves itself.

    own -- the addresses that it uses itself, each with its link
    sockets -- the sockets on which its programs wait
    login -- the address and port of Ansible's connection
    """

    own: Mapping[str, str]
    sockets: frozenset[Socket] = frozenset()
    login: Socket | None = None


class _Place(NamedTuple):
    """The address and port of a service, and their name in messages. The address of a node port is empty (all)."""

    entry: str
    family: str
    target: Socket

    def holds(self, bound: Socket) -> bool:
        """Whether the service takes the packets of a program that listens on `bound`.

        If the program listens on all addresses, this is true only for a node port. A VIP does not count, because the
        program was not started for it.
        """
        if (bound.protocol, bound.port) != (self.target.protocol, self.target.port):
            return False
        if self.target.address:
            return bound.address == self.target.address
        # A program on `::` may also serve IPv4. Node ports do not apply to loopback addresses.
        other = bound.address != "::" and (":" in bound.address) != (self.family == "ipv6")
        return not other and bound.address != "::1" and not bound.address.startswith("127.")


def local_addresses(family: str) -> set[str]:
    """The addresses at which other hosts reach the node, without loopback addresses."""
    addresses = {found["local"] for dummy, found in _listed()}
    outside = {address for address in addresses if address != "::1" and not address.startswith("127.")}
    return {address for address in outside if (":" in address) == (family == "ipv6")}


def refuse_taken(services: Sequence[Service], options: Mapping[str, Any]) -> None:
    """InputError if a service would take an address or port that the node serves itself, unless an option allows it."""
    if services and options["state"] == "present":
        own = {parse_address(each, "allow_own_addresses")[0] for each in options["allow_own_addresses"]}
        reasons = taken(services, read_answers(), own, options["allow_listening_ports"], options["variables"])
        if reasons:
            raise InputError("; ".join(reasons))


def taken(
    services: Sequence[Service],
    node: Answers,
    own: set[str],
    ports: Sequence[str],
    variables: Mapping[str, str],
) -> list[str]:
    """The addresses and ports that services would take from the node, as messages with the remedy.

    own, ports -- the allowed addresses, and the allowed ports as PORT/PROTOCOL
    variables -- the names of options in messages
    """
    found = []
    waiting: dict[tuple[str, int], list[Socket]] = {}
    for bound in sorted(node.sockets):
        waiting.setdefault((bound.protocol, bound.port), []).append(bound)
    for i, service in enumerate(services):
        where = "lb_services[%d]" % i
        if service.address in node.own and service.address not in own:
            found.append(
                "%s.address %s is the node's own on %s, so the service would take what the node answers at port %d: "
                "take another address, or list this one in %s"
                % (
                    where,
                    service.address,
                    node.own[service.address],
                    service.port,
                    _named("allow_own_addresses", variables),
                )
            )
            continue
        for place in _places(service, where):
            said = "%d/%s" % (place.target.port, place.target.protocol)
            bound_there = [each for each in waiting.get((service.protocol, place.target.port), ()) if place.holds(each)]
            if node.login and place.holds(node.login):
                found.append("%s is where Ansible's own connection arrives: take another one" % place.entry)
            elif bound_there and said not in ports:
                found.append(
                    "%s is where a program of the node listens (%s): take another one, stop that program, or list %s "
                    "in %s" % (place.entry, _spell(bound_there[0]), said, _named("allow_listening_ports", variables))
                )
    return found


def _named(option: str, variables: Mapping[str, str]) -> str:
    return variables.get(option, option)


def _places(service: Service, where: str) -> Iterator[_Place]:
    target = Socket(service.protocol, service.address, service.port)
    yield _Place("%s.port %d of %s" % (where, service.port, service.address), service.family, target)
    if service.node_port:
        target = Socket(service.protocol, "", service.node_port)
        yield _Place("%s.node_port %d" % (where, service.node_port), service.family, target)


def _spell(bound: Socket) -> str:
    return "%s %s port %d" % (bound.protocol, "all addresses" if bound.address in _ALL else bound.address, bound.port)


def read_answers() -> Answers:
    """The current state of the node, in this network namespace."""
    own = own_addresses(list(_listed()), {source for source in map(_source, _ELSEWHERE) if source})
    return Answers(own, frozenset(_sockets()), _login())


def _listed() -> Iterator[tuple[str, dict[str, Any]]]:
    for link in json.loads(run(["ip", "-json", "address", "show"]).out or "[]"):
        for found in link.get("addr_info", []):
            if "local" in found:
                yield link["ifname"], found


def own_addresses(listed: Sequence[tuple[str, Mapping[str, Any]]], sources: set[str]) -> dict[str, str]:
    """The addresses that the node itself uses, with their links.

    An address counts as a VIP if it is a single address (/32, /128), a secondary address of its network, or a
    deprecated IPv6 address, no matter what added it. All others are the node's own. An address that the node uses as
    the source of connections is its own as well.
    """
    found = {}
    for link, address in listed:
        alone = address["prefixlen"] == _BITS[address["family"]]
        second = bool(address.get("secondary" if address["family"] == "inet" else "deprecated"))
        uses = address["local"] in sources or not (alone or second)
        if uses and address.get("scope") == "global" and address.get("metric") not in OWNERS:
            found[address["local"]] = link
    return found


def _source(family: int) -> str:
    """The source address of the node's connections to other networks. Empty if it has no route."""
    with socket.socket(family, socket.SOCK_DGRAM) as asked:
        try:
            asked.connect((_ELSEWHERE[socket.AddressFamily(family)], 9))
        except OSError:
            return ""
        return str(asked.getsockname()[0])


def _sockets() -> Iterator[Socket]:
    for protocol in _WAITS:
        for version in _FAMILIES:
            with contextlib.suppress(FileNotFoundError), open("/proc/self/net/" + protocol + version) as table:
                yield from parse_sockets(protocol, version, table.read())


def parse_sockets(protocol: str, version: str, table: str) -> Iterator[Socket]:
    """The sockets in a table of /proc/net that wait for clients.

    version -- 6 for tcp6 and udp6, otherwise empty
    """
    for line in table.splitlines()[1:]:
        local, state = line.split()[1:4:2]
        if state == _WAITS[protocol]:
            address, port = local.split(":")
            # The table shows 32-bit words in the byte order of the machine.
            words = [int(address[i : i + 8], 16).to_bytes(4, sys.byteorder) for i in range(0, len(address), 8)]
            yield Socket(protocol, socket.inet_ntop(_FAMILIES[version], b"".join(words)), int(port, 16))


def _login() -> Socket | None:
    """The address and port of Ansible's SSH connection.

    sudo does not pass on SSH_CONNECTION, so it is read from the nearest ancestor process that has it.
    """
    process = os.getpid()
    while process > 1:
        try:
            with open("/proc/%d/environ" % process, "rb") as environment:
                variables = dict(
                    each.partition("=")[::2] for each in environment.read().decode(errors="replace").split("\0")
                )
            with open("/proc/%d/stat" % process) as status:
                process = int(status.read().rpartition(")")[2].split()[1])
        except (OSError, ValueError):
            return None
        words = variables.get("SSH_CONNECTION", "").split()
        if len(words) == 4:
            return Socket("tcp", words[2].split("%")[0], int(words[3]))
    return None
