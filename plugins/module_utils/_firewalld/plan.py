# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The contents of firewalld's zones, and the changes to them. Pure: nothing here reads the node."""

from __future__ import annotations

import re
from typing import Any, Dict, Iterator, List, Mapping, NamedTuple, Sequence

from .._common.errors import InputError

# The kinds of values in a zone, and their names in firewall-cmd's options. Sources are added last and removed first,
# because a source moves its packets to this zone at once.
KINDS = {"services": "service", "ports": "port", "rich_rules": "rich-rule", "sources": "source"}
# firewalld writes hardware addresses in upper case, and does not find one that a file contains in lower case.
MAC = re.compile(r"(?:[0-9A-Fa-f]{2}:){5}[0-9A-Fa-f]{2}\Z")

# The values of each kind, and the content of each zone.
Content = Dict[str, List[str]]
Zones = Dict[str, Content]

PORT = re.compile(r"([0-9]+)(?:-([0-9]+))?/([a-z]+)\Z")
# The kinds of names that a rich rule uses, and firewall-cmd's option that lists the existing ones. firewalld itself
# accepts a rule with an unknown name, but the rule has no effect.
NAMED = {
    "service": ("--get-services", re.compile(r"\bservice\s+name=[\"']?([^\"'\s]+)")),
    "ipset": ("--get-ipsets", re.compile(r"\bipset=[\"']?([^\"'\s]+)")),
    "icmptype": ("--get-icmptypes", re.compile(r"\bicmp-(?:type|block)\s+name=[\"']?([^\"'\s]+)")),
}


class Item(NamedTuple):
    """A value that a zone holds or is to hold."""

    zone: str
    kind: str
    value: str


class Entry(NamedTuple):
    """A declared item. `where` is the name of its place in messages."""

    where: str
    item: Item

    def __str__(self) -> str:
        return "%s %s" % (self.where, self.item.value)


class Change(NamedTuple):
    """An item to add to its zone or to remove from it."""

    verb: str
    item: Item

    def options(self, offline: bool = False) -> tuple[str, str]:
        """The options of firewall-cmd, or of firewall-offline-cmd, that make it."""
        zone, kind, value = self.item
        option = "--%s-%s" % (self.verb, KINDS[kind])
        # firewall-offline-cmd uses --remove-service for an option of an older tool.
        if offline and option == "--remove-service":
            option += "-from-zone"
        return "--zone=" + zone, "%s=%s" % (option, value)

    def inverse(self) -> Change:
        """The change that undoes this one."""
        return self._replace(verb="remove" if self.verb == "add" else "add")


def parse_entries(zones: Sequence[Mapping[str, Any]], where: str) -> list[Entry]:
    """The items of the module's option. `where` is its name in messages."""
    for i, zone in enumerate(zones):
        for kind in KINDS:
            if "" in (zone.get(kind) or []):
                at = "%s[%d].%s[%d]" % (where, i, kind, zone[kind].index(""))
                raise InputError("%s is empty: write its value, or leave it out" % at)
    return [
        Entry(
            "%s[%d].%s[%d]" % (where, i, kind, j),
            Item(zone["zone"], kind, value.upper() if MAC.match(value) else value),
        )
        for i, zone in enumerate(zones)
        for kind in KINDS
        for j, value in enumerate(zone.get(kind) or [])
    ]


def read_zones(listing: str) -> Zones:
    """The zones as `firewall-cmd --list-all-zones` shows them."""
    zones: Zones = {}
    zone: Content = {}
    label = ""
    for line in listing.splitlines():
        if line.startswith("\t"):
            # Skip forward ports, which also have one line each.
            if label == "rich rules":
                zone["rich_rules"].append(line.strip())
        elif line.startswith(" "):
            label, dummy, values = line.strip().partition(":")
            if label in KINDS:
                zone[label] = values.split()
        elif line:
            zone = zones.setdefault(line.split()[0], {kind: [] for kind in KINDS})
    return zones


def items_of(zones: Zones) -> list[Item]:
    """All items in the zones."""
    return [
        Item(zone, kind, value)
        for zone, content in zones.items()
        for kind, values in content.items()
        for value in values
    ]


def names_used(item: Item) -> Iterator[tuple[str, str]]:
    """The names that an item uses, each with its key in NAMED."""
    if item.kind == "services":
        yield "service", item.value
    elif item.kind == "sources" and item.value.startswith("ipset:"):
        yield "ipset", item.value[len("ipset:") :]
    elif item.kind == "rich_rules":
        for what, (dummy, pattern) in NAMED.items():
            for name in pattern.findall(item.value):
                yield what, name


def check_zones(zones: Sequence[Mapping[str, Any]], known: set[str], where: str) -> None:
    """Refuse zones that firewalld does not have."""
    for i, zone in enumerate(zones):
        if zone["zone"] not in known:
            raise InputError(
                "%s[%d].zone %s is not a zone of firewalld, which has %s. A new one is unknown until `firewall-cmd "
                "--reload`, which with firewalld 1.3 removes all rules of iptables"
                % (where, i, zone["zone"], ", ".join(sorted(known)))
            )


def check_sources(entries: Sequence[Entry], have: Zones) -> None:
    """Refuse sources that another zone has, because in firewalld a source belongs to one zone only."""
    for entry in entries:
        for zone, content in have.items():
            if entry.item.kind == "sources" and zone != entry.item.zone and _listed(content, entry.item):
                raise InputError(
                    "%s is in zone %s already, and a source is in one zone only: remove it there first" % (entry, zone)
                )


def plan(have: Zones, want: Sequence[Item], present: bool) -> list[Change]:
    """The additions that make all items present, or the removals that make them absent.

    A port within a listed range needs no addition. A removal takes only items that are listed exactly: a wider port
    range is not split.
    """
    kinds = list(KINDS)
    changes = []
    for item in sorted(dict.fromkeys(want), key=lambda item: kinds.index(item.kind), reverse=not present):
        content = have[item.zone]
        if not present:
            changes += [Change("remove", item._replace(value=listed)) for listed in _listed(content, item)]
        elif not any(_holds(other, item) for other in content[item.kind]):
            changes.append(Change("add", item))
    return changes


def planned(have: Zones, changes: Sequence[Change]) -> Zones:
    """The zones after the changes."""
    after = {zone: {kind: list(values) for kind, values in content.items()} for zone, content in have.items()}
    for verb, (zone, kind, value) in changes:
        if verb == "add":
            after[zone][kind].append(value)
        else:
            after[zone][kind].remove(value)
    return after


def show(zones: Zones, names: Sequence[str]) -> str:
    """The named zones in the format of `firewall-cmd --list-all`."""
    lines = []
    for name in names:
        content = zones[name]
        lines.append(name)
        lines += ["  %s: %s" % (kind, " ".join(content[kind])) for kind in ("sources", "services", "ports")]
        lines += ["  rich rules:", *("\t" + rule for rule in content["rich_rules"])]
    return "".join(line.rstrip() + "\n" for line in lines)


def _listed(content: Content, item: Item) -> list[str]:
    """The spellings in which a zone lists an item. Empty if it does not list it."""
    return [other for other in content[item.kind] if _same(other, item)]


def _same(other: str, item: Item) -> bool:
    # Another tool may have written the address in the other case.
    caseless = item.kind == "sources" and not other.startswith("ipset:")
    return other == item.value or (caseless and other.lower() == item.value.lower())


def _holds(other: str, item: Item) -> bool:
    """Whether a listed value already covers an item."""
    wide, narrow = PORT.match(other), PORT.match(item.value)
    if item.kind != "ports" or not wide or not narrow:
        return _same(other, item)
    (low, high), (first, last) = ((int(port[1]), int(port[2] or port[1])) for port in (wide, narrow))
    return wide[3] == narrow[3] and low <= first and last <= high
