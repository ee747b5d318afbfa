# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""IPVS by generic netlink, as linux/ip_vs.h and linux/genetlink.h describe it. No program is needed on the node.

Many changes are packed into one datagram, whereas ipvsadm sends and waits for each. Numbers are in the machine's byte
order, except ports, addresses and IPv4 netmasks.
"""

from __future__ import annotations

import errno
import functools
import socket
import struct
from typing import Any, Callable, NamedTuple, Sequence

from .._common.netlink import ACK, DUMP, Message, Netlink, attribute, attributes
from .kernel import NoIpvsError
from .model import FULL_NETMASKS, Front, RealServer, VirtualServer

NEW_SERVICE, SET_SERVICE, DEL_SERVICE, GET_SERVICE, NEW_DEST, SET_DEST, DEL_DEST, GET_DEST = range(1, 9)  # IPVS_CMD_*

_CMD_SERVICE, _CMD_DEST = 1, 2  # IPVS_CMD_ATTR_*
_SVC_AF, _SVC_PROTOCOL, _SVC_ADDRESS, _SVC_PORT, _SVC_MARK = 1, 2, 3, 4, 5  # IPVS_SVC_ATTR_*
_SVC_SCHEDULER, _SVC_FLAGS, _SVC_TIMEOUT, _SVC_NETMASK, _SVC_ENGINE = 6, 7, 8, 9, 11
_DEST_ADDRESS, _DEST_PORT, _DEST_FORWARD, _DEST_WEIGHT, _DEST_UPPER, _DEST_LOWER = 1, 2, 3, 4, 5, 6  # IPVS_DEST_ATTR_*
_DEST_ACTIVE, _DEST_INACTIVE, _DEST_PERSISTENT, _DEST_FAMILY = 7, 8, 9, 11

_PERSISTENT, _ONE_PACKET, _SCHEDULER_FLAGS = 0x1, 0x4, 0x38  # IP_VS_SVC_F_*
_FORWARDS = {0: "masquerade", 1: "local", 2: "tunnel", 3: "direct"}  # IP_VS_CONN_F_FWD_MASK
_FORWARD_NUMBERS = {name: number for number, name in _FORWARDS.items()}
_FAMILIES = {"ipv4": socket.AF_INET, "ipv6": socket.AF_INET6}
_FAMILY_NAMES = {number: name for name, number in _FAMILIES.items()}
_PROTOCOLS = {"": 0, "tcp": socket.IPPROTO_TCP, "udp": socket.IPPROTO_UDP, "sctp": socket.IPPROTO_SCTP}
_PROTOCOL_NAMES = {number: name for name, number in _PROTOCOLS.items()}

# linux/genetlink.h
_NETLINK_GENERIC, _GENL_ID_CTRL = 16, 0x10
_CTRL_CMD_GETFAMILY, _CTRL_ATTR_FAMILY_ID, _CTRL_ATTR_FAMILY_NAME = 3, 1, 2
_HEAD = struct.Struct("=BBxx")  # genlmsghdr
_U16, _U32 = struct.Struct("=H"), struct.Struct("=I")
_FRONT = struct.Struct("=HH HHHxx HHHxx HH16s HH2sxx")
_MARK_FRONT = struct.Struct("=HH HHHxx HHI")
_DEST = struct.Struct("=HH HH16s HH2sxx HHI HHI HHI HHI HHHxx")

GONE = (errno.ENOENT, errno.ESRCH)  # the kernel's errors for a missing virtual or real server
BATCH = 256  # messages in a datagram: at 150 bytes each, far below any socket's buffer


class Change(NamedTuple):
    """One message to the kernel; `real` is None in a message about the virtual server itself."""

    command: int
    virtual: VirtualServer
    real: RealServer | None = None


class Refusal(NamedTuple):
    """A message that the kernel refused, and its errno."""

    change: Change
    code: int


class Connections(NamedTuple):
    """The connections of a real server."""

    active: int
    inactive: int
    persistent: int


@functools.lru_cache(maxsize=1 << 16)
def _pack_address(address: str) -> bytes:
    """An address, padded to the size of the kernel's union of both families."""
    if ":" in address:
        return socket.inet_pton(socket.AF_INET6, address)
    return socket.inet_pton(socket.AF_INET, address) + bytes(12)


def _spell_address(family: int, packed: bytes) -> str:
    return socket.inet_ntop(family, packed[:4] if family == socket.AF_INET else packed)


@functools.lru_cache(maxsize=1 << 10)
def _options(scheduler: str, flags: int, timeout: int, netmask: bytes, engine: str) -> bytes:
    """The changeable settings of a virtual server, as attributes."""
    packed = attribute(_SVC_SCHEDULER, scheduler.encode() + b"\0")
    packed += attribute(_SVC_FLAGS, _U32.pack(flags) + b"\xff\xff\xff\xff")
    packed += attribute(_SVC_TIMEOUT, _U32.pack(timeout)) + attribute(_SVC_NETMASK, netmask)
    return packed + (attribute(_SVC_ENGINE, engine.encode() + b"\0") if engine else b"")


def _pack_front(front: Front, more: bytes = b"") -> bytes:
    """A virtual server's identity as a nested attribute, with more attributes after it."""
    family = _FAMILIES[front.family]
    if front.mark:
        size = _MARK_FRONT.size + len(more)
        return _MARK_FRONT.pack(size, _CMD_SERVICE, 6, _SVC_AF, family, 8, _SVC_MARK, front.mark) + more
    return (
        _FRONT.pack(
            _FRONT.size + len(more), _CMD_SERVICE,
            6, _SVC_AF, family,
            6, _SVC_PROTOCOL, _PROTOCOLS[front.protocol],
            20, _SVC_ADDRESS, _pack_address(front.address),
            6, _SVC_PORT, front.port.to_bytes(2, "big"),
        ) + more
    )  # fmt: skip


def _pack_netmask(virtual: VirtualServer) -> bytes:
    if virtual.front.family == "ipv4":
        return socket.inet_aton(virtual.netmask)
    return _U32.pack(int(virtual.netmask))


def encode(change: Change) -> bytes:
    """The attributes of a message."""
    virtual, real = change.virtual, change.real
    if real is None:
        if change.command in (DEL_SERVICE, GET_DEST):
            return _pack_front(virtual.front)
        flags = virtual.flags | (virtual.timeout and _PERSISTENT) | (virtual.one_packet and _ONE_PACKET)
        netmask = _pack_netmask(virtual)
        return _pack_front(virtual.front, _options(virtual.scheduler, flags, virtual.timeout, netmask, virtual.engine))
    return _pack_front(virtual.front) + _DEST.pack(
        _DEST.size, _CMD_DEST,
        20, _DEST_ADDRESS, _pack_address(real.address),
        6, _DEST_PORT, real.port.to_bytes(2, "big"),
        8, _DEST_FORWARD, _FORWARD_NUMBERS[real.forward],
        8, _DEST_WEIGHT, real.weight,
        8, _DEST_UPPER, real.upper_threshold,
        8, _DEST_LOWER, real.lower_threshold,
        6, _DEST_FAMILY, socket.AF_INET6 if ":" in real.address else socket.AF_INET,
    )  # fmt: skip


def _text(data: bytes, at: tuple[int, int] | None) -> str:
    return data[at[0] : at[1]].rstrip(b"\0").decode() if at else ""


def decode_virtual(data: bytes, start: int, end: int) -> VirtualServer:
    """A virtual server, without its real servers, from the attributes between two offsets."""
    found = attributes(data, *attributes(data, start, end)[_CMD_SERVICE])
    family = _U16.unpack_from(data, found[_SVC_AF][0])[0]
    name = _FAMILY_NAMES[family]
    if _SVC_MARK in found:
        front = Front(name, mark=_U32.unpack_from(data, found[_SVC_MARK][0])[0])
    else:
        first, last = found[_SVC_ADDRESS]
        protocol = _U16.unpack_from(data, found[_SVC_PROTOCOL][0])[0]
        port = int.from_bytes(data[found[_SVC_PORT][0] : found[_SVC_PORT][1]], "big")
        front = Front(
            name, _PROTOCOL_NAMES.get(protocol, str(protocol)), _spell_address(family, data[first:last]), port
        )
    flags = _U32.unpack_from(data, found[_SVC_FLAGS][0])[0]
    netmask = data[found[_SVC_NETMASK][0] : found[_SVC_NETMASK][1]]
    persistent = bool(flags & _PERSISTENT)
    spelled = socket.inet_ntoa(netmask) if name == "ipv4" else str(_U32.unpack(netmask)[0])
    return VirtualServer(
        front,
        _text(data, found[_SVC_SCHEDULER]),
        flags & _SCHEDULER_FLAGS,
        bool(flags & _ONE_PACKET),
        _U32.unpack_from(data, found[_SVC_TIMEOUT][0])[0] if persistent else 0,
        # Without persistence nothing depends on the netmask.
        spelled if persistent else FULL_NETMASKS[name],
        _text(data, found.get(_SVC_ENGINE)),
    )


def decode_real(data: bytes, start: int, end: int, family: str) -> tuple[RealServer, Connections]:
    """A real server and its connections. Old kernels omit its family, which is then the virtual server's."""
    found = attributes(data, *attributes(data, start, end)[_CMD_DEST])
    unpack = _U32.unpack_from

    def number(kind: int) -> Any:
        return unpack(data, found[kind][0])[0]

    own = _U16.unpack_from(data, found[_DEST_FAMILY][0])[0] if _DEST_FAMILY in found else _FAMILIES[family]
    first, last = found[_DEST_ADDRESS]
    port = int.from_bytes(data[found[_DEST_PORT][0] : found[_DEST_PORT][1]], "big")
    real = RealServer(
        _spell_address(own, data[first:last]),
        port,
        _FORWARDS.get(number(_DEST_FORWARD) & 7, "local"),
        number(_DEST_WEIGHT),
        number(_DEST_UPPER),
        number(_DEST_LOWER),
    )
    return real, Connections(number(_DEST_ACTIVE), number(_DEST_INACTIVE), number(_DEST_PERSISTENT))


class Ipvs:
    """A netlink connection to the IPVS of this network namespace. Raises NoIpvsError if the kernel has no IPVS."""

    def __init__(self) -> None:
        self._netlink = Netlink(_NETLINK_GENERIC)
        try:
            self._family = self._find_family()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Ipvs:
        return self

    def __exit__(self, *dummy: object) -> None:
        self.close()

    def close(self) -> None:
        self._netlink.close()

    def _find_family(self) -> int:
        name = attribute(_CTRL_ATTR_FAMILY_NAME, b"IPVS\0")
        question = Message(_GENL_ID_CTRL, _HEAD.pack(_CTRL_CMD_GETFAMILY, 1), name)
        try:
            for data, first, last in self._netlink.ask(question, ACK):
                return int(_U16.unpack_from(data, attributes(data, first, last)[_CTRL_ATTR_FAMILY_ID][0])[0])
        except OSError as error:
            if error.errno != errno.ENOENT:
                raise
        raise NoIpvsError

    def _message(self, command: int, payload: bytes = b"") -> Message:
        return Message(self._family, _HEAD.pack(command, 1), payload)

    def read(self, ours: Callable[[Front], bool]) -> dict[Front, VirtualServer]:
        """The virtual servers that are ours, with their real servers in order."""
        answers = self._netlink.ask(self._message(GET_SERVICE), DUMP)
        found = [decode_virtual(*answer) for answer in answers]
        return {
            virtual.front: virtual._replace(real_servers=tuple(sorted(self.connections(virtual))))
            for virtual in found
            if ours(virtual.front)
        }

    def connections(self, virtual: VirtualServer) -> dict[RealServer, Connections]:
        """The connections of each real server of a virtual server. Empty if the virtual server is gone."""
        family = virtual.front.family
        answers = self._netlink.ask(self._message(GET_DEST, encode(Change(GET_DEST, virtual))), DUMP)
        return dict(decode_real(*answer, family) for answer in answers)

    def send(self, changes: Sequence[Change]) -> list[Refusal]:
        """Send changes in order; stop after the first batch that contains a refused one."""
        for start in range(0, len(changes), BATCH):
            batch = changes[start : start + BATCH]
            refused = self._netlink.tell([self._message(c.command, encode(c)) for c in batch])
            if refused:
                return [Refusal(batch[place], code) for place, code in refused]
        return []
