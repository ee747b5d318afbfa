# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The Corefile that serves a zone, and the block of it that the role keeps in a Corefile of others.

Everything here is pure. The plugin `template` answers, because all it needs stands in the Corefile: the plugin `file`
wants a file beside it, which the cluster's own CoreDNS does not mount. Templates are tried in the order in which they
stand, so that is the one in which RFC 4592 and RFC 2308 look for an answer:

1. a name that is there, with the type that is asked for;
2. a name that is there, with other types only: no data, and the SOA. Names on the way to another one are there, too;
3. below the closest name that is there, deepest first: the wildcard's answer, or none;
4. any other name: it does not exist, and the SOA, which tells for how long.
"""

from __future__ import annotations

import ipaddress
import re
from typing import Iterable, Iterator, Sequence

from ...module_utils._common.errors import InputError
from .input import Record, Zone, in_zone

# The port on which the zone is served to the outside. On 53 the cluster's own CoreDNS serves pods, and answers all.
PORT = 1053
BEGIN = "# BEGIN homelab.loadbalancer coredns_zone"
END = "# END homelab.loadbalancer coredns_zone"

_BLOCK = re.compile(r"^%s\n.*?^%s\n" % (re.escape(BEGIN), re.escape(END)), re.DOTALL | re.MULTILINE)
_NAME = "{{ .Name }}"
_EXISTS, _MISSING = "NOERROR", "NXDOMAIN"


def corefile(zone: Zone, ports: Sequence[int], plugins: Iterable[str] = (), extra: str = "") -> str:
    """The server blocks of a zone, and of the addresses of its names.

    ports -- on which to serve it
    plugins -- lines of more plugins
    extra -- lines of the user's
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
    """A Corefile with our block in it, which comes first: so the rest stays as it is, however it ends."""
    return "%s\n%s%s\n%s" % (BEGIN, block, END, without_block(text))


def without_block(text: str) -> str:
    """A Corefile as it is without our block."""
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
    # Where no wildcard is above, the last template says the same.
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
    """All names that are there, among them those on the way to another one."""
    found = {zone.name}
    for record in zone.records:
        name = record.name[2:] if record.name.startswith("*.") else record.name
        while name != zone.name:
            found.add(name)
            name = name.partition(".")[2]
    return sorted(found)


def _pointers(zone: Zone) -> dict[str, list[str]]:
    """By the reverse name of an address the names that have it.

    Each is a zone of its own, so that whoever knows the names of its neighbours goes on being asked for them.
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
