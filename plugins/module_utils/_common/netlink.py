# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Messages to the kernel and their attributes, as defined in linux/netlink.h. No program is needed on the node.

Generic netlink and nfnetlink both have four bytes between the header and the attributes; the caller fills them.
"""

from __future__ import annotations

import os
import socket
import struct
from typing import Iterator, NamedTuple, Sequence

ACK, DUMP = 0x4, 0x300  # NLM_F_*

_REQUEST = 0x1
_ERROR, _DONE = 2, 3  # NLMSG_*
_START = struct.Struct("=IHHI")
_HEADER = struct.Struct("=IHHII4s")  # nlmsghdr, and the four bytes
_CODE = struct.Struct("=i")
_ATTRIBUTE = struct.Struct("=HH")
_BUFFER = 1 << 22


class Message(NamedTuple):
    """A message to send: the header's type, the four bytes after the header, and the attributes."""

    kind: int
    head: bytes
    payload: bytes = b""


def attribute(kind: int, value: bytes) -> bytes:
    length = _ATTRIBUTE.size + len(value)
    return _ATTRIBUTE.pack(length, kind) + value + bytes(-length % 4)


def attributes(data: bytes, start: int, end: int) -> dict[int, tuple[int, int]]:
    """The start and end of each attribute between two offsets, by its kind."""
    found = {}
    unpack = _ATTRIBUTE.unpack_from
    while start + 4 <= end:
        length, kind = unpack(data, start)
        if length < 4:
            break
        found[kind & 0x3FFF] = start + 4, start + length
        start += (length + 3) & ~3
    return found


class Netlink:
    """A socket of one of the kernel's netlink protocols, in this network namespace."""

    def __init__(self, protocol: int) -> None:
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, protocol)
        for option in (socket.SO_SNDBUF, socket.SO_RCVBUF):
            self._socket.setsockopt(socket.SOL_SOCKET, option, _BUFFER)
        self._socket.bind((0, 0))
        self._number = 0

    def close(self) -> None:
        self._socket.close()

    def _pack(self, message: Message, flags: int) -> bytes:
        self._number += 1
        size = _HEADER.size + len(message.payload)
        return _HEADER.pack(size, message.kind, _REQUEST | flags, self._number, 0, message.head) + message.payload

    def ask(self, message: Message, flags: int) -> Iterator[tuple[bytes, int, int]]:
        """Send one request; yield the position of the attributes in each answer. OSError if it is refused."""
        self._socket.send(self._pack(message, flags))
        while True:
            data = self._socket.recv(1 << 16)
            at = 0
            while at < len(data):
                length, answer, dummy, number = _START.unpack_from(data, at)
                if number == self._number:  # otherwise an answer to an earlier, abandoned request
                    if answer in (_ERROR, _DONE):
                        code = -_CODE.unpack_from(data, at + 16)[0]
                        if code:
                            raise OSError(code, os.strerror(code))
                        return
                    yield data, at + _HEADER.size, at + length
                at += (length + 3) & ~3

    def tell(self, batch: Sequence[Message]) -> list[tuple[int, int]]:
        """Send messages in one datagram; return the index of each refused message with its errno."""
        first = self._number + 1
        # Only the last message is always answered: all earlier answers are refusals.
        flags = [0] * (len(batch) - 1) + [ACK]
        self._socket.send(b"".join(self._pack(message, flag) for message, flag in zip(batch, flags)))
        refused = []
        while True:
            data = self._socket.recv(1 << 16)
            at = 0
            while at < len(data):
                length, answer, dummy, number = _START.unpack_from(data, at)
                if answer == _ERROR and number >= first:
                    code = -_CODE.unpack_from(data, at + 16)[0]
                    if code:
                        refused.append((number - first, code))
                    if number == self._number:
                        return refused
                at += (length + 3) & ~3
