# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Virtual servers and their real servers, as data and in the syntax of `ipvsadm -Sn`."""

from __future__ import annotations

import functools
import shlex
import socket
from typing import Iterable, Mapping, NamedTuple

from .._common.errors import InputError

# ipvsadm(8), --sched-flags: what a bit means depends on the scheduler (IP_VS_SVC_F_SCHED1 to 3).
FLAGS = {"flag-1": 8, "flag-2": 16, "flag-3": 32}
OWN_FLAGS = {
    "sh": {"sh-fallback": 8, "sh-port": 16},
    "mh": {"mh-fallback": 8, "mh-port": 16},
}
FULL_NETMASKS = {"ipv4": "255.255.255.255", "ipv6": "128"}


class Front(NamedTuple):
    """The identity of a virtual server: a protocol, address and port, or a firewall mark."""

    family: str  # ipv4 | ipv6
    protocol: str = ""  # tcp | udp | sctp
    address: str = ""  # in the kernel's own spelling
    port: int = 0
    mark: int = 0


class RealServer(NamedTuple):
    """A server behind a virtual server, identified by its address and port."""

    address: str
    port: int
    forward: str = "masquerade"  # masquerade | direct | tunnel
    weight: int = 1
    upper_threshold: int = 0  # connections; 0 for no limit
    lower_threshold: int = 0


class VirtualServer(NamedTuple):
    """A virtual server with its real servers, sorted."""

    front: Front
    scheduler: str = "wlc"
    flags: int = 0  # FLAGS of the scheduler
    one_packet: bool = False
    timeout: int = 0  # of the persistence, in seconds; 0 disables it
    netmask: str = "255.255.255.255"  # of the persistence; for IPv6 the length of a prefix
    engine: str = ""  # of the persistence
    real_servers: tuple[RealServer, ...] = ()


# In the order of the protocol numbers (RFC 5237), as ipvsadm sorts.
_PROTOCOLS = {"-t": "tcp", "-u": "udp", "--sctp-service": "sctp"}
_PROTOCOL_OPTIONS = {protocol: option for option, protocol in _PROTOCOLS.items()}
_FORWARDS = {"-m": "masquerade", "-g": "direct", "-i": "tunnel"}
_FORWARD_OPTIONS = {forward: option for option, forward in _FORWARDS.items()}


def spell(front: Front) -> str:
    """A virtual server's identity as ipvsadm options."""
    if front.mark:
        return "-f %d%s" % (front.mark, " -6" if front.family == "ipv6" else "")
    return "%s %s" % (_PROTOCOL_OPTIONS.get(front.protocol, front.protocol), host(front.address, front.port))


def host(address: str, port: int) -> str:
    return ("[%s]:%d" if ":" in address else "%s:%d") % (address, port)


def spell_virtual(virtual: VirtualServer) -> str:
    """The line of `ipvsadm -Sn` that creates a virtual server, without its real servers."""
    line = "-A %s -s %s" % (spell(virtual.front), virtual.scheduler)
    if virtual.timeout:
        line += " -p %d" % virtual.timeout
        if virtual.netmask != FULL_NETMASKS[virtual.front.family]:
            line += " -M " + virtual.netmask
    if virtual.engine:
        line += " --pe " + virtual.engine
    if virtual.one_packet:
        line += " -o"
    if virtual.flags:
        names = {bit: name for name, bit in {**FLAGS, **OWN_FLAGS.get(virtual.scheduler, {})}.items()}
        line += " -b " + ",".join(name for bit, name in sorted(names.items()) if virtual.flags & bit)
    return line


def spell_real(front: Front, real: RealServer) -> str:
    """The line that adds a real server. It has the thresholds, which ipvsadm reads but does not print."""
    line = "-a %s -r %s %s -w %d" % (
        spell(front),
        host(real.address, real.port),
        _FORWARD_OPTIONS.get(real.forward, "-m"),
        real.weight,
    )
    if real.upper_threshold:
        line += " -x %d" % real.upper_threshold
    if real.lower_threshold:
        line += " -y %d" % real.lower_threshold
    return line + (" --tun-type ipip" if real.forward == "tunnel" else "")


def render(servers: Iterable[VirtualServer]) -> str:
    """Virtual servers in the syntax and order of `ipvsadm -Sn`."""
    lines = []
    for virtual in sorted(servers, key=lambda virtual: _order(virtual.front)):
        lines.append(spell_virtual(virtual))
        reals = sorted(virtual.real_servers, key=lambda real: (_number(real.address), real.port))
        lines += [spell_real(virtual.front, real) for real in reals]
    return "".join(line + "\n" for line in lines)


def _order(front: Front) -> tuple[int, str, int, bytes, int]:
    protocols = list(_PROTOCOL_OPTIONS)
    number = protocols.index(front.protocol) if front.protocol in protocols else -1
    return front.mark, front.family, number, _number(front.address), front.port


@functools.lru_cache(maxsize=1 << 16)
def _number(address: str) -> bytes:
    return socket.inet_pton(socket.AF_INET6 if ":" in address else socket.AF_INET, address) if address else b""


def parse(text: str) -> list[VirtualServer]:
    """Read the output of render() or of `ipvsadm -Sn`. InputError names a line with unknown syntax."""
    found: dict[Front, VirtualServer] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        words = shlex.split(line)
        if not words:
            continue
        try:
            front, options = _parse_words(words)
            if words[0] == "-A":
                found[front] = _parse_virtual(front, options)
            else:
                reals = (*found[front].real_servers, _parse_real(options))
                found[front] = found[front]._replace(real_servers=tuple(sorted(reals)))
        except (KeyError, ValueError, StopIteration) as error:
            raise InputError("line %d `%s` is not one of ipvsadm -Sn" % (number, line)) from error
    return list(found.values())


def _parse_words(words: list[str]) -> tuple[Front, dict[str, str]]:
    """The virtual server of a line, and the other options with their values."""
    if words[0] not in ("-A", "-a"):
        raise ValueError(words[0])
    rest, options = iter(words[1:]), {}
    for word in rest:
        options[word] = "" if word in (*_FORWARDS, "-o", "-6") else next(rest)
    if "-f" in options:
        return Front("ipv6" if "-6" in options else "ipv4", mark=int(options.pop("-f"))), options
    option = next(iter(options.keys() & _PROTOCOLS.keys()))
    address, port = _parse_host(options.pop(option))
    return Front("ipv6" if ":" in address else "ipv4", _PROTOCOLS[option], address, port), options


def _parse_host(text: str) -> tuple[str, int]:
    address, dummy, port = text.rpartition(":")
    return address.strip("[]"), int(port)


def _parse_virtual(front: Front, options: Mapping[str, str]) -> VirtualServer:
    names = {**FLAGS, **OWN_FLAGS.get(options["-s"], {})}
    return VirtualServer(
        front,
        options["-s"],
        sum(names[name] for name in options.get("-b", "").split(",") if name),
        "-o" in options,
        int(options.get("-p", 0)),
        options.get("-M", FULL_NETMASKS[front.family]),
        options.get("--pe", ""),
    )


def _parse_real(options: Mapping[str, str]) -> RealServer:
    address, port = _parse_host(options["-r"])
    forward = next(iter(options.keys() & _FORWARDS.keys()))
    if options.get("--tun-type", "ipip") != "ipip":
        raise ValueError(options["--tun-type"])
    return RealServer(
        address,
        port,
        _FORWARDS[forward],
        int(options["-w"]),
        int(options.get("-x", 0)),
        int(options.get("-y", 0)),
    )
