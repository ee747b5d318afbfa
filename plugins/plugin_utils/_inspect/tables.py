# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The tables of the inspection page: those of each host, and those of the cluster."""

from __future__ import annotations

from typing import Any, Callable, Iterator, NamedTuple, Sequence, Tuple

from .hosts import spoken_owner
from .html import Html, Json, as_text, element, items, joined, mapping, word, words

Cell = Callable[[Json], str]


class Column(NamedTuple):
    """A column; css -- `number` for counts, `long` for values that take more than one line"""

    heading: str
    cell: str | Cell
    css: str = ""

    def text(self, row: Json) -> str:
        """The text of this column in a row."""
        return word(row, self.cell) if isinstance(self.cell, str) else self.cell(row)


Table = Tuple[str, Sequence[Column], Sequence[Json]]


def table(caption: str, columns: Sequence[Column], rows: Sequence[Json]) -> Html:
    """A table with row names in its first column, or one line if it is empty."""
    if not rows:
        return element("p", caption + ": none", class_="muted")
    head = [element("th", column.heading, scope="col", class_=_number(column)) for column in columns]
    body = []
    for row in rows:
        first = element("th", columns[0].text(row), scope="row", class_=columns[0].css or None)
        rest = [element("td", column.text(row), class_=column.css or None) for column in columns[1:]]
        body.append(element("tr", first, *rest))
    made = element(
        "table",
        element("caption", caption, " ", element("span", str(len(rows)))),
        element("thead", element("tr", *head)),
        element("tbody", *body),
    )
    return element("div", made, class_="rows")


def host_tables(document: Json) -> Html:
    """The tables of a host."""
    return joined(*(table(*one) for one in [*_network(document), *_firewall(document), *_runtime(document)]))


def cluster_tables(cluster: Json) -> Html:
    """The tables of the cluster."""
    return joined(*(table(*one) for one in _cluster(cluster)))


def of_spaces(document: Json, key: str) -> list[Json]:
    """Entries of all namespaces of a host, each with its namespace's name in `in`."""
    labels = space_labels(document)
    return [
        {**entry, "in": labels.get(word(space, "id"), "")}
        for space in items(document, "namespaces")
        for entry in items(space, key)
    ]


def space_labels(document: Json) -> dict[str, str]:
    """The displayed name of each namespace, by its id."""
    return {word(space, "id"): _owner(space) for space in items(document, "namespaces")}


def by_owner(firewall: Json) -> list[Json]:
    """The number of objects of each owner in a node's packet filter."""
    owners: dict[str, dict[str, Any]] = {}

    def add(owner: str, key: str, count: Any) -> None:
        row = owners.setdefault(owner, {"owner": owner, "iptables": 0, "nftables": 0, "ipset": 0, "ipvs": 0})
        row[key] += count if isinstance(count, int) else 0

    for one in items(firewall, "iptables"):
        for owner, count in mapping(one, "owners").items():
            add(str(owner), "iptables", count)
    for one in items(firewall, "nftables"):
        add(word(one, "owner"), "nftables", one.get("rules"))
    for key in ("ipset", "ipvs"):
        for one in items(firewall, key):
            add(word(one, "owner"), key, 1)
    return [owners[owner] for owner in sorted(owners)]


def _owner(space: Json) -> str:
    kind, name, group = spoken_owner(space)
    if kind == "pod":
        return "%s/%s" % (group, name)
    return name if kind == "host" else "%s (%s)" % (name, group)


def _number(column: Column) -> str | None:
    return "number" if column.css == "number" else None


def _count(key: str) -> Cell:
    return lambda row: str(len(row[key])) if isinstance(row.get(key), list) else ""


def _pairs(key: str) -> Cell:
    """A mapping from names to numbers, shown as `kube-proxy 20, docker 3`."""
    return lambda row: ", ".join("%s %s" % (name, as_text(value)) for name, value in sorted(mapping(row, key).items()))


def _peer(labels: dict[str, str]) -> Cell:
    def cell(row: Json) -> str:
        peer = mapping(row, "peer")
        where = labels.get(word(peer, "namespace"), word(peer, "namespace"))
        return " ".join(part for part in (word(peer, "name"), "in " + where if where else "") if part)

    return cell


def _size(row: Json) -> str:
    """A number of bytes in crictl's format."""
    size = row.get("size")
    if not isinstance(size, int) or isinstance(size, bool) or not 0 <= size < 1000**5:
        return ""
    power = min(max(len(str(size)) - 1, 0) // 3, 4)
    return "%.1f %s" % (size / 1000**power, ("B", "kB", "MB", "GB", "TB")[power])


def _network(document: Json) -> Iterator[Table]:
    labels = space_labels(document)
    place = Column("Namespace", "in")
    yield (
        "Network namespaces",
        (
            Column("Owner", _owner), Column("Kind", lambda row: spoken_owner(row)[0]), Column("Id", "id", "number"),
            Column("Name", "name"), Column("PID", lambda row: word(mapping(row, "owner"), "pid"), "number"),
            Column("Links", _count("links"), "number"), Column("Routes", _count("routes"), "number"),
            Column("Neighbours", _count("neighbors"), "number"),
        ),
        items(document, "namespaces"),
    )  # fmt: skip
    yield (
        "Links",
        (
            place, Column("Index", "index", "number"), Column("Name", "name"), Column("Kind", "kind"),
            Column("State", "state"), Column("Addresses", "addresses", "long"), Column("MTU", "mtu", "number"),
            Column("MAC", "mac"), Column("Master", "master"), Column("Peer", _peer(labels)),
            Column("Details", "details"),
        ),
        of_spaces(document, "links"),
    )  # fmt: skip
    yield from _ways(document, place)


def _ways(document: Json, place: Column) -> Iterator[Table]:
    yield (
        "Routes",
        (
            place, Column("Destination", "destination"), Column("Gateway", "gateway"), Column("Device", "device"),
            Column("Protocol", "protocol"), Column("Scope", "scope"), Column("Source", "source"),
            Column("Metric", "metric", "number"), Column("Table", "table"), Column("Type", "type"),
        ),
        of_spaces(document, "routes"),
    )  # fmt: skip
    yield (
        "Neighbours",
        (
            place,
            Column("Address", "address"),
            Column("Device", "device"),
            Column("MAC", "mac"),
            Column("State", "state"),
        ),
        of_spaces(document, "neighbors"),
    )


def _firewall(document: Json) -> Iterator[Table]:
    firewall = mapping(document, "firewall")
    chains, rules = Column("Chains", "chains", "number"), Column("Rules", "rules", "number")
    family, owner = Column("Family", "family"), Column("Owner", "owner")
    yield (
        "Firewall by owner",
        (
            owner, Column("iptables rules", "iptables", "number"), Column("nftables rules", "nftables", "number"),
            Column("ipset sets", "ipset", "number"), Column("IPVS virtual servers", "ipvs", "number"),
        ),
        by_owner(firewall),
    )  # fmt: skip
    yield (
        "iptables",
        (Column("Table", "table"), Column("Variant", "variant"), family, chains, rules,
         Column("Rules by owner", _pairs("owners"), "long")),
        items(firewall, "iptables"),
    )  # fmt: skip
    yield "nftables", (Column("Table", "table"), family, chains, rules, owner), items(firewall, "nftables")
    yield (
        "ipset",
        (Column("Set", "name"), Column("Type", "type"), Column("Entries", "entries", "number"), owner),
        items(firewall, "ipset"),
    )
    yield (
        "IPVS",
        (
            Column("Address", "address"), Column("Port", "port", "number"), Column("Protocol", "protocol"),
            Column("Scheduler", "scheduler"), Column("Real servers", "servers", "number"), owner,
        ),
        items(firewall, "ipvs"),
    )  # fmt: skip


def _runtime(document: Json) -> Iterator[Table]:
    yield (
        "Containers",
        (
            Column("Name", "name"), Column("Namespace", "namespace"), Column("Pod", "pod"), Column("State", "state"),
            Column("Image", "image", "long"), Column("PID", "pid", "number"), Column("Id", "id"),
        ),
        items(document, "containers"),
    )  # fmt: skip
    yield (
        "Images",
        (
            Column("Names", "names", "long"), Column("Size", _size, "number"), Column("Bytes", "size", "number"),
            Column("Id", "id"),
        ),
        items(document, "images"),
    )  # fmt: skip


def _cluster(cluster: Json) -> Iterator[Table]:
    name, space, node = Column("Name", "name"), Column("Namespace", "namespace"), Column("Node", "node")
    yield (
        "Nodes",
        (name, Column("Ready", "ready"), Column("Roles", "roles"), Column("Version", "version"),
         Column("Addresses", "addresses", "long")),
        items(cluster, "nodes"),
    )  # fmt: skip
    yield (
        "Pods",
        (
            name, space, Column("Phase", "phase"), Column("Ready", "ready"), Column("Restarts", "restarts", "number"),
            node, Column("Address", "ip"),
        ),
        items(cluster, "pods"),
    )  # fmt: skip
    yield (
        "Services",
        (
            name, space, Column("Type", "type"), Column("Cluster addresses", "cluster_ips"),
            Column("External addresses", "external_ips"), Column("Ports", "ports"),
            Column("Endpoints", "endpoints", "long"),
        ),
        items(cluster, "services"),
    )  # fmt: skip
    metallb = mapping(cluster, "metallb")
    yield "MetalLB's pools", (name, Column("Addresses", "addresses", "long")), items(metallb, "pools")
    yield (
        "Announced by MetalLB",
        (Column("Service", "service"), Column("Address", "address"), node),
        items(metallb, "leaders"),
    )
    yield (
        "Events",
        (
            Column("Time", "time"), space, Column("Object", "object"), Column("Type", "type"),
            Column("Reason", "reason"), Column("Message", "message", "long"),
        ),
        items(cluster, "events"),
    )  # fmt: skip


def notes(value: Json) -> Html:
    """A list of failures and remarks; empty if there are none."""
    said = words(value, "notes")
    return element("ul", *(element("li", one) for one in said), class_="notes") if said else Html("")
