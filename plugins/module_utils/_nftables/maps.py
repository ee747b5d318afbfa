# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Read the elements of maps that packets fill, by netlink.

nft lists one map a process, which takes a thousand maps many seconds. Numbers are those of linux/netfilter/nf_tables.h.
"""

from __future__ import annotations

import contextlib
import socket
import struct
from typing import Iterator, Sequence

from .._common.netlink import DUMP, Message, Netlink, attribute, attributes

_NETLINK_NETFILTER = 12
_GET = 10 << 8 | 13  # NFNL_SUBSYS_NFTABLES, NFT_MSG_GETSETELEM
_TABLE, _SET, _ELEMENTS = 1, 2, 3  # NFTA_SET_ELEM_LIST_*
_KEY, _DATA = 1, 2  # NFTA_SET_ELEM_*
_VALUE = 1  # NFTA_DATA_VALUE
_FAMILIES = {"inet": 1}  # NFPROTO_*
_ADDRESSES = {4: socket.AF_INET, 16: socket.AF_INET6}


def read_maps(family: str, table: str, names: Sequence[str]) -> dict[str, dict[str, str]]:
    """The elements of maps from addresses to addresses or ports. A map that does not exist has none."""
    found: dict[str, dict[str, str]] = {}
    with contextlib.closing(Netlink(_NETLINK_NETFILTER)) as link:
        for name in names:
            try:
                found[name] = {_text(key): _text(value) for key, value in _elements(link, family, table, name)}
            except FileNotFoundError:
                found[name] = {}
    return found


def _elements(link: Netlink, family: str, table: str, name: str) -> Iterator[tuple[bytes, bytes]]:
    """The keys and values of a map."""
    payload = attribute(_TABLE, table.encode() + b"\0") + attribute(_SET, name.encode() + b"\0")
    for data, start, end in link.ask(Message(_GET, bytes([_FAMILIES[family], 0, 0, 0]), payload), DUMP):
        at, last = attributes(data, start, end).get(_ELEMENTS, (0, 0))
        while at < last:
            length = struct.unpack_from("=H", data, at)[0]
            element = attributes(data, at + 4, at + length)
            yield _value(data, element[_KEY]), _value(data, element[_DATA])
            at += (length + 3) & ~3


def _value(data: bytes, span: tuple[int, int]) -> bytes:
    start, end = attributes(data, *span)[_VALUE]
    return data[start:end]


def _text(value: bytes) -> str:
    """An address, or a port, which has two bytes."""
    number = _ADDRESSES.get(len(value))
    return socket.inet_ntop(number, value) if number else "%d" % int.from_bytes(value[:2], "big")
