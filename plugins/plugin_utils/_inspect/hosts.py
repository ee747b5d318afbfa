# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The data of each host in the inspection picture, from the reports and from the cluster."""

from __future__ import annotations

import hashlib
import ipaddress
from typing import FrozenSet, Iterator, NamedTuple, Sequence, Tuple, Union

from .html import Json, as_text, items, mapping, word, words

Network = Union[ipaddress.IPv4Network, ipaddress.IPv6Network]
Interface = Union[ipaddress.IPv4Interface, ipaddress.IPv6Interface]
End = Tuple[str, str]
Pairs = FrozenSet[FrozenSet[End]]

# Kinds of links that lead out of a host: hardware, which has no kind, and links on top of hardware.
OUTER = frozenset({"", "bond", "team", "vlan", "macvlan", "ipvlan", "ipoib"})


class Link(NamedTuple):
    """A network link in the picture. addresses -- without those that every link has by default"""

    name: str
    kind: str
    state: str
    master: str
    addresses: tuple[str, ...]
    tip: str


class Space(NamedTuple):
    """A network namespace; kind -- the kind of its owner: host, pod, container, process or none"""

    id: str
    kind: str
    name: str
    group: str
    links: tuple[Link, ...]


class Vip(NamedTuple):
    """An address that MetalLB announces from a host."""

    address: str
    service: str


class HostView(NamedTuple):
    """A host in the picture.

    inner -- its initial network namespace; spaces -- the others; pairs -- both ends of each veth pair, an end being a
    namespace's id and a link's name; pods -- pods in the host's network namespace; gateways -- of default routes
    """

    name: str
    anchor: str
    about: str
    error: str
    notes: int
    inner: Space | None
    spaces: tuple[Space, ...]
    pairs: Pairs
    pods: tuple[str, ...]
    vips: tuple[Vip, ...]
    gateways: tuple[str, ...]


def anchors(documents: Sequence[Json]) -> list[str]:
    """An id for each host. It is the same in the next page, and the host cannot choose it."""
    seen: dict[str, int] = {}
    made = []
    for document in documents:
        digest = "host-" + hashlib.sha256(word(document, "host").encode("utf-8", "backslashreplace")).hexdigest()[:8]
        seen[digest] = seen.get(digest, 0) + 1
        made.append(digest if seen[digest] == 1 else "%s-%d" % (digest, seen[digest]))
    return made


def host_name(document: Json) -> str:
    """The displayed name of a host."""
    return word(document, "host") or "a host without a name"


def interface(address: str) -> Interface | None:
    """An address with its prefix, or None for other text."""
    try:
        return ipaddress.ip_interface(address)
    except ValueError:
        return None


def network_of(address: str) -> Network | None:
    """The network of an address with a prefix; None for a network that cannot contain another host."""
    found = interface(address)
    if found is None or found.is_loopback or found.is_link_local or found.network.prefixlen >= found.max_prefixlen - 1:
        return None
    return found.network


def is_outer(link: Link, inner: Space, pairs: Pairs, space: str) -> bool:
    """Whether a link of the initial namespace leads out of the host: to hardware, or to an uninspected namespace."""
    if link.kind in OUTER:
        return True
    if link.kind == "veth":
        return not any((space, link.name) in pair for pair in pairs)
    return any(port.master == link.name and port.kind in OUTER for port in inner.links)


def spoken_owner(space: Json) -> tuple[str, str, str]:
    """The owner of a namespace: its kind, its name, and the Kubernetes namespace or an empty text."""
    owner = mapping(space, "owner")
    kind, name, pid = word(owner, "kind"), word(owner, "name"), word(owner, "pid")
    if space.get("host") is True or kind == "host":
        return "host", "initial namespace", ""
    if kind == "pod":
        return kind, name or "pod without a name", word(owner, "namespace")
    if kind == "container":
        return kind, name or "container without a name", "container"
    if kind == "process":
        return kind, " ".join(part for part in (name, pid) if part), "process"
    return "none", word(space, "name") or word(space, "id"), "no owner"


def host_views(documents: Sequence[Json], cluster: Json) -> list[HostView]:
    """All hosts of the picture: the inspected ones, then other nodes that announce an address."""
    views = [_host_view(document, anchor, cluster) for document, anchor in zip(documents, anchors(documents))]
    known = [set(_names(document, cluster)) for document in documents]
    others: dict[str, list[Vip]] = {}
    for node, vip in _leaders(cluster):
        if not any(node in names for names in known):
            others.setdefault(node, []).append(vip)
    empty = HostView("", "", "", "not inspected", 0, None, (), frozenset(), (), (), ())
    return views + [empty._replace(name=node, vips=tuple(vips)) for node, vips in others.items()]


def _host_view(document: Json, anchor: str, cluster: Json) -> HostView:
    spaces = [_space(space) for space in items(document, "namespaces")]
    inner = next((space for space in spaces if space.kind == "host"), None)
    names = _names(document, cluster)
    node = next((node for node in items(cluster, "nodes") if word(node, "name") in names), {})
    return HostView(
        name=host_name(document),
        anchor=anchor,
        about=" \u00b7 ".join(_about(document, node)),
        error=word(document, "error"),
        notes=len(words(document, "notes")),
        inner=inner,
        spaces=tuple(space for space in spaces if space is not inner),
        pairs=_pairs(document),
        pods=tuple(dict.fromkeys(_pods_of_the_node(document, inner, node, cluster))),
        vips=tuple(dict.fromkeys(vip for leader, vip in _leaders(cluster) if leader in names)),
        gateways=tuple(dict.fromkeys(_gateways(document))),
    )


def _about(document: Json, node: Json) -> Iterator[str]:
    hostname = word(document, "hostname")
    if hostname and hostname != word(document, "host"):
        yield hostname
    if node:
        yield "Ready" if node.get("ready") is True else "not ready"
        yield from (part for part in (as_text(node.get("roles")), word(node, "version")) if part)
    if word(document, "kernel"):
        yield "Linux " + word(document, "kernel")


def _leaders(cluster: Json) -> Iterator[tuple[str, Vip]]:
    for leader in items(mapping(cluster, "metallb"), "leaders"):
        yield word(leader, "node"), Vip(word(leader, "address"), word(leader, "service"))


def _names(document: Json, cluster: Json) -> list[str]:
    """The names of the host's node: the host's own name, or that of the node with one of its addresses."""
    names = [name for name in (word(document, "host"), word(document, "hostname")) if name]
    spaces = [space for space in items(document, "namespaces") if spoken_owner(space)[0] == "host"]
    own = {
        address.partition("/")[0] for space in spaces for link in items(space, "links")
        for address in words(link, "addresses")
    }  # fmt: skip
    return names + [
        word(node, "name") for node in items(cluster, "nodes") if own.intersection(words(node, "addresses"))
    ]


def _space(space: Json) -> Space:
    kind, name, group = spoken_owner(space)
    links = tuple(_link(link) for link in items(space, "links") if word(link, "name") != "lo")
    return Space(word(space, "id"), kind, name, group, links)


def _link(link: Json) -> Link:
    addresses = words(link, "addresses")
    own = [found for found in addresses if not ((parsed := interface(found)) and parsed.is_link_local)]
    facts = [
        word(link, "name"), word(link, "kind"), word(link, "state"), word(link, "mac"),
        "mtu " + word(link, "mtu") if word(link, "mtu") else "", *addresses,
    ]  # fmt: skip
    return Link(
        word(link, "name"), word(link, "kind"), word(link, "state"), word(link, "master"), tuple(own),
        " \u00b7 ".join(fact for fact in facts if fact),
    )  # fmt: skip


def _pairs(document: Json) -> Pairs:
    """Veth pairs with both ends in the report; each end may name the other."""
    known = {
        (word(space, "id"), word(link, "name"))
        for space in items(document, "namespaces") for link in items(space, "links")
    }  # fmt: skip
    pairs = set()
    for space in items(document, "namespaces"):
        for link in items(space, "links"):
            peer = mapping(link, "peer")
            ends = frozenset({(word(space, "id"), word(link, "name")), (word(peer, "namespace"), word(peer, "name"))})
            if peer and word(link, "kind") == "veth" and ends <= known:
                pairs.add(ends)
    return frozenset(pairs)


def _pods_of_the_node(document: Json, inner: Space | None, node: Json, cluster: Json) -> Iterator[str]:
    """Pods in the host's network namespace, according to the cluster and the container runtime."""
    own = {address.partition("/")[0] for link in (inner.links if inner else ()) for address in link.addresses}
    own.update(words(node, "addresses"))
    for pod in items(cluster, "pods"):
        if node and word(pod, "node") == word(node, "name") and word(pod, "ip") in own:
            yield "%s/%s" % (word(pod, "namespace"), word(pod, "name"))
    elsewhere = {spoken_owner(space)[1:] for space in items(document, "namespaces")}
    for container in items(document, "containers"):
        name, group = word(container, "pod"), word(container, "namespace")
        if inner and name and (name, group) not in elsewhere and "running" in word(container, "state").lower():
            yield "%s/%s" % (group, name)


def _gateways(document: Json) -> Iterator[str]:
    for space in items(document, "namespaces"):
        for route in items(space, "routes"):
            default = word(route, "destination") in ("default", "0.0.0.0/0", "::/0")
            if default and word(route, "gateway") and spoken_owner(space)[0] == "host":
                yield word(route, "gateway")
