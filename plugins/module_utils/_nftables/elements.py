# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Read the elements of sets and maps by netlink.

To list 10,000 services, nft makes 400,000 system calls: one for each word, and several for the name of each protocol.
By netlink it takes a tenth of the time. nft also lists only one map a process, which takes a thousand maps many
seconds. Only the commonest types are known here. Numbers are those of linux/netfilter/nf_tables.h.
"""

from __future__ import annotations

import contextlib
import socket
import struct
from typing import Callable, Iterator, Mapping, Sequence

from .._common.netlink import DUMP, Message, Netlink, attribute, attributes
from .model import Block, Element

_NETLINK_NETFILTER = 12
_GET = 10 << 8 | 13  # NFNL_SUBSYS_NFTABLES, NFT_MSG_GETSETELEM
_FAMILIES = {"ip": 2, "ip6": 10, "inet": 1}
_TABLE, _SET, _ELEMENTS = 1, 2, 3  # NFTA_SET_ELEM_LIST_*
_KEY, _DATA = 1, 2  # NFTA_SET_ELEM_*
_VALUE, _VERDICT = 1, 2  # NFTA_DATA_*
_CODE, _CHAIN = 1, 2  # NFTA_VERDICT_*
_VERDICTS = {-3: "jump", -4: "goto"}
_SIZES = {"ipv4_addr": 4, "ipv6_addr": 16, "inet_proto": 1, "inet_service": 2}
_LENGTH = struct.Struct("=H")

# Converts the bytes of a key or a value to text.
_Speller = Callable[[bytes], str]


def has_set(family: str, table: str, name: str) -> bool:
    """Whether a table has a set or map of this name. OSError if the kernel has no nf_tables."""
    with contextlib.closing(Netlink(_NETLINK_NETFILTER)) as link:
        try:
            list(_lists(link, family, table, name))
        except FileNotFoundError:
            return False
    return True


def read_maps(family: str, table: str, names: Sequence[str]) -> dict[str, dict[str, str]]:
    """The elements of maps from addresses to addresses or ports. A map that does not exist has none."""
    found: dict[str, dict[str, str]] = {}
    with contextlib.closing(Netlink(_NETLINK_NETFILTER)) as link:
        for name in names:
            try:
                found[name] = dict(pair for data in _lists(link, family, table, name) for pair in _pairs(data))
            except FileNotFoundError:
                found[name] = {}
    return found


def _lists(link: Netlink, family: str, table: str, name: str) -> Iterator[bytes]:
    """The elements of a set or a map, some of them in each answer of the kernel."""
    payload = attribute(_TABLE, table.encode() + b"\0") + attribute(_SET, name.encode() + b"\0")
    for data, start, end in link.ask(Message(_GET, bytes((_FAMILIES[family], 0, 0, 0)), payload), DUMP):
        at = attributes(data, start, end).get(_ELEMENTS)
        if at:
            yield data[at[0] : at[1]]


def _pairs(data: bytes) -> Iterator[tuple[str, str]]:
    """The keys and values of elements that may have a timeout."""
    at = 0
    while at < len(data):
        length = _LENGTH.unpack_from(data, at)[0]
        element = attributes(data, at + 4, at + length)
        key, value = (data[slice(*attributes(data, *element[kind])[_VALUE])] for kind in (_KEY, _DATA))
        yield _text(key), _text(value)
        at += (length + 3) & ~3


def _text(value: bytes) -> str:
    """An address, or a port, which has two bytes."""
    number = {4: socket.AF_INET, 16: socket.AF_INET6}.get(len(value))
    return socket.inet_ntop(number, value) if number else "%d" % int.from_bytes(value[:2], "big")


class UnknownError(Exception):
    """A set or an element has something that only nft can read."""


class Elements:
    """Reads sets and maps of a table."""

    def __init__(self, family: str, table: str, protocols: Mapping[int, str]) -> None:
        """protocols -- their numbers, as the node's nft writes them"""
        self._family, self._table = family, table
        self._spellers: dict[str, _Speller] = {
            "ipv4_addr": lambda raw: socket.inet_ntop(socket.AF_INET, raw),
            "ipv6_addr": lambda raw: socket.inet_ntop(socket.AF_INET6, raw),
            "inet_proto": lambda raw: protocols[raw[0]],
            "inet_service": lambda raw: "%d" % (raw[0] << 8 | raw[1]),
        }
        self._keys: dict[str, dict[bytes, str]] = {}  # several maps often have the same keys

    def read(self, block: Block) -> dict[str, Element]:
        """The elements of a set or a map as nft lists them. Raises UnknownError, or OSError if there is no such set.

        block -- its definition
        """
        types = [line[5:] for line in block.lines if line.startswith("type ")]
        if len(types) != 1 or block.flags or block.timed:
            raise UnknownError(block.name)
        key, dummy, value = types[0].partition(" : ")
        if not {*key.split(" . "), *({value} - {"", "verdict"})} <= _SIZES.keys():
            raise UnknownError(block.name)
        found: dict[str, Element] = {}
        with contextlib.closing(Netlink(_NETLINK_NETFILTER)) as link:
            for data in _lists(link, self._family, self._table, block.name):
                self._parse(data, key, value, found)
        return found

    def _parse(self, data: bytes, types: str, type_: str, found: dict[str, Element]) -> None:
        """Add the elements in one answer of the kernel. A key or value that occurs again is converted once."""
        keys, values = self._keys.setdefault(types, {}), {b"": ""}
        size, spell_key = self._key(types)
        spell_value = self._value(type_)
        length, at, end = _LENGTH.unpack_from, 0, len(data)
        try:
            while at < end:
                next_ = at + length(data, at)[0]
                raw, rest = data[at + 4 : at + size], data[at + size : next_]
                key, value = keys.get(raw), values.get(rest)
                if key is None:
                    key = keys[raw] = spell_key(raw)
                if value is None:
                    value = values[rest] = spell_value(rest)
                text = key + " : " + value if value else key
                found[key] = Element(key, value, text, text)
                at = (next_ + 3) & ~3
        except (KeyError, IndexError, ValueError) as error:
            raise UnknownError(str(error)) from error

    def _key(self, types: str) -> tuple[int, _Speller]:
        """The length of an element up to the end of its key, and what converts keys."""
        fields, at = [], 8
        for kind in types.split(" . "):
            fields.append((self._spellers[kind], at, at + _SIZES[kind]))
            at += _padded(_SIZES[kind])
        last = fields[0][2] if len(fields) == 1 else at
        head = _head(_KEY, last - 8)

        def spell(raw: bytes) -> str:
            if not raw.startswith(head):
                raise ValueError("key %s" % raw.hex())
            return " . ".join([speller(raw[start:end]) for speller, start, end in fields])

        return 4 + at, spell

    def _value(self, type_: str) -> _Speller:
        """What converts values. A key without a value, or with more than a value, is none of its."""
        if type_ == "verdict":
            return _verdict
        size = _SIZES.get(type_, 0)
        head, speller = _head(_DATA, size), self._spellers.get(type_)

        def spell(raw: bytes) -> str:
            if not (speller and raw.startswith(head) and len(raw) == 8 + _padded(size)):
                raise ValueError("value %s" % raw.hex())
            return speller(raw[8 : 8 + size])

        return spell


def _padded(size: int) -> int:
    return (size + 3) & ~3


def _head(kind: int, size: int) -> bytes:
    """The start of the attribute of a key or a value of this size."""
    return struct.pack("=HHHH", 8 + _padded(size), kind, 4 + size, _VALUE)


def _verdict(raw: bytes) -> str:
    verdict = _only(_only(raw, _DATA), _VERDICT)
    found = {kind: verdict[start:end] for kind, (start, end) in attributes(verdict, 0, len(verdict)).items()}
    kind = _VERDICTS[int.from_bytes(found[_CODE], "big", signed=True)]
    return "%s %s" % (kind, found[_CHAIN].rstrip(b"\0").decode())


def _only(data: bytes, kind: int) -> bytes:
    """The content of the only attribute."""
    found = attributes(data, 0, len(data))
    if set(found) != {kind}:
        raise ValueError("attributes %s" % sorted(found))
    start, end = found[kind]
    return data[start:end]
