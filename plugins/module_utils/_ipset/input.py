# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Check the option `sets` of the module ipset for errors that ipset reports too late or not at all."""

from __future__ import annotations

import re
import socket
from typing import Any, Sequence

from .._common.errors import InputError
from .._common.values import parse_boolean, parse_list, parse_number
from .model import TEMPORARY, Wanted

OWN_KEYS = ("name", "type", "family", "entries", "entries_file", "append")
FLAGS = ("comment", "counters", "skbinfo", "forceadd")
NUMBERS = {"timeout": 2147483, "hashsize": 1 << 31, "maxelem": (1 << 32) - 1, "size": 65536}
TEXTS = ("range", "netmask", "bitmask", "markmask", "bucketsize", "initval")
MAX_NAME = 31
# ipset reads 1,023 bytes of a line and takes the rest for another line. No entry needs as many.
MAX_ENTRY = 800

_NAME = re.compile(r"[A-Za-z0-9_.:+@/][A-Za-z0-9_.:+@/-]{0,%d}\Z" % (MAX_NAME - 1))
_TYPE = re.compile(r"(hash|bitmap|list):[a-z]+(,[a-z]+)*\Z")
_OPTIONS = r"(?:[ \t]+(?:[^\s\"'\\-][^\s\"'\\]*|\"[^\"\\\n\r\0]*\"))*\Z"
_BYTE = r"(?:25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])"
_IPV4 = r"%s(?:\.%s){3}" % (_BYTE, _BYTE)
_IPV6 = r"[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*"


def parse_sets(raw: list[dict[str, Any]], present: bool) -> list[Wanted]:
    """Check the declared sets.

    raw -- each {name, type, family, entries, entries_file, append, and the options of `ipset create`}
    present -- whether the sets are to exist; to remove a set, its name is enough
    """
    wanted: list[Wanted] = []
    known: dict[str, str] = {}
    for i, each in enumerate(raw):
        where = "sets[%d]" % i
        for key in each:
            if key not in (*OWN_KEYS, *FLAGS, *NUMBERS, *TEXTS):
                raise InputError("%s.%s is not a known key: see the documentation of sets" % (where, key))
        name = _name(each.get("name"), where + ".name")
        if name in known:
            raise InputError("%s.name %s is also the name of %s: declare a set once" % (where, name, known[name]))
        known[name] = where
        shared = parse_boolean(each.get("append"), where + ".append")
        if not present and not shared:
            wanted.append(Wanted(where, name, mode="gone"))
            continue
        create = _create(each, where)
        entries = _entries(each, create, where)
        mode = "whole" if not shared else "add" if present else "remove"
        wanted.append(Wanted(where, name, create, entries, mode))
    return wanted


def parse_prefix(raw: str) -> str:
    """Check the name prefix of all owned sets."""
    if raw and not _NAME.match(raw):
        raise InputError("prefix %r cannot begin set names: use letters, digits and hyphens" % raw)
    return raw


def _name(raw: Any, where: str) -> str:
    if not isinstance(raw, str) or not _NAME.match(raw):
        raise InputError(
            "%s %s is not the name of a set: use 1 to %d letters, digits, hyphens and dots, and no hyphen first"
            % (where, raw, MAX_NAME)
        )
    if raw.startswith(TEMPORARY):
        raise InputError("%s %s begins like the names of this module's temporary sets: choose another" % (where, raw))
    return raw


def _create(each: dict[str, Any], where: str) -> str:
    """The text after the name in `ipset create`. ipset itself checks which type takes which option."""
    kind = each.get("type")
    if not isinstance(kind, str) or not _TYPE.match(kind):
        raise InputError("%s.type %s is not a type of ipset: write one such as hash:ip,port" % (where, kind))
    words = [kind]
    family = each.get("family")
    if family is not None:
        if family not in ("ipv4", "ipv6"):
            raise InputError("%s.family %s is neither ipv4 nor ipv6" % (where, family))
        if not kind.startswith("hash:"):
            raise InputError("%s.family: only hash types have a family, and this is %s: leave it out" % (where, kind))
        words += ["family", {"ipv4": "inet", "ipv6": "inet6"}[family]]
    if kind.startswith("bitmap:") and each.get("range") is None:
        raise InputError("%s.range is missing: a bitmap is made for one, such as 192.168.0.0/16 or 0-1023" % where)
    return " ".join(words + _options(each, where))


def _options(each: dict[str, Any], where: str) -> list[str]:
    words = []
    for key, most in NUMBERS.items():
        if each.get(key) is not None:
            words += [key, str(parse_number(each[key], 0, most, "%s.%s" % (where, key)))]
    for key in TEXTS:
        if each.get(key) is not None:
            if isinstance(each[key], bool) or not re.match(r"[\w.:][\w.:/-]*\Z", str(each[key])):
                raise InputError("%s.%s %s is not a value that ipset takes" % (where, key, each[key]))
            words += [key, str(each[key])]
    return words + [key for key in FLAGS if parse_boolean(each.get(key), "%s.%s" % (where, key))]


def _entries(each: dict[str, Any], create: str, where: str) -> list[str]:
    declared = parse_list([] if each.get("entries") is None else each["entries"], where + ".entries")
    checker = Checker(create)
    wrong = checker.first_wrong(declared)
    if wrong:
        raise InputError("%s.entries[%d] %s %s" % (where, wrong[0], declared[wrong[0]], wrong[1]))
    if each.get("entries_file") is None:
        return declared
    return declared + _read_file(each["entries_file"], checker, where + ".entries_file")


def _read_file(path: Any, checker: Checker, where: str) -> list[str]:
    """A file's lines, without empty lines and comments (#)."""
    if not isinstance(path, str) or not path:
        raise InputError("%s %s is not the path of a file on this node" % (where, path))
    try:
        with open(path, encoding="utf-8") as file:
            lines = list(map(str.strip, file.read().split("\n")))
    except (OSError, ValueError) as error:
        raise InputError("%s cannot be read on this node: %s" % (where, error)) from error
    entries = [line for line in lines if line and line[0] != "#"]
    wrong = checker.first_wrong(entries)
    if wrong:
        entry = entries[wrong[0]]
        raise InputError("%s %s, line %d: %s %s" % (where, path, lines.index(entry) + 1, entry, wrong[1]))
    return entries


class Checker:
    """Finds errors in entries for a set with the given options.

    ipset itself would look up a host name, read an option (-file) out of an entry, and split a line into two commands.
    ipset checks everything else.
    """

    def __init__(self, create: str) -> None:
        self._kind = create.split(" ", 1)[0].split(":")[1].split(",")
        self._ipv6 = " family inet6" in create
        network = r"%s(?:-%s|/[0-9.]+)?" % ((_IPV6, _IPV6) if self._ipv6 else (_IPV4, _IPV4))
        parts = [network if part in ("ip", "net") else r"[^\s,\"'\\-][^\s,\"'\\]*" for part in self._kind]
        if create.startswith("bitmap:ip,mac"):
            parts = [parts[0] + "(?:,%s)?" % parts[1]]
        self._network = re.compile(network + r"\Z")
        self._plain = re.compile(",".join(parts) + r"\Z")
        self._whole = re.compile(",".join(parts) + _OPTIONS)

    def first_wrong(self, entries: Sequence[Any]) -> tuple[int, str] | None:
        """The index, from 0, of the first wrong entry, and the reason; None if all are right."""
        if self._all_plain(entries):
            return None
        found = ((number, self.why(entry)) for number, entry in enumerate(entries))
        return next(((number, why) for number, why in found if why), None)

    def _all_plain(self, entries: Sequence[Any]) -> bool:
        """A quick check that all entries are plainly right: six times as fast as to look for an error in each."""
        try:
            return not self._ipv6 and all(map(self._plain.match, entries)) and max(map(len, entries)) <= MAX_ENTRY
        except (TypeError, ValueError):  # an entry is not text, or there are no entries
            return False

    def why(self, entry: Any) -> str:
        """The reason why an entry is wrong; an empty string if it is not."""
        if not isinstance(entry, str):
            return "is not text: put it in quotes"
        good = self._plain.match(entry) or self._whole.match(entry)
        if good and len(entry) <= MAX_ENTRY and (not self._ipv6 or _ipv6_addresses(entry, self._kind)):
            return ""
        return _outside(entry) or _misfit(entry, self._kind, self._network, "IPv6" if self._ipv6 else "IPv4")


def _ipv6_addresses(entry: str, kind: list[str]) -> bool:
    texts = [text for text, part in zip(entry.split(" ", 1)[0].split(","), kind) if part in ("ip", "net")]
    try:
        for text in texts:
            for address in text.split("/")[0].split("-"):
                socket.inet_pton(socket.AF_INET6, address)
    except OSError:
        return False
    return True


def _outside(entry: str) -> str:
    """The part of an entry that is more than an address or a network."""
    if re.search(r"[\n\r\0]", entry):
        return "is more than one line: write one entry each"
    if len(entry) > MAX_ENTRY:
        return "is longer than %d characters" % MAX_ENTRY
    if re.search(r"(^|\s)-", re.sub(r'"[^"]*"', "", entry)):
        return "holds an option of ipset itself: an entry and its own options have no hyphen before them"
    return ""


def _misfit(entry: str, kind: list[str], network: re.Pattern[str], family: str) -> str:
    """The reason why an entry does not fit its set."""
    parts = entry.split(" ", 1)[0].split(",")
    if len(parts) != len(kind):
        return "does not fit the type, which takes %s" % ",".join(kind)
    for text, part in zip(parts, kind):
        if part in ("ip", "net") and not network.match(text):
            return "has no %s address at %s: host names are not looked up, and a set holds one family" % (family, text)
    if family == "IPv6" and not _ipv6_addresses(entry, kind):
        return "has an IPv6 address that is none"
    return "has a quote or a backslash out of place"
