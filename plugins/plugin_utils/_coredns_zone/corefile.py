# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The Corefile that serves a zone, and our block in the Corefile of the cluster's own CoreDNS.

Everything here is pure. The answers come from the plugin `template`, which needs nothing but the Corefile. The plugin
`file` would need another file, which the cluster's own CoreDNS does not mount. CoreDNS tries templates in the order of
the Corefile, so they are in the order in which RFC 4592 and RFC 2308 find an answer:

1. an existing name with the requested type: its records;
2. an existing name without the requested type: no data, with the SOA. A name between an existing name and the zone (an
   empty non-terminal) exists too;
3. a name below an existing name, for the deepest one first: the wildcard's records, or NXDOMAIN without a wildcard;
4. any other name: NXDOMAIN, with the SOA, which says how long to cache this.
"""

from __future__ import annotations

import ipaddress
import re
from typing import Iterable, Iterator, Sequence

from ...module_utils._common.errors import InputError
from .input import Record, Zone, in_zone

# The port for clients outside. On port 53, the cluster's own CoreDNS serves pods, and answers queries for all names.
PORT = 1053
BEGIN = "# BEGIN homelab.loadbalancer coredns_zone"
END = "# END homelab.loadbalancer coredns_zone"

_BLOCK = re.compile(r"^%s\n.*?^%s\n" % (re.escape(BEGIN), re.escape(END)), re.DOTALL | re.MULTILINE)
_NAME = "{{ .Name }}"
_EXISTS, _MISSING = "NOERROR", "NXDOMAIN"


def corefile(zone: Zone, ports: Sequence[int], plugins: Iterable[str] = (), extra: str = "") -> str:
    """The server blocks of a zone, and of the reverse zones of its addresses.

    ports -- on which to serve it
    plugins -- lines for more plugins
    extra -- lines from the user
    """
    soa = "{{ .Zone }} %d IN SOA ns.%s. hostmaster.%s. %d 7200 1800 86400 %d" % (
        zone.ttl, zone.name, zone.name, zone.serial, zone.ttl,
    )  # fmt: skip
    lines = ["errors", *plugins, *extra.splitlines(), *_forward(zone, soa)]
    text = _server([zone.name], ports, lines)
    pointers = _pointers(zone)
    if pointers:
        text += _server(list(pointers), ports, ["errors", *_reverse(pointers, zone, soa)])
    return text


def with_block(text: str, block: str) -> str:
    """A Corefile with our block. It comes first, so that the rest need not end with a newline, and stays unchanged."""
    return "%s\n%s%s\n%s" % (BEGIN, block, END, without_block(text))


def without_block(text: str) -> str:
    """A Corefile without our block."""
    rest = _BLOCK.sub("", text)
    for mark in (BEGIN, END):
        if mark in rest:
            raise InputError(
                "the Corefile of the ConfigMap kube-system/coredns has a line `%s` and not its counterpart: "
                "take our block, from BEGIN to END, out of it by hand" % mark
            )
    return rest


def _server(zones: Sequence[str], ports: Sequence[int], lines: Iterable[str]) -> str:
    keys = ",\n".join("%s:%d" % (zone, port) for zone in zones for port in ports)
    return "%s {\n%s}\n" % (keys, "".join("    %s\n" % line for line in lines))


def _forward(zone: Zone, soa: str) -> Iterator[str]:
    exact = [record for record in zone.records if not record.name.startswith("*.")]
    wild = {record.name[2:]: record for record in zone.records if record.name.startswith("*.")}
    there = _there(zone)
    groups: dict[tuple[tuple[str, ...], int], list[str]] = {}
    for record in exact:
        groups.setdefault((record.addresses, record.ttl), []).append(record.name)
    for (addresses, ttl), names in groups.items():
        yield from _answers(_is(names), addresses, ttl)
    yield from _template("SOA", _is([zone.name]), answers=[soa])
    yield from _template("ANY", _is(there), soa=soa)
    # Without a wildcard above the name, the last template gives the same answer.
    for name in sorted(there, key=lambda name: (-name.count("."), name)):
        if name in wild:
            yield from _wildcard(name, wild[name], soa)
        elif any(in_zone(name, above) for above in wild):
            yield from _template("ANY", _below([name]), rcode=_MISSING, soa=soa)
    yield from _template("ANY", _below([zone.name]), rcode=_MISSING, soa=soa)


def _wildcard(above: str, record: Record, soa: str) -> Iterator[str]:
    yield from _answers(_below([above]), record.addresses, record.ttl)
    yield from _template("ANY", _below([above]), soa=soa)


def _there(zone: Zone) -> list[str]:
    """All existing names, including those between a record's name and the zone (empty non-terminals)."""
    found = {zone.name}
    for record in zone.records:
        name = record.name[2:] if record.name.startswith("*.") else record.name
        while name != zone.name:
            found.add(name)
            name = name.partition(".")[2]
    return sorted(found)


def _pointers(zone: Zone) -> dict[str, list[str]]:
    """The names of each address, by its reverse name.

    Each reverse name is a separate zone, so that queries for neighbouring addresses still go to the servers that know
    them.
    """
    found: dict[str, list[str]] = {}
    for record in zone.records:
        for address in record.addresses if not record.name.startswith("*.") else ():
            found.setdefault(ipaddress.ip_address(address).reverse_pointer, []).append(record.name)
    return found


def _reverse(pointers: dict[str, list[str]], zone: Zone, soa: str) -> Iterator[str]:
    for pointer, names in pointers.items():
        answers = ["%s %d IN PTR %s." % (_NAME, zone.ttl, name) for name in names]
        yield from _template("PTR", _is([pointer]), answers=answers)
    yield from _template("SOA", _is(pointers), answers=[soa])
    yield from _template("ANY", _is(pointers), soa=soa)
    yield from _template("ANY", _below(pointers), rcode=_MISSING, soa=soa)


def _answers(match: str, addresses: Iterable[str], ttl: int) -> Iterator[str]:
    by_type: dict[str, list[str]] = {}
    for address in addresses:
        kind = "AAAA" if ":" in address else "A"
        by_type.setdefault(kind, []).append("%s %d IN %s %s" % (_NAME, ttl, kind, address))
    for kind, answers in by_type.items():
        yield from _template(kind, match, answers=answers)


def _template(kind: str, match: str, answers: Iterable[str] = (), rcode: str = _EXISTS, soa: str = "") -> Iterator[str]:
    yield "template IN %s {" % kind
    yield '    match "%s"' % match
    if rcode != _EXISTS:
        yield "    rcode %s" % rcode
    yield from ('    answer "%s"' % answer for answer in answers)
    if soa:
        yield '    authority "%s"' % soa
    yield "    fallthrough"
    yield "}"


def _is(names: Iterable[str]) -> str:
    return "^" + _one_of(names)


def _below(names: Iterable[str]) -> str:
    return "[.]" + _one_of(names)


def _one_of(names: Iterable[str]) -> str:
    return "(%s)[.]$" % "|".join(name.replace(".", "[.]") for name in names)
