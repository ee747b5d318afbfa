# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The positions of one host's parts in the picture.

From left to right, as a packet travels: links that lead out, VIPs and bridges in a stack, lanes for wires, the host's
ends of veth pairs, and the namespaces at their other ends.

    +- worker1 ---------------------------------------------+
    | +- initial namespace ------------+                    |
    | | [eth0]----+     [vethab]-------|----[eth0 pod]      |
    | | [cni0]----+-----[vethcd]-------|----[eth0 pod]      |
    | +--------------------------------+                    |
    +-------------------------------------------------------+
"""

from __future__ import annotations

from typing import NamedTuple, Sequence

from .hosts import HostView, Link, Space, Vip, interface, is_outer, network_of
from .shapes import LARGE, SMALL, Box, Text, Wire, drawable, fit, pack, wrap

PAD = 12
HEADER = 48
LINE = 13
STACK = 164
END = 108
LANE = 7
TUNNELS = ("vxlan", "geneve", "ipip", "tunnel", "sit", "gre", "wireguard", "tun", "ip6tnl", "ip6gre", "gretap")


class Columns(NamedTuple):
    """The left edges of the columns. All hosts of a picture share them, so that they look alike.

    lanes, pairs -- the number of wires with space, left and right; compact -- a namespace takes one line, not two
    """

    lanes: int = 0
    ends: bool = True
    spaces: bool = True
    pairs: int = 0
    compact: bool = False

    @property
    def stack(self) -> int:
        """The left edge of the links of the initial namespace."""
        return PAD + 10

    @property
    def lane(self) -> int:
        """The first wire between the links and the ends of veth pairs."""
        return self.stack + STACK + 8

    @property
    def end(self) -> int:
        """The left edge of the ends of veth pairs."""
        return self.lane + LANE * self.lanes + 6

    @property
    def inner_right(self) -> int:
        """The right edge of the initial namespace."""
        return self.end + END + 10 if self.ends else self.lane + LANE * self.lanes + 2

    @property
    def space(self) -> int:
        """The left edge of the other namespaces."""
        return self.inner_right + 22

    @property
    def space_width(self) -> int:
        """The width of the other namespaces."""
        return 290 if self.compact else 256

    @property
    def width(self) -> int:
        """The width of a host."""
        if not self.spaces:
            return max(self.inner_right + PAD, 300)
        return self.space + self.space_width + (8 + LANE * self.pairs if self.pairs else 0) + PAD


class Plan(NamedTuple):
    """A host's parts, relative to its corner; ports -- where wires from outside enter, by link"""

    height: int
    boxes: tuple[Box, ...]
    wires: tuple[Wire, ...]
    ports: dict[str, Box]
    lanes: int
    pairs: int


class Arrangement:
    """The parts of one host, which are placed one after the other."""

    def __init__(self, view: HostView, columns: Columns) -> None:
        self.view = view
        self.columns = columns
        self.boxes: list[Box] = []
        self.wires: list[Wire] = []
        self.stack: dict[str, Box] = {}
        self.rows: dict[tuple[str, str], tuple[Box, int]] = {}
        self.ends: dict[str, Box] = {}

    def plan(self) -> Plan:
        """Place all parts."""
        bottom = self._header()
        below = bottom
        if self.view.inner:
            self._stack(self.view.inner, bottom + 24)
            below = max([box.y + box.height for box in self.boxes], default=bottom + 24)
        rows = self._spaces(bottom + 24) if self.view.spaces else bottom
        lanes = self._members(self.view.inner) if self.view.inner else 0
        pairs = self._pairs()
        parts = [box.y + box.height for box in self.ends.values()]
        frames = []
        if self.view.inner:
            below = max([below, *parts]) + 10
            text = Text(self.columns.stack, bottom + 15, "initial namespace", "quiet")
            width = self.columns.inner_right - PAD
            frames.append(Box("space", PAD, bottom, width, below - bottom, (text,), "initial network namespace"))
        height = max(below, rows) + PAD
        ports = {link.name: self.stack[link.name] for link in self._outer()}
        return Plan(height, (*frames, *self.boxes), tuple(self.wires), ports, lanes, pairs)

    def _outer(self) -> list[Link]:
        inner = self.view.inner
        if inner is None:
            return []
        return [
            link for link in inner.links
            if link.name in self.stack and is_outer(link, inner, self.view.pairs, inner.id)
        ]  # fmt: skip

    def _header(self) -> int:
        """The lines at the top: an error, and VIPs of a host without other data. Returns their lower edge."""
        bottom = HEADER
        for line in wrap(self.view.error, self.columns.width - 2 * PAD, 4):
            text = Text(PAD, bottom + 10, line, "wrong")
            self.boxes.append(Box("", PAD, bottom, self.columns.width - 2 * PAD, LINE, (text,), self.view.error))
            bottom += LINE + 3
        if self.view.inner is None:
            bottom = self._vips(self.view.vips, PAD, bottom)
        return bottom

    def _vips(self, vips: Sequence[Vip], x: int, y: int) -> int:
        for vip in vips:
            whole = "VIP %s \u00b7 %s" % (vip.address, vip.service)
            width = self.columns.stack + STACK - x
            lines = (
                Text(x + 8, y + 13, fit("VIP " + vip.address, width - 16), "name", whole=whole),
                Text(x + 8, y + 13 + LINE, fit(vip.service, width - 16), "quiet", whole=whole),
            )
            self.boxes.append(Box("vip", x, y, width, 33, lines, whole))
            y += 33 + 6
        return y

    def _stack(self, inner: Space, y: int) -> None:
        """Links of the initial namespace, except those to another namespace; each VIP is below its link."""
        led = {name for pair in self._crossing(inner) for space, name in pair if space == inner.id}
        links = sorted(
            (link for link in inner.links if link.name not in led),
            key=lambda link: _rank(link, is_outer(link, inner, self.view.pairs, inner.id)),
        )
        waiting = list(self.view.vips)
        for link in links:
            box = _link_box(link, self.columns.stack, y)
            self.boxes.append(box)
            self.stack.setdefault(link.name, box)
            y += box.height + 6
            here = [vip for vip in waiting if _carries(link, vip)]
            for vip in here:
                middle = y + 16
                left = self.columns.stack + 7
                self.wires.append(Wire("vip", ((left, box.y + box.height), (left, middle), (left + 9, middle))))
                y = self._vips([vip], left + 9, y)
            waiting = [vip for vip in waiting if vip not in here]
        y = self._vips(waiting, self.columns.stack, y)
        self._pods(y)

    def _pods(self, y: int) -> None:
        pods = self.view.pods
        if not pods:
            return
        x = self.columns.stack
        head = Text(x + 8, y + 14, "host network: %d" % len(pods), "quiet")
        names = [
            Text(x + 8, y + 14 + LINE * row, fit(pod.partition("/")[2], STACK - 16), whole=pod)
            for row, pod in enumerate(pods, 1)
        ]
        height = 22 + LINE * len(pods)
        tip = "pods on the node's own network: " + ", ".join(pods)
        self.boxes.append(Box("pod shared", x, y, STACK, height, (head, *names), tip))

    def _crossing(self, inner: Space) -> list[list[tuple[str, str]]]:
        """Pairs with one end in the initial namespace, in a stable order."""
        pairs = sorted(map(sorted, self.view.pairs))
        return [pair for pair in pairs if {inner.id} < {space for space, dummy in pair}]

    def _spaces(self, y: int) -> int:
        """The other namespaces, grouped by bridge, with the host's end of a veth pair beside each link."""
        inner = self.view.inner
        ours = {link.name: link for link in inner.links} if inner else {}
        far = {}
        for pair in self._crossing(inner) if inner else ():
            near = next(name for space, name in pair if inner and space == inner.id)
            far.update({end: ours[near] for end in pair if inner and end[0] != inner.id and near in ours})
        order = {name: number for number, name in enumerate(self.stack)}

        def rank(space: Space) -> tuple[int, bool, str, str, str, str]:
            masters = [order.get(far[end].master, 998) for link in space.links if (end := (space.id, link.name)) in far]
            return min(masters, default=999), space.kind != "pod", space.kind, space.group, space.name, space.id

        for space in sorted(self.view.spaces, key=rank):
            box, lines = _space_box(space, self.columns, y)
            self.boxes.append(box)
            for link, line in zip(space.links, lines):
                self.rows.setdefault((space.id, link.name), (box, line))
                near_end = far.get((space.id, link.name))
                if near_end:
                    self._end(near_end, line)
            y = box.y + box.height + (4 if self.columns.compact else 6)
        return y

    def _end(self, link: Link, y: int) -> None:
        """The host's end of a veth pair, and the wire of the pair."""
        if link.name in self.ends:
            return
        x = self.columns.end
        text = Text(x + 6, y + 4, fit(link.name, END - 10))
        self.ends[link.name] = Box(_css("end", link), x, y - 8, END, 16, (text,), link.tip)
        self.boxes.append(self.ends[link.name])
        self.wires.append(Wire("veth", ((x + END, y), (self.columns.space, y))))

    def _members(self, inner: Space) -> int:
        """Wires between a bridge (or a bond) and its ports, one lane per bridge; returns the number of lanes."""
        buses = []
        for name, master in self.stack.items():
            ports = [
                (self.columns.end, end.y + 8) if end else (self.columns.stack + STACK, self.stack[link.name].y + 8)
                for link in inner.links
                if link.master == name != link.name and ((end := self.ends.get(link.name)) or link.name in self.stack)
            ]
            if ports:
                buses.append(("member", (self.columns.stack + STACK, master.y + master.height - 8), ports))
        for pair in sorted(map(sorted, self.view.pairs)):
            both = [self.stack[name] for space, name in pair if space == inner.id and name in self.stack]
            if len(both) == 2:
                first, second = ((self.columns.stack + STACK, box.y + box.height // 2) for box in both)
                buses.append(("veth", first, [second]))
        return self._draw(buses, self.columns.lane)

    def _pairs(self) -> int:
        """Wires between two of the other namespaces, to the right of them."""
        right = self.columns.space + self.columns.space_width
        buses = []
        for pair in sorted(map(sorted, self.view.pairs)):
            lines = [self.rows[end][1] for end in pair if end in self.rows]
            if len(lines) == 2:
                buses.append(("veth", (right, lines[0]), [(right, lines[1])]))
        return self._draw(buses, right + 8)

    def _draw(self, buses: list[tuple[str, tuple[int, int], list[tuple[int, int]]]], x: int) -> int:
        spans = [
            (min(y, *(top for dummy, top in ports)), max(y, *(top for dummy, top in ports)))
            for dummy, (left, y), ports in buses
        ]
        lanes = pack(spans)
        for (css, start, ports), lane, (top, bottom) in zip(buses, lanes, spans):
            at = x + LANE * lane
            self.wires.append(Wire(css, ((at, top), (at, bottom))))
            self.wires += [Wire(css, (end, (at, end[1]))) for end in [start, *ports]]
        return max(lanes, default=-1) + 1


def _rank(link: Link, outer: bool) -> tuple[int, str]:
    """Outer links first, then bridges and tunnels, then the rest."""
    if outer and link.kind != "bridge":
        return (0 if link.addresses else 1), ""
    if link.kind == "bridge":
        return 2, ""
    return (3 if link.kind in TUNNELS else 4), link.kind


def _css(css: str, link: Link) -> str:
    return css + " down" if link.state.lower() == "down" else css


def _carries(link: Link, vip: Vip) -> bool:
    """Whether an address is in a network of a link."""
    parsed = interface(vip.address)
    return parsed is not None and any(
        (network := network_of(own)) is not None and parsed.version == network.version and parsed.ip in network
        for own in link.addresses
    )


def _link_box(link: Link, x: int, y: int) -> Box:
    """A link of the initial namespace: its name and kind, and its first addresses."""
    kind = " ".join(part for part in (link.kind, "down" if link.state.lower() == "down" else "") if part)
    kind = fit(kind, 90)
    room = STACK - 16 - (len(kind) + 1) * SMALL
    texts = [Text(x + 8, y + 15, fit(link.name, room), "name", whole=link.name)]
    if kind:
        texts.append(Text(x + STACK - 8, y + 15, kind, "quiet", end=True))
    listed = [*link.addresses[:3], *(["and %d more" % (len(link.addresses) - 3)] if link.addresses[3:] else [])]
    for row, address in enumerate(listed, 1):
        texts.append(Text(x + 8, y + 15 + LINE * row, fit(address, STACK - 16), whole=address))
    css = "bridge" if link.kind == "bridge" else "tunnel" if link.kind in TUNNELS else "link"
    return Box(_css(css, link), x, y, STACK, 23 + LINE * len(listed), tuple(texts), link.tip)


def _space_box(space: Space, columns: Columns, y: int) -> tuple[Box, list[int]]:
    """The box of a namespace, and the height of each of its links."""
    x, width = columns.space, columns.space_width
    whole = " \u00b7 ".join(part for part in (space.group, space.name, *(link.tip for link in space.links)) if part)
    first = 9 if columns.compact else 28
    lines = [y + first + 18 * number for number in range(max(len(space.links), 1))]
    texts: list[Text] = []
    room = width - 16.0
    if not space.links:
        texts.append(
            Text(x + width - 8 if columns.compact else x + 8, lines[0] + 4, "only lo", "quiet", columns.compact)
        )
        room -= 8 * SMALL
    for link, line in zip(space.links, lines):
        more = " +%d" % (len(link.addresses) - 1) if link.addresses[1:] else ""
        address = (link.addresses[0] if link.addresses else "no address") + more
        said = address if columns.compact else "%s %s" % (link.name, address)
        said = fit(said, width / 2 if columns.compact else width - 100)
        place = x + width - 8 if columns.compact else x + 8
        texts.append(Text(place, line + 4, said, "", columns.compact, link.tip))
        if line == lines[0]:
            room -= (len(drawable(said)) + 1) * SMALL
    if columns.compact:
        texts.insert(0, Text(x + 8, y + 13, fit(space.name, room), "name", whole=space.name))
    else:
        texts.insert(0, Text(x + 8, y + 15, fit(space.name, width - 16), "name", whole=space.name))
        texts.append(Text(x + width - 8, y + 32, fit(space.group, max(room, 20)), "quiet", True, space.group))
    css = "pod" if space.kind in ("pod", "container") else "other"
    height = 18 * len(lines) + (0 if columns.compact else 23)
    return Box(css + " netns", x, y, width, height, tuple(texts), whole), lines


def title(view: HostView, width: int) -> tuple[Text, ...]:
    """The two lines at the top of a host."""
    notes = "%d note%s" % (view.notes, "" if view.notes == 1 else "s") if view.notes else ""
    room = width - 2 * PAD - (len(notes) + 2) * SMALL
    texts = [
        Text(PAD, 22, fit(view.name, room, LARGE), "title", whole=view.name),
        Text(PAD, 38, fit(view.about, width - 2 * PAD), "quiet", whole=view.about),
    ]
    if notes:
        texts.append(Text(width - PAD, 22, notes, "warn", True))
    return tuple(text for text in texts if text.text)
