# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What iptables-nft cannot do: delete a table of nftables that nothing uses, and name the chains of one it cannot show.

By netlink, for a node need not have nft. Messages and attributes: linux/netfilter/nf_tables.h and nfnetlink.h.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
from typing import Iterator, NamedTuple

_NETLINK_NETFILTER = 12
_SUBSYSTEM = 10  # NFNL_SUBSYS_NFTABLES
_GETTABLE, _DELTABLE, _GETCHAIN, _GETGEN = 1, 2, 4, 16
_BATCH_BEGIN, _BATCH_END = 0x10, 0x11
_REQUEST, _ACK, _DUMP, _INTERRUPTED = 0x1, 0x4, 0x300, 0x10
_ERROR, _DONE = 0x2, 0x3  # NLMSG_ERROR, NLMSG_DONE
_TABLE_NAME, _TABLE_USE = 1, 3
_CHAIN_TABLE, _CHAIN_NAME, _CHAIN_HOOK, _CHAIN_TYPE = 1, 3, 4, 7
_HOOK_NUMBER, _HOOK_PRIORITY = 1, 2
_GEN_ID = 1  # NFTA_GEN_ID, and NFNL_BATCH_GENID
_FAMILY = {"ipv4": 2, "ipv6": 10}


class Hook(NamedTuple):
    """Where a base chain meets packets. Two chains of one table and name are only the same with one hook."""

    kind: str
    number: int
    priority: int


def chains(family: str, table: str) -> dict[str, Hook | None]:
    """The chains of a table, all of them, whatever their rules are; the hooks of those that are base chains."""
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_NETFILTER) as link:
        link.bind((0, 0))
        while True:
            found: dict[str, Hook | None] = {}
            link.send(_message(_SUBSYSTEM << 8 | _GETCHAIN, _FAMILY[family], flags=_REQUEST | _DUMP))
            whole = True
            for flags, attributes in _answers(link):
                whole = whole and not flags & _INTERRUPTED
                if _text(attributes.get(_CHAIN_TABLE)) == table:
                    found[_text(attributes.get(_CHAIN_NAME))] = _hook(attributes)
            if whole:
                return found


def _hook(attributes: dict[int, bytes]) -> Hook | None:
    if _CHAIN_HOOK not in attributes:
        return None
    hook = _attributes(attributes[_CHAIN_HOOK])
    number, priority = struct.unpack("!I", hook[_HOOK_NUMBER])[0], struct.unpack("!i", hook[_HOOK_PRIORITY])[0]
    return Hook(_text(attributes.get(_CHAIN_TYPE)), number, priority)


def _text(value: bytes | None) -> str:
    return (value or b"").rstrip(b"\0").decode(errors="surrogateescape")


def delete_if_unused(family: str, table: str) -> bool:
    """Delete a table that holds no chain, set or object. Returns whether it is gone.

    The kernel is told which generation of the ruleset the look was taken at, and refuses when it has moved on: what
    somebody adds meanwhile is never deleted with the table.
    """
    name = _attribute(_TABLE_NAME, table.encode() + b"\0")
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_NETFILTER) as link:
        link.bind((0, 0))
        link.send(_message(_SUBSYSTEM << 8 | _GETGEN, 0))
        generation = _answer(link).get(_GEN_ID)
        link.send(_message(_SUBSYSTEM << 8 | _GETTABLE, _FAMILY[family], name))
        used = _answer(link).get(_TABLE_USE)
        if generation is None or used is None or any(used):
            return False
        link.send(
            _message(_BATCH_BEGIN, 0, _attribute(_GEN_ID, generation), resource=_SUBSYSTEM)
            + _message(_SUBSYSTEM << 8 | _DELTABLE, _FAMILY[family], name, flags=_REQUEST | _ACK)
            + _message(_BATCH_END, 0, resource=_SUBSYSTEM)
        )
        return _answer(link) == {}


def _message(kind: int, family: int, payload: bytes = b"", flags: int = _REQUEST, resource: int = 0) -> bytes:
    body = struct.pack("!BBH", family, 0, resource) + payload
    return struct.pack("=IHHII", 16 + len(body), kind, flags, 1, 0) + body


def _attribute(kind: int, value: bytes) -> bytes:
    return struct.pack("=HH", 4 + len(value), kind) + value + b"\0" * (-len(value) % 4)


def _answer(link: socket.socket) -> dict[int, bytes]:
    """The attributes of the answer: none for an acknowledgement, {0: error number} for a refusal."""
    data = link.recv(65536)
    length, kind = struct.unpack_from("=IH", data)
    if kind == _ERROR:
        code = -struct.unpack_from("=i", data, 16)[0]
        return {0: errno.errorcode.get(code, str(code)).encode()} if code else {}
    return _attributes(data[20:length])


def _answers(link: socket.socket) -> Iterator[tuple[int, dict[int, bytes]]]:
    """The flags and attributes of each part of a long answer. OSError when it is refused."""
    while True:
        data = link.recv(1 << 16)
        at = 0
        while at < len(data):
            length, kind, flags = struct.unpack_from("=IHH", data, at)
            if kind == _DONE:
                return
            if kind == _ERROR:
                code = -struct.unpack_from("=i", data, at + 16)[0]
                raise OSError(code, "the chains of nftables cannot be read: " + os.strerror(code))
            yield flags, _attributes(data[at + 20 : at + length])
            at += (length + 3) & ~3


def _attributes(data: bytes) -> dict[int, bytes]:
    attributes, offset = {}, 0
    while offset + 4 <= len(data):
        size, name = struct.unpack_from("=HH", data, offset)
        attributes[name & 0x3FFF] = data[offset + 4 : offset + size]
        offset += (size + 3) & ~3
    return attributes
