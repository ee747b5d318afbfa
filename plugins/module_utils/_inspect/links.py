# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The links, routes and neighbours of network namespaces, from the JSON output of iproute2.

Everything here is pure. A link may name another link: its peer, or the link below it. It names it by the other link's
index (IFLA_LINK) and by the id of the other namespace in its own one (IFLA_LINK_NETNSID, linux/if_link.h). If both are
in the same namespace, iproute2 prints the other link's name instead.
"""

from __future__ import annotations

import json
from typing import Any, Iterator, Mapping, NamedTuple, Sequence

from .._virtual_address.plan import LINK_ALIAS, OWNERS

# The attributes to report for each kind of link, by iproute2's names.
DETAILS = {
    "bond": ("mode",),
    "bridge": ("stp_state", "vlan_filtering"),
    "geneve": ("id", "remote", "remote6", "port"),
    "gre": ("local", "remote"),
    "ipip": ("local", "remote"),
    "ipvlan": ("mode",),
    "macvlan": ("mode",),
    "sit": ("local", "remote"),
    "tun": ("type",),
    "vlan": ("id", "protocol"),
    "vrf": ("table",),
    "vxlan": ("id", "local", "local6", "group", "group6", "remote", "remote6", "link", "port"),
}


class Far(NamedTuple):
    """The link that another one names: the other end of a veth pair, or the link below a VLAN or macvlan."""

    ifindex: int = 0
    name: str = ""  # only if it is in the same namespace
    nsid: int | None = None  # the id of its namespace, in the namespace of the naming link


class Link(NamedTuple):
    """A link of a namespace."""

    ifindex: int
    name: str
    kind: str = ""  # as in `ip link add type`; loopback for lo; empty for a hardware device
    state: str = ""
    mtu: int = 0
    mac: str = ""
    master: str = ""
    far: Far = Far()
    addresses: tuple[str, ...] = ()
    ours: tuple[str, ...] = ()  # added by this project's virtual_address, without prefix length
    details: Mapping[str, Any] = {}


class Network(NamedTuple):
    """The data of one namespace; nsids maps ids in this namespace to other namespaces."""

    links: tuple[Link, ...] = ()
    routes: tuple[dict[str, Any], ...] = ()
    neighbors: tuple[dict[str, Any], ...] = ()
    nsids: Mapping[int, int] = {}


def read_entries(text: str) -> list[dict[str, Any]]:
    """The entries that `ip -json` lists. It may print nothing, or empty objects for filtered entries."""
    return [entry for entry in json.loads(text.strip() or "[]", strict=False) if entry]


def read_links(text: str) -> tuple[Link, ...]:
    """The links that `ip -json -details address show` lists."""
    return tuple(_read_link(entry) for entry in read_entries(text) if "ifname" in entry)


def _read_link(entry: Mapping[str, Any]) -> Link:
    info = entry.get("linkinfo") or {}
    kind = str(info.get("info_kind") or ("loopback" if entry.get("link_type") == "loopback" else ""))
    data = info.get("info_data") or {}
    addresses = [address for address in entry.get("addr_info", []) if "local" in address]
    marked = entry.get("ifalias") == LINK_ALIAS
    return Link(
        ifindex=entry["ifindex"],
        name=entry["ifname"],
        kind=kind,
        state=entry.get("operstate", ""),
        mtu=entry.get("mtu", 0),
        # A tunnel's "hardware address" is not a MAC address but its own IP address.
        mac=entry.get("address", "") if entry.get("link_type") == "ether" else "",
        master=entry.get("master", ""),
        far=Far(entry.get("link_index") or 0, entry.get("link") or "", entry.get("link_netnsid")),
        addresses=tuple("%s/%s" % (address["local"], address.get("prefixlen", "")) for address in addresses),
        ours=tuple(address["local"] for address in addresses if marked or address.get("metric") in OWNERS),
        details={name: data[name] for name in DETAILS.get(kind, ()) if name in data},
    )


def read_routes(text: str) -> tuple[dict[str, Any], ...]:
    """The routes that `ip -json -details route show table all` lists, without the table local.

    A route with several next hops is reported as several routes to one destination.
    """
    return tuple(
        route
        for entry in read_entries(text)
        if "dst" in entry and entry.get("table") != "local"
        for route in _read_route(entry)
    )


def _read_route(entry: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    for hop in entry.get("nexthops") or [entry]:
        yield {
            "destination": str(entry["dst"]),
            # iproute2 calls a next hop of the other family `via`.
            "gateway": hop.get("gateway") or (hop.get("via") or {}).get("host", ""),
            "device": hop.get("dev", ""),
            "protocol": str(entry.get("protocol", "")),
            "scope": str(entry.get("scope", "")),
            "source": entry.get("prefsrc", ""),
            "metric": entry.get("metric", 0),
            "table": str(entry.get("table", "main")),
            "type": entry.get("type", "unicast"),
        }


def read_neighbors(text: str) -> tuple[dict[str, Any], ...]:
    """The neighbours that `ip -json neighbor show` lists."""
    return tuple(
        {
            "address": entry["dst"],
            "device": entry.get("dev", ""),
            "mac": entry.get("lladdr", ""),
            "state": " ".join(entry.get("state", [])),
        }
        for entry in read_entries(text)
        if "dst" in entry
    )


def named_ids(links: Sequence[Link]) -> set[int]:
    """The namespace ids that links name; -1 is none (NETNSA_NSID_NOT_ASSIGNED)."""
    return {link.far.nsid for link in links if link.far.nsid is not None and link.far.nsid >= 0}


def find_far(home: int, link: Link, networks: Mapping[int, Network]) -> tuple[int, Link] | None:
    """The namespace and the link that a link names; None if this is not certain.

    home -- the namespace of the link
    """
    far = link.far
    there = home if far.nsid is None else networks[home].nsids.get(far.nsid, 0)
    for other in networks.get(there, Network()).links:
        if (far.ifindex and other.ifindex == far.ifindex) or (far.name and there == home and other.name == far.name):
            return there, other
    return None


def report_link(home: int, link: Link, networks: Mapping[int, Network]) -> dict[str, Any]:
    """A link as the module returns it."""
    details = dict(link.details)
    found, peer = find_far(home, link, networks), None
    if found and link.kind == "veth":
        back = find_far(found[0], found[1], networks)
        # The ends of a veth pair name each other. Otherwise the found link took the index of a deleted one.
        if back and back[0] == home and back[1].ifindex == link.ifindex:
            peer = {"namespace": found[0], "name": found[1].name, "index": found[1].ifindex}
    elif found:
        details["link"] = found[1].name
        if found[0] != home:
            details["link_namespace"] = found[0]
    return {
        "index": link.ifindex,
        "name": link.name,
        "kind": link.kind,
        "state": link.state,
        "mtu": link.mtu,
        "mac": link.mac,
        "master": link.master,
        "peer": peer,
        "addresses": list(link.addresses),
        "details": details,
    }
