# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Virtual addresses on the links of a node: the declaration, the node's state, and the steps from one to the other.

Everything here is pure. `node.py` reads and changes the node.

The module owns an address with the declared metric (IFA_RT_PRIORITY, Linux 4.18 and newer), and a link with the alias
LINK_ALIAS. The kernel stores both marks with the address or link, so there is no file that can become outdated.
"""

from __future__ import annotations

import ipaddress
import re
from typing import Iterable, Iterator, Mapping, NamedTuple

from .._common.errors import InputError
from .input import Declared, IPAddress, refuse_ends

LINK_ALIAS = "homelab.loadbalancer"

_LINK_NAME = re.compile(r"[A-Za-z0-9_.][A-Za-z0-9_.+@-]{0,14}")


class Address(NamedTuple):
    """An address on a link. The metric is 0 if none was given."""

    ip: IPAddress
    prefix: int
    metric: int = 0

    def __str__(self) -> str:
        return "%s/%d" % (self.ip, self.prefix)


class Placed(NamedTuple):
    """An address and the name of the link it is on."""

    link: str
    address: Address


class Added(NamedTuple):
    """An address to be added, and its name in messages."""

    entry: str
    address: Address


class Link(NamedTuple):
    """A link as `ip -d address show` lists it."""

    name: str
    addresses: tuple[Address, ...] = ()
    flags: frozenset[str] = frozenset({"UP", "LOWER_UP"})
    kind: str = ""  # dummy, veth, vlan, ...; empty for hardware
    ether: bool = True
    mac: str = ""
    alias: str = ""
    port_of: str = ""  # the bridge or bond that takes this link's packets

    @property
    def silent(self) -> str:
        """Why the neighbours on this link cannot be probed at present, or an empty string."""
        if "UP" not in self.flags:
            return "is down"
        return "" if "LOWER_UP" in self.flags else "has no carrier"

    @property
    def has_neighbours(self) -> bool:
        """Whether this kind of link resolves addresses by ARP and neighbour discovery at all."""
        return self.ether and "NOARP" not in self.flags


class State(NamedTuple):
    """The current state of the node."""

    links: Mapping[str, Link]
    ipv6: bool = True  # whether the declared interface (or a new link if it does not exist) may have IPv6 addresses


METRIC = 27746  # marks an address as ours, unless a task sets another number
# The declarations that one host may have: its own services, and those of a cluster (role cluster_services).
OWNERS = {METRIC: "the host's own services", METRIC + 1: "the Services of a cluster"}


class Want(NamedTuple):
    """The declaration. purge is none, link or node."""

    interface: str
    addresses: tuple[Declared, ...]
    present: bool = True
    dummy: bool = False
    purge: str = "none"
    metric: int = METRIC


class Step(NamedTuple):
    """A line for `ip -batch`, and the lines that undo it."""

    do: str
    undo: tuple[str, ...]
    entry: str = ""


class Plan(NamedTuple):
    """The steps and their results.

    removals -- remove the undeclared addresses
    additions -- the other steps, which follow them: they add addresses, or move them from other links
    promote -- links that lose an IPv4 address and have other addresses of its network, even if those are to be removed
        as well; the kernel could remove them together with it
    batch -- lines for `ip -force -batch` that restore the declared state after a reboot
    """

    removals: tuple[Step, ...]
    additions: tuple[Step, ...]
    added: tuple[Added, ...]
    removed: tuple[Address, ...]
    promote: tuple[str, ...]
    before: str
    after: str
    batch: tuple[str, ...]
    warnings: tuple[str, ...]

    @property
    def steps(self) -> tuple[Step, ...]:
        return self.removals + self.additions


def plan(have: State, want: Want) -> Plan:
    """The steps from have to want. InputError if the declaration is impossible on the node."""
    added: list[Added] = []
    moved: list[Placed] = []
    gone: list[Placed] = []
    warnings: list[str] = []
    if want.present:
        _refuse_link(have, want)
        by_ip = _by_ip(have)
        for declared in want.addresses:
            add, remove = _place(have, want, declared, by_ip.get(declared.ip, []))
            added += add
            moved += remove
    else:
        gone, warnings = _listed(have, want)
    known = {*moved, *gone}
    gone += [placed for placed in _purged(have, want) if placed not in known]
    after = _changed_links(have, want, [new.address for new in added], [*moved, *gone])
    shown = sorted({want.interface, *(placed.link for placed in [*moved, *gone])})
    emptied = sorted(set(have.links) - set(after))
    left = {placed.link for placed in moved}
    return Plan(
        removals=(*map(_removal, gone), *(_unlink(name) for name in emptied if name not in left)),
        # Removals come first: the kernel refuses one IPv6 address with two prefix lengths.
        additions=(
            *map(_removal, moved),
            *_steps(have.links.get(want.interface), want, added),
            *(_unlink(name) for name in emptied if name in left),
        ),
        added=tuple(added),
        removed=tuple(placed.address for placed in [*moved, *gone]),
        promote=_to_promote(have, [*moved, *gone]),
        before=_render(have.links, shown),
        after=_render(after, shown),
        batch=tuple(_batch(after, want)),
        warnings=tuple(warnings + _advice(have, want)),
    )


def _refuse_link(have: State, want: Want) -> None:
    link = have.links.get(want.interface)
    if link is None and not want.dummy:
        known = ", ".join(sorted(have.links))
        hint = "" if known == "" else ": this node has %s" % known
        raise InputError("interface %s does not exist%s; choose an existing link" % (want.interface, hint))
    if link is None and not _LINK_NAME.fullmatch(want.interface):
        raise InputError(
            "interface %s is not a valid link name: use 1 to 15 letters, digits, '_', '.' or '-'" % want.interface
        )
    if link is not None and want.dummy and link.kind != "dummy":
        raise InputError(
            "interface %s is not a dummy link%s: choose another name, or set the option dummy to false"
            % (want.interface, " but of type %s" % link.kind if link.kind else "")
        )
    for declared in want.addresses:
        if declared.ip.version == 6 and not have.ipv6:
            raise InputError(
                "%s cannot be put on %s, where IPv6 is disabled: set net.ipv6.conf.%s.disable_ipv6 to 0"
                % (declared.entry, want.interface, want.interface if link else "default")
            )


def _by_ip(have: State) -> dict[IPAddress, list[Placed]]:
    index: dict[IPAddress, list[Placed]] = {}
    for link in have.links.values():
        for address in link.addresses:
            index.setdefault(address.ip, []).append(Placed(link.name, address))
    return index


def _place(have: State, want: Want, declared: Declared, found: list[Placed]) -> tuple[list[Added], list[Placed]]:
    """What to add and what to remove for one declared address.

    found -- the places where the node has it now
    """
    target = Address(declared.ip, declared.full_prefix, want.metric)
    here = [address for name, address in found if name == want.interface]
    if target in here:
        return [], []
    for name, address in found:
        if address.metric in OWNERS and address.metric != want.metric:
            raise InputError(
                "%s is on %s for %s (metric %d): two declarations cannot share an address, remove it from one of them"
                % (declared.entry, name, OWNERS[address.metric], address.metric)
            )
    for address in here:
        if address.metric != want.metric:
            if declared.prefix not in (None, address.prefix):
                raise InputError(
                    "%s is already on %s as %s, which this module did not add: declare it so, or remove it first"
                    % (declared.entry, want.interface, address)
                )
            return [], []  # not added by this module: accepted as it is, and not owned
    for name, address in found:
        if address.metric != want.metric:
            raise InputError(
                "%s is already on %s of this node: declare another address, or remove it there first"
                % (declared.entry, name)
            )
    _refuse_ends_of_link(have, want, declared)
    return [Added(declared.entry, target)], found


def _refuse_ends_of_link(have: State, want: Want, declared: Declared) -> None:
    link = have.links.get(want.interface, Link(want.interface))
    for address in link.addresses:
        if address.ip.version == declared.ip.version and address.metric != want.metric:
            network = ipaddress.ip_network((address.ip, address.prefix), strict=False)
            refuse_ends("%s on %s" % (declared.entry, link.name), declared.ip, network)


def _listed(have: State, want: Want) -> tuple[list[Placed], list[str]]:
    """The declared addresses that state=absent removes, and warnings about those that it must keep."""
    removed: list[Placed] = []
    warnings: list[str] = []
    by_ip = _by_ip(have)
    for declared in want.addresses:
        for name, address in by_ip.get(declared.ip, []):
            if name == want.interface and address.metric == want.metric:
                removed.append(Placed(name, address))
            elif name == want.interface:
                warnings.append(
                    "%s was not added by this module (it does not carry metric %d) and stays on %s; "
                    "to remove it: ip address del %s dev %s" % (declared.entry, want.metric, name, address, name)
                )
    return removed, warnings


def _purged(have: State, want: Want) -> list[Placed]:
    keep = {declared.ip for declared in want.addresses} if want.present else set()
    names = {"none": [], "link": [want.interface], "node": list(have.links)}[want.purge]
    return [
        Placed(name, address)
        for name in names
        if name in have.links
        for address in have.links[name].addresses
        if address.metric == want.metric and (name != want.interface or address.ip not in keep)
    ]


def _changed_links(have: State, want: Want, added: Iterable[Address], removed: Iterable[Placed]) -> dict[str, Link]:
    """The links after the change."""
    gone = set(removed)
    links = {
        name: link._replace(addresses=tuple(a for a in link.addresses if Placed(name, a) not in gone))
        for name, link in have.links.items()
    }
    if want.present:
        link = links.get(want.interface, Link(want.interface, kind="dummy", alias=LINK_ALIAS))
        if want.dummy:
            link = link._replace(flags=link.flags | {"UP", "LOWER_UP", "NOARP"})
        links[want.interface] = link._replace(addresses=link.addresses + tuple(added))
    emptied = {placed.link for placed in gone} | (set() if want.present else {want.interface})
    for name in emptied & set(links):
        link = links[name]
        ours = link.alias == LINK_ALIAS and link.kind == "dummy" and not (want.present and name == want.interface)
        if ours and all(map(_automatic, link.addresses)):
            del links[name]
    return links


def _steps(link: Link | None, want: Want, added: Iterable[Added]) -> Iterator[Step]:
    """The steps that make the link and add addresses to it."""
    if want.present and link is None:
        create, mark = _create(want.interface)
        yield Step(create, ("link del dev %s" % want.interface,), "interface %s" % want.interface)
        yield Step(mark, ())
    elif want.present and want.dummy and link is not None and "UP" not in link.flags:
        yield Step("link set dev %s up" % link.name, ("link set dev %s down" % link.name,))
    for entry, address in added:
        yield Step(_add(want.interface, address), (_del(want.interface, address),), entry)


def _removal(placed: Placed) -> Step:
    return Step(_del(*placed), (_add(*placed),))


def _unlink(name: str) -> Step:
    return Step("link del dev %s" % name, _create(name))


def _create(name: str) -> tuple[str, str]:
    return "link add name %s type dummy" % name, "link set dev %s alias %s up" % (name, LINK_ALIAS)


def _add(link: str, address: Address, verb: str = "add") -> str:
    line = "address %s %s dev %s metric %d" % (verb, address, link, address.metric)
    if address.ip.version == 6:
        # nodad: usable at once, because the neighbours were already probed. noprefixroute: otherwise the kernel keeps
        # the route to the network when the address is removed and another of that network stays. preferred_lft 0: the
        # node never uses it as the source of its own connections; otherwise the longest prefix wins (RFC 6724).
        line += " nodad noprefixroute preferred_lft 0"
    return line


def _del(link: str, address: Address) -> str:
    return "address del %s dev %s" % (address, link)


def _batch(after: Mapping[str, Link], want: Want) -> list[str]:
    link = after.get(want.interface)
    if not want.present or link is None:
        return []
    lines = list(_create(link.name)) if link.alias == LINK_ALIAS and link.kind == "dummy" else []
    declared = {entry.ip for entry in want.addresses}
    mine = [a for a in link.addresses if a.metric == want.metric and a.ip in declared]
    return lines + [_add(link.name, address, "replace") for address in _sorted(mine)]


def _to_promote(have: State, removed: Iterable[Placed]) -> tuple[str, ...]:
    names = set()
    for name, address in removed:
        network = ipaddress.ip_network((address.ip, address.prefix), strict=False)
        others = [a for a in have.links[name].addresses if a.ip.version == 4 and a.ip != address.ip]
        if any(a.prefix == address.prefix and a.ip in network for a in others):
            names.add(name)
    return tuple(sorted(names))


def _advice(have: State, want: Want) -> list[str]:
    link = have.links.get(want.interface)
    if link is None or not link.port_of or not want.present or not want.addresses:
        return []
    return [
        "%s is a port of %s, which takes its packets: declare the addresses on %s"
        % (link.name, link.port_of, link.port_of)
    ]


def _automatic(address: Address) -> bool:
    """Whether the kernel gives a link this address by itself."""
    return address.ip.version == 6 and address.ip.is_link_local


def _sorted(addresses: Iterable[Address]) -> list[Address]:
    return sorted(addresses, key=lambda a: (a.ip.version, int(a.ip), a.prefix))


def _render(links: Mapping[str, Link], names: Iterable[str]) -> str:
    """Links in the format of `ip address show`, without the addresses that the kernel adds (link-local addresses)."""
    lines = []
    for link in (links[name] for name in names if name in links):
        state = "up" if "UP" in link.flags else "down"
        lines.append("%s: %s" % (link.name, "dummy " + state if link.kind == "dummy" else state))
        for address in _sorted(link.addresses):
            if not _automatic(address):
                word = "inet" if address.ip.version == 4 else "inet6"
                metric = " metric %d" % address.metric if address.metric else ""
                lines.append("    %s %s%s" % (word, address, metric))
    return "".join(line + "\n" for line in lines)
