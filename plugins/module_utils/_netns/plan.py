# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Plan the changes from the current state to the declared lab, in order. Pure: nothing here touches the node.

Left alone, because other programs made them: undeclared addresses with a /32 or /128 prefix (virtual addresses),
links and routes that are not the lab's, packet filter rules, processes that are not the lab's servers.
"""

from __future__ import annotations

import ipaddress
import json
from typing import Iterable, Mapping, NamedTuple, TypeVar

from .._common.errors import InputError
from .._sysctls.node import canonical, rank, same
from .model import Lab
from .node import Have, LinkState, Namespace, Orphan, Running, mark_of

# A lab's addresses need no duplicate address detection: nothing outside the lab can have them.
HOST_SYSCTLS = {"net.ipv6.conf.all.accept_dad": "0", "net.ipv6.conf.default.accept_dad": "0"}
# A switch has no addresses.
SWITCH_SYSCTLS = {"net.ipv6.conf.all.disable_ipv6": "1", "net.ipv6.conf.default.disable_ipv6": "1"}
EARLY = (*HOST_SYSCTLS, *SWITCH_SYSCTLS)


class Plan(NamedTuple):
    """The changes in the order in which they are made."""

    # Namespaces to remove, with every process in them.
    remove: tuple[str, ...]
    stop: tuple[int, ...]
    create: tuple[str, ...]
    # Sysctls to set before the first link: (namespace, key, value).
    early: tuple[tuple[str, str, str], ...]
    # Links to delete: (namespace, link). A link may already have gone with its other end.
    unplug: tuple[tuple[str, str], ...]
    # Lines of `ip -batch`, by namespace, in order.
    batches: tuple[tuple[str, tuple[str, ...]], ...]
    # When a sysctl changes, all declared ones of that namespace: writing one may change another.
    late: tuple[tuple[str, str, str], ...]
    renew: tuple[tuple[str, str, str], ...]
    start: tuple[tuple[str, Running], ...]
    lab: str
    before: str
    after: str

    @property
    def changed(self) -> bool:
        """Whether there is anything to do."""
        return any(self[:9])


def port_of(host: str, link: str) -> str:
    """The name of a link's other end, in the switch: at most 15 bytes, as the kernel requires."""
    name = "%s.%s" % (host, link)
    if len(name) <= 15:
        return name
    # FNV-1a: different long names stay different, and a name's hash is always the same.
    value = 0xCBF29CE484222325
    for byte in name.encode():
        value = ((value ^ byte) * 0x100000001B3) & 0xFFFFFFFFFFFFFFFF
    return "p%014x" % (value >> 8)


def expected(lab: Lab, ipv6: bool) -> dict[str, Namespace]:
    """The namespaces of the lab in their declared state."""
    mark = mark_of(lab.name)
    bridges: dict[str, LinkState] = {}
    ports: dict[str, LinkState] = {}
    namespaces: dict[str, Namespace] = {}
    for host in lab.hosts:
        links = {}
        for link in host.links:
            bridge = "vlan%d" % link.vlan
            bridges[bridge] = LinkState("bridge", "", 0, True, mark=mark)
            ports[port_of(host.name, link.name)] = LinkState("veth", bridge, link.mtu, True, mark=mark)
            links[link.name] = LinkState("veth", "", link.mtu, True, link.addresses)
        servers: dict[Running, tuple[int, ...]] = {
            Running(*server[1:]): () for server in lab.servers if server.host == host.name
        }
        sysctls = {**(HOST_SYSCTLS if ipv6 else {}), **dict(host.sysctls)}
        namespaces[lab.namespace(host.name)] = Namespace(mark, True, links, host.routes, sysctls, servers)
    switch = Namespace(mark, True, {**bridges, **ports}, (), SWITCH_SYSCTLS if ipv6 else {}, {})
    return {lab.switch: switch, **namespaces}


def sysctls_of(lab: Lab) -> dict[str, tuple[str, ...]]:
    """The sysctls to read in each namespace."""
    return {name: tuple(state.sysctls) for name, state in expected(lab, True).items()}


def plan(have: Have, lab: Lab, present: bool = True, prefix: str = "") -> Plan:
    """Plan the changes that create, update or remove the lab."""
    wanted = expected(lab, have.ipv6)
    mark = mark_of(lab.name)
    ours = {name: state for name, state in have.namespaces.items() if state.mark == mark}
    # An interrupted run left this namespace before it was marked.
    ours.update({name: s for name, s in have.namespaces.items() if name in wanted and s.empty and not s.mark})
    if not present:
        wanted = {}
    for name in wanted:
        if name in have.namespaces and name not in ours:
            raise InputError(
                "network namespace %s exists and is not part of the lab %s: remove it (ip netns del %s) or choose "
                "another %sname" % (name, lab.name, name, prefix)
            )
    remove = tuple(name for name, state in ours.items() if name not in wanted or state.stale)
    kept = {name: state for name, state in ours.items() if name not in remove}
    create = tuple(name for name in wanted if name not in kept)
    builder = _Builder(lab, kept, wanted)
    builder.stop.extend(orphan.pid for orphan in have.orphans)
    if present:
        builder.build()
    declared = [
        (name, key, value)
        for name, state in wanted.items()
        for key, value in sorted(state.sysctls.items(), key=lambda item: rank(item[0]))
        if value is not None
    ]
    sysctls = [
        (name, key, value)
        for name, key, value in declared
        if name not in kept or not same(kept[name].sysctls.get(key) or "", value)
    ]
    moved = {name for name, key, dummy in sysctls if key not in EARLY}
    return Plan(
        remove=remove,
        stop=tuple(builder.stop),
        create=create,
        early=tuple(entry for entry in sysctls if entry[1] in EARLY),
        unplug=tuple(builder.unplug),
        batches=tuple((name, tuple(lines)) for name, lines in builder.batches if lines),
        late=tuple(entry for entry in declared if entry[0] in moved and entry[1] not in EARLY),
        renew=tuple(builder.renew),
        start=tuple(builder.start),
        lab=lab.name,
        before=render(_before(ours, wanted, builder), have.orphans),
        after=render(wanted),
    )


class _Builder:
    """Collects the changes inside namespaces."""

    def __init__(self, lab: Lab, kept: Mapping[str, Namespace], wanted: Mapping[str, Namespace]) -> None:
        self.lab = lab
        self.kept = kept
        self.wanted = wanted
        self.mark = mark_of(lab.name)
        self.stop: list[int] = []
        self.start: list[tuple[str, Running]] = []
        self.unplug: list[tuple[str, str]] = []
        self.marks: dict[str, list[str]] = {}
        self.renew: list[tuple[str, str, str]] = []
        self.switch: list[str] = []
        self.hosts: dict[str, list[str]] = {}

    @property
    def batches(self) -> list[tuple[str, list[str]]]:
        """First the marks, as a run may be cut short; then the switch; then the hosts: their links exist by then."""
        return [*self.marks.items(), (self.lab.switch, self.switch), *self.hosts.items()]

    def build(self) -> None:
        """Compare each namespace with its declared state."""
        self._bridges()
        for host in self.lab.hosts:
            name = self.lab.namespace(host.name)
            self._loopback(name)
            new = {link.name for link in host.links if not self.plugged(host.name, link.name)}
            for link in host.links:
                self._port(host.name, link.name, link.name in new)
            self._configure(name, new)
            self._servers(name)

    def _have(self, name: str) -> Namespace:
        return self.kept.get(name, Namespace("", False, {}, (), {}, {}))

    def _loopback(self, name: str) -> None:
        state = self._have(name)
        if not state.lo_up or state.mark != self.mark:
            self.marks[name] = ["link set lo up alias %s" % self.mark]

    def _bridges(self) -> None:
        have, want = self._have(self.lab.switch), self.wanted[self.lab.switch]
        self._loopback(self.lab.switch)
        for name, link in have.links.items():
            wrong = name in want.links and want.links[name].kind != link.kind
            if wrong or (name not in want.links and link.mark == self.mark):
                self._delete(self.lab.switch, name)
        for name, link in want.links.items():
            if link.kind != "bridge":
                continue
            if name not in have.links or self._deleted(name):
                # Forward frames from the first moment on, multicast too.
                self.switch.append("link add %s type bridge stp_state 0 mcast_snooping 0" % name)
                self.switch.append("link set %s up alias %s" % (name, self.mark))
            elif not have.links[name].up:
                self.switch.append("link set %s up alias %s" % (name, self.mark))

    def _delete(self, namespace: str, link: str) -> None:
        if (namespace, link) not in self.unplug:
            self.unplug.append((namespace, link))

    def _deleted(self, name: str) -> bool:
        return (self.lab.switch, name) in self.unplug

    def plugged(self, host: str, link: str) -> bool:
        """Whether the declared link and its port in the switch are the two ends of one cable."""
        end = self._have(self.lab.namespace(host)).links.get(link)
        port = self._have(self.lab.switch).links.get(port_of(host, link))
        return (
            end is not None
            and port is not None
            and end.kind == port.kind == "veth"
            and (end.peer, port.peer) == (port.ifindex, end.ifindex)
        )

    def _port(self, host: str, link: str, new: bool) -> None:
        name, port = self.lab.namespace(host), port_of(host, link)
        want = self.wanted[self.lab.switch].links[port]
        have = self._have(self.lab.switch).links.get(port)
        set_port = "link set %s" % port
        if new:
            if have is not None:
                self._delete(self.lab.switch, port)
            if link in self._have(name).links:
                self._delete(name, link)
            self.switch.append(
                "link add %s mtu %d type veth peer name %s mtu %d netns %s" % (port, want.mtu, link, want.mtu, name)
            )
            self.switch.append("%s master %s up alias %s" % (set_port, want.master, self.mark))
        elif have is not None:
            if have.master != want.master or self._deleted(want.master):
                self.switch.append("%s master %s" % (set_port, want.master))
            if have.mtu != want.mtu:
                self.switch.append("%s mtu %d" % (set_port, want.mtu))
            if not have.up:
                self.switch.append("%s up alias %s" % (set_port, self.mark))

    def _configure(self, name: str, new: set[str]) -> None:
        have, want = self._have(name), self.wanted[name]
        lines = self.hosts.setdefault(name, [])
        for link, state in want.links.items():
            if link in have.links and link not in new and _lacks_local(have.links[link], state):
                # The kernel makes a link-local address only when the mode changes (1: none, 0: by the MAC address).
                self.renew += [(name, "net/ipv6/conf/%s/addr_gen_mode" % link, mode) for mode in ("1", "0")]
        touched = [
            self._link(link, state, None if link in new else have.links.get(link), lines)
            for link, state in want.links.items()
        ]
        for route in have.routes:
            if route not in want.routes:
                lines.append("route delete %s via %s dev %s proto static" % route[1:])
        for route in want.routes:
            # The kernel drops routes together with addresses, so routes are put again after any change of addresses.
            if any(touched) or route not in have.routes:
                lines.append("route replace %s via %s dev %s proto static" % route[1:])

    @staticmethod
    def _link(name: str, want: LinkState, old: LinkState | None, lines: list[str]) -> bool:
        """Add what a link of a host needs; return whether its addresses changed."""
        have = old or LinkState("veth", "", want.mtu, False)
        if have.mtu != want.mtu:
            lines.append("link set %s mtu %d" % (name, want.mtu))
        if not have.up:
            lines.append("link set %s up" % name)
        gone = [address for address in have.addresses if _is_extra(address, want)]
        lines.extend("address delete %s dev %s" % (address, name) for address in gone)
        # With an address the kernel may delete others of the same network, so all are put again.
        missing = [address for address in want.addresses if gone or address not in have.addresses]
        for address in missing:
            lines.append("address replace %s dev %s%s" % (address, name, " nodad" if ":" in address else ""))
        return bool(gone or missing or not have.up)

    def _servers(self, name: str) -> None:
        have, want = self._have(name).servers, self.wanted[name].servers
        for server, pids in have.items():
            if server not in want:
                self.stop.extend(pids)
        self.start.extend((name, server) for server in want if server not in have)


def _lacks_local(have: LinkState, want: LinkState) -> bool:
    """Whether a link with IPv6 addresses has lost its link-local address."""
    return have.lacks_local and any(":" in address for address in want.addresses)


def _is_extra(address: str, want: LinkState) -> bool:
    """Whether to remove an address: it is neither declared nor a virtual address of another program."""
    interface = ipaddress.ip_interface(address)
    return address not in want.addresses and interface.network.prefixlen != interface.max_prefixlen


def _before(ours: Mapping[str, Namespace], wanted: Mapping[str, Namespace], builder: _Builder) -> dict[str, Namespace]:
    """The current state of the lab, in the order of the declaration, without parts that the lab does not manage."""
    lab = builder.lab
    broken: dict[str, set[str]] = {}
    for host in lab.hosts:
        for link in host.links:
            if not builder.plugged(host.name, link.name):
                broken.setdefault(lab.namespace(host.name), set()).add(link.name)
                broken.setdefault(lab.switch, set()).add(port_of(host.name, link.name))
    names = [name for name in wanted if name in ours] + [name for name in ours if name not in wanted]
    mark = builder.mark
    return {
        name: _managed(ours[name], wanted.get(name), mark, broken.get(name, set()))
        for name in names
        if not ours[name].stale
    }


def _managed(state: Namespace, want: Namespace | None, mark: str, broken: set[str]) -> Namespace:
    links = {}
    if want is None:
        # All of it is removed, so it does not matter whether a link has its link-local address yet.
        links = {name: link._replace(lacks_local=False) for name, link in state.links.items()}
        return state._replace(links=links)
    for name, link in state.links.items():
        declared = want.links.get(name)
        if name in broken:
            continue
        if declared is not None:
            addresses = [a for a in link.addresses if a in declared.addresses or _is_extra(a, declared)]
            ordered = tuple(_ordered(addresses, declared.addresses))
            links[name] = link._replace(addresses=ordered, lacks_local=_lacks_local(link, declared))
        elif link.mark == mark:
            links[name] = link._replace(lacks_local=False)
    return state._replace(
        links={name: links[name] for name in _ordered(links, want.links)},
        routes=tuple(_ordered(state.routes, want.routes)),
        servers={server: state.servers[server] for server in _ordered(state.servers, want.servers)},
    )


T = TypeVar("T")


def _ordered(found: Iterable[T], order: Iterable[T] = ()) -> list[T]:
    """The values found; declared ones come first, in declared order."""
    have = list(found)
    first = [value for value in order if value in have]
    return first + [value for value in have if value not in first]


def render(namespaces: Mapping[str, Namespace], orphans: Iterable[Orphan] = ()) -> str:
    """The lab as text, one fact a line."""
    lines: list[str] = []
    for name, state in namespaces.items():
        facts = ["" if state.mark else "not marked", "" if state.lo_up else "lo DOWN"]
        for link, at in state.links.items():
            facts.append(_describe(link, at))
            facts.extend("%s %s %s" % (link, "inet6" if ":" in a else "inet", a) for a in at.addresses)
            if at.lacks_local:
                facts.append("%s has no inet6 link-local address" % link)
        facts.extend("route %s via %s dev %s" % route[1:] for route in state.routes)
        facts.extend(
            "sysctl %s = %s" % (k, canonical(value)) for k, value in state.sysctls.items() if value is not None
        )
        facts.extend(_server(server) for server in state.servers)
        lines.append(name)
        lines.extend("%s: %s" % (name, fact) for fact in facts if fact)
    lines.extend("%s, in a namespace that is gone" % _server(orphan.server) for orphan in orphans)
    return "".join(line + "\n" for line in lines)


def _server(server: Running) -> str:
    return "server %s port %d %s" % (server.protocol, server.port, json.dumps(server.text, ensure_ascii=False))


def _describe(name: str, link: LinkState) -> str:
    state = "UP" if link.up else "DOWN"
    if link.kind == "bridge":
        return "%s bridge %s" % (name, state)
    return "%s %s mtu %d %s%s" % (name, link.kind, link.mtu, state, " master " + link.master if link.master else "")
