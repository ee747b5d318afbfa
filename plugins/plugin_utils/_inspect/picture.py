# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The picture of all inspected hosts: hosts in a grid, and the networks that they share, as inline SVG."""

from __future__ import annotations

import ipaddress
from typing import NamedTuple, Sequence

from .hosts import HostView, Network, host_views, is_outer, network_of
from .html import Html, Json, element
from .layout import Arrangement, Columns, Plan, title
from .shapes import Box, Text, Wire, fit

# A picture of this width fits a laptop's screen.
WIDTH = 1500
# With more namespaces than this each takes one line.
MANY = 120
RAILS = 8
RAIL = 11
GAP = 22


class Rail(NamedTuple):
    """Networks that connect the same links of the same hosts. links -- (number of the host, name of the link)"""

    networks: tuple[Network, ...]
    links: tuple[tuple[int, str], ...]
    gateways: tuple[str, ...]

    @property
    def label(self) -> str:
        """The networks, and the gateway out of them."""
        return ", ".join(map(str, self.networks)) + "".join(" \u00b7 gateway " + gateway for gateway in self.gateways)


class Picture(NamedTuple):
    """The drawing, and the number of networks that did not fit."""

    width: int
    height: int
    hosts: tuple[tuple[HostView, Box, Plan], ...]
    rails: tuple[tuple[Wire, ...], ...]
    labels: tuple[Text, ...]
    left_out: int


def shared_networks(views: Sequence[HostView]) -> list[Rail]:
    """Networks that connect several hosts, or that contain the default gateway; the most shared ones first."""
    found: dict[Network, dict[tuple[int, str], None]] = {}
    for number, view in enumerate(views):
        for link in view.inner.links if view.inner else ():
            networks = [network_of(address) for address in link.addresses]
            if any(networks) and view.inner and is_outer(link, view.inner, view.pairs, view.inner.id):
                for network in networks:
                    if network is not None:
                        found.setdefault(network, {})[number, link.name] = None
    alike: dict[tuple[tuple[int, str], ...], list[Network]] = {}
    for network in sorted(found, key=lambda one: (one.version, one.network_address, one.prefixlen)):
        alike.setdefault(tuple(found[network]), []).append(network)
    rails = [
        Rail(tuple(networks), links, _gateways(networks, {views[number] for number, dummy in links}))
        for links, networks in alike.items()
    ]
    drawn = [rail for rail in rails if rail.gateways or len({number for number, dummy in rail.links}) > 1]
    return sorted(drawn, key=lambda rail: (-len(rail.links), not rail.gateways))


def _gateways(networks: Sequence[Network], views: set[HostView]) -> tuple[str, ...]:
    gateways = sorted({gateway for view in views for gateway in view.gateways})
    return tuple(gateway for gateway in gateways if any(_within(gateway, network) for network in networks))


def _within(address: str, network: Network) -> bool:
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return False
    return parsed.version == network.version and parsed in network


def arrange(documents: Sequence[Json], cluster: Json) -> Picture:
    """Place all parts of the picture."""
    views = host_views(documents, cluster)
    compact = sum(len(view.spaces) for view in views) > MANY
    # The first layout has no wires and counts the lanes they need; in the second all hosts get the same number.
    wide = Columns(spaces=any(view.spaces for view in views), compact=compact)
    first = [Arrangement(view, wide) for view in views]
    plans = [one.plan() for one in first]
    columns = wide._replace(
        lanes=max((plan.lanes for plan in plans), default=0),
        pairs=max((plan.pairs for plan in plans), default=0),
        ends=any(one.ends for one in first),
    )
    plans = [Arrangement(view, columns).plan() for view in views]
    rails = shared_networks(views)
    return _grid(views, plans, columns.width, rails[:RAILS], len(rails[RAILS:]))


def _grid(views: list[HostView], plans: list[Plan], width: int, rails: list[Rail], left_out: int) -> Picture:
    gutter = 14 + RAIL * len(rails) + 12
    across = max(1, min(len(plans), WIDTH // (width + gutter)))
    hosts = []
    y = 12 + GAP * len(rails) + 8
    for begin in range(0, len(plans), across):
        row = list(zip(views, plans))[begin : begin + across]
        for number, (view, plan) in enumerate(row):
            x = gutter + number * (width + gutter)
            hosts.append((view, Box("host", x, y, width, plan.height, title(view, width)), plan))
        y += max(plan.height for view, plan in row) + GAP
    boxes = [box for view, box, plan in hosts]
    drawn = [_rail(number, rail, boxes, plans, gutter) for number, rail in enumerate(rails)]
    labels = [label for wires, label in drawn]
    return Picture(
        across * (width + gutter) + 14, y, tuple(hosts), tuple(wires for wires, label in drawn), tuple(labels), left_out
    )


def _rail(
    number: int, rail: Rail, boxes: list[Box], plans: list[Plan], gutter: int
) -> tuple[tuple[Wire, ...], Text]:  # fmt: skip
    """The wires of one network: along the top, down the left side of each column of hosts, and into their links."""
    css = "net%d" % (number % 6)
    top = 14 + GAP * number + 8
    stubs: dict[int, list[tuple[int, int]]] = {}
    for host, name in rail.links:
        box, port = boxes[host], plans[host].ports.get(name)
        if port:
            x = box.x - gutter + 14 + RAIL * number
            # The wires of several networks enter the same link one below the other.
            y = box.y + port.y + min(10 + 8 * number, port.height - 4)
            stubs.setdefault(x, []).append((box.x + port.x, y))
    wires = []
    for x, ends in sorted(stubs.items()):
        wires.append(Wire(css, ((x, top), (x, max(y for dummy, y in ends)))))
        wires += [Wire(css, ((x, y), end)) for end in ends for y in [end[1]]]
    left, right = min(stubs, default=14), max(stubs, default=14)
    if right > left:
        wires.append(Wire(css, ((left, top), (right, top))))
    room = boxes[0].width if boxes else 0
    label = Text(left + 6, top - 5, fit(rail.label, room), css, whole=rail.label)
    return tuple(wires), label


def svg(picture: Picture) -> Html:
    """The picture as an element of a page."""
    parts: list[str] = []
    for wires, label in zip(picture.rails, picture.labels):
        parts += [_wire(wire) for wire in wires]
        parts += [
            element("circle", cx=wire.points[0][0], cy=wire.points[0][1], r=2.5, class_=wire.css)
            for wire in wires if wire.points[0][1] == wire.points[1][1] and wire.points[0][1] != label.y + 5
        ]  # fmt: skip
    hosts = [_host(view, box, plan) for view, box, plan in picture.hosts]
    # Draw the networks' wires over the hosts' frames, because they end inside the hosts.
    labels = [_text(label) for label in picture.labels]
    return element(
        "svg", *hosts, *parts, *labels,
        xmlns="http://www.w3.org/2000/svg",
        viewBox="0 0 %d %d" % (picture.width, picture.height), width=picture.width, height=picture.height,
        class_="wide" if picture.width > 1000 else None,
        role="group", aria_label="Hosts, their network namespaces and the networks between them",
    )  # fmt: skip


def _host(view: HostView, box: Box, plan: Plan) -> Html:
    texts = [_text(text.moved(box.x, box.y)) for text in box.texts]
    if view.anchor:
        texts[0] = element("a", texts[0], href="#" + view.anchor)
    frames = [one for one in plan.boxes if one.css == "space"]
    others = [one for one in plan.boxes if one.css != "space"]
    return element(
        "g",
        _rect(box),
        *texts,
        *(_box(one.moved(box.x, box.y)) for one in frames),
        *(_wire(wire.moved(box.x, box.y)) for wire in plan.wires),
        *(_box(one.moved(box.x, box.y)) for one in others),
        id="picture-" + view.anchor if view.anchor else None,
    )


def _rect(box: Box) -> Html:
    radius = {"host": 10, "space": 7}.get(box.css, 4)
    return element(
        "rect", x=box.x, y=box.y, width=box.width, height=box.height, rx=radius, class_=box.css
    )  # fmt: skip


def _box(box: Box) -> Html:
    parts: list[str] = [element("title", box.tip)] if box.tip else []
    if box.css:
        parts.append(_rect(box))
    return element("g", *parts, *(_text(text, box.tip) for text in box.texts))


def _text(text: Text, tip: str = "") -> Html:
    """A text. If it is abbreviated, a tooltip shows all of it, unless the box around it has one."""
    whole = [element("title", text.whole)] if text.whole and text.whole != text.text and text.whole not in tip else []
    return element(
        "text", text.text, *whole,
        x=text.x, y=text.y, class_=text.css or None, text_anchor="end" if text.end else None,
    )  # fmt: skip


def _wire(wire: Wire) -> Html:
    return element("path", class_=wire.css, d="M" + "L".join("%d %d" % point for point in wire.points))
