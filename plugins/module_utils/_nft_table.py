# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Delete an nftables table that nothing uses. iptables-nft makes tables but cannot delete them.

By netlink, for a node need not have nft. Messages and attributes: linux/netfilter/nf_tables.h and nfnetlink.h.
"""

from __future__ import annotations

import errno
import socket
import struct

_NETLINK_NETFILTER = 12
_SUBSYSTEM = 10  # NFNL_SUBSYS_NFTABLES
_GETTABLE, _DELTABLE, _GETGEN = 1, 2, 16
_BATCH_BEGIN, _BATCH_END = 0x10, 0x11
_REQUEST, _ACK = 0x1, 0x4
_ERROR = 0x2  # NLMSG_ERROR
_TABLE_NAME, _TABLE_USE = 1, 3
_GEN_ID = 1  # NFTA_GEN_ID, and NFNL_BATCH_GENID
_FAMILY = {"ipv4": 2, "ipv6": 10}


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
    attributes, offset = {}, 20
    while offset + 4 <= length:
        size, name = struct.unpack_from("=HH", data, offset)
        attributes[name & 0x3FFF] = data[offset + 4 : offset + size]
        offset += (size + 3) & ~3
    return attributes
