# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The state of network namespaces: its types, and how it is read from the kernel.

A lab's namespaces and links carry the lab's name in the alias of the link (for a namespace, of its `lo`), so the
lab's objects are known without a file.
"""

from __future__ import annotations

import contextlib
import ipaddress
import json
import os
from typing import Any, Iterable, Iterator, Mapping, NamedTuple

from .._common.command import CommandError, Completed, ask, run
from .._common.network import enter
from . import server as netns_server
from .model import Route

RUN_DIR = "/run/netns"
READ = "address show\nroute show table all\n"


class LinkState(NamedTuple):
    """A link as the kernel shows it, or as declared."""

    kind: str
    master: str
    mtu: int
    up: bool
    addresses: tuple[str, ...] = ()
    mark: str = ""
    ifindex: int = 0
    # The index of the other end of a veth pair, in its own namespace.
    peer: int = 0
    # No IPv6 link-local address, though the link passes packets: a router then finds no neighbour by IPv6.
    lacks_local: bool = False


class Running(NamedTuple):
    """The arguments of a running server process of the lab."""

    protocol: str
    port: int
    text: str


class Namespace(NamedTuple):
    """A network namespace in its current or declared state."""

    mark: str
    lo_up: bool
    links: Mapping[str, LinkState]
    routes: tuple[Route, ...]
    # The sysctls asked for; None for one that the kernel does not have.
    sysctls: Mapping[str, str | None]
    servers: Mapping[Running, tuple[int, ...]]
    pids: tuple[int, ...] = ()
    # The file exists, but no namespace is mounted on it.
    stale: bool = False

    @property
    def empty(self) -> bool:
        """Whether the namespace is unused: as `ip netns add` leaves it."""
        return not self.links and not self.pids


class Orphan(NamedTuple):
    """A server of the lab that still runs after its namespace's name was deleted."""

    pid: int
    server: Running


class Have(NamedTuple):
    """The current state of the node."""

    namespaces: Mapping[str, Namespace]
    ipv6: bool
    orphans: tuple[Orphan, ...] = ()


def mark_of(lab: str) -> str:
    """The alias that marks a lab's objects."""
    return "netns_lab:" + lab


def sysctl_path(key: str) -> str:
    """The file of a sysctl, in the reader's own namespace."""
    return "/proc/sys/" + (key if "/" in key else key.replace(".", "/"))


@contextlib.contextmanager
def entered(name: str) -> Iterator[None]:
    """Enter a network namespace with this thread and the processes that it starts.

    Unlike `ip netns exec` this leaves the mounts alone, so that a daemon does not keep a copy of them for ever.
    """
    own = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        other = os.open(os.path.join(RUN_DIR, name), os.O_RDONLY | os.O_CLOEXEC)
        try:
            enter(other, name)
        finally:
            os.close(other)
        try:
            yield
        finally:
            enter(own, "the one before %s" % name)
    finally:
        os.close(own)


def processes(names: Iterable[str]) -> dict[str, list[int]]:
    """The processes in each of the namespaces, without this process and its ancestors."""
    found: dict[str, list[int]] = {name: [] for name in names}
    homes: dict[tuple[int, int], str] = {}
    for name in found:
        with contextlib.suppress(FileNotFoundError):
            homes[_identity(os.path.join(RUN_DIR, name))] = name
    spared = _ancestors()
    for pid, namespace in _processes():
        if namespace in homes and pid not in spared:
            found[homes[namespace]].append(pid)
    return found


def orphans(lab: str, names: Iterable[str]) -> tuple[Orphan, ...]:
    """The lab's servers that run neither in one of the namespaces nor in another container."""
    known = {_identity("/proc/self/ns/net")}
    for name in names:
        with contextlib.suppress(FileNotFoundError):
            known.add(_identity(os.path.join(RUN_DIR, name)))
    own = _identity("/proc/self/ns/pid")
    found = []
    for pid, namespace in _processes():
        if namespace in known:
            continue
        with contextlib.suppress(OSError):
            owner, server = _read_server(pid) or ("", None)
            if owner == lab and server is not None and _identity("/proc/%d/ns/pid" % pid) == own:
                found.append(Orphan(pid, server))
    return tuple(found)


def _identity(path: str) -> tuple[int, int]:
    status = os.stat(path)
    return status.st_dev, status.st_ino


def _processes() -> Iterator[tuple[int, tuple[int, int]]]:
    """Every process with its network namespace. A zombie has none."""
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            with contextlib.suppress(OSError):
                yield int(entry), _identity("/proc/%s/ns/net" % entry)


def _ancestors() -> set[int]:
    pids = {os.getpid()}
    pid = os.getppid()
    while pid > 0 and pid not in pids:
        pids.add(pid)
        try:
            with open("/proc/%d/stat" % pid, encoding="utf-8", errors="replace") as stat:
                # The name in parentheses may hold any character; state and parent follow it.
                pid = int(stat.read().rpartition(")")[2].split()[1])
        except OSError:
            break
    return pids


def read(lab: str, sysctls: Mapping[str, Iterable[str]]) -> Have:
    """Read every namespace whose name begins with the lab's, and in each the sysctls asked for."""
    try:
        files = sorted(name for name in os.listdir(RUN_DIR) if name.startswith(lab + "-"))
    except FileNotFoundError:
        files = []
    pids = processes(files)
    namespaces = {}
    for name in files:
        state = _read_namespace(name, pids[name], sysctls.get(name, ()))
        if state is not None:
            namespaces[name] = state
    return Have(namespaces, os.path.isdir("/proc/sys/net/ipv6"), orphans(lab, files))


def _read_namespace(name: str, pids: list[int], keys: Iterable[str]) -> Namespace | None:
    try:
        if os.stat(os.path.join(RUN_DIR, name)).st_dev == os.stat(RUN_DIR).st_dev:
            return Namespace("", False, {}, (), {}, {}, stale=True)
        shown = ask(["ip", "-details", "-json", "-netns", name, "-batch", "-"], READ)
        addresses, routes = parse_json(shown)
        with entered(name):
            values = {key: read_sysctl(key) for key in keys}
    except (FileNotFoundError, CommandError):
        if os.path.exists(os.path.join(RUN_DIR, name)):
            raise
        # Another program's namespace, removed meanwhile.
        return None
    links = parse_links(addresses)
    loopback = links.pop("lo", LinkState("", "", 0, False))
    servers: dict[Running, tuple[int, ...]] = {}
    for pid in sorted(pids):
        found = _read_server(pid)
        if found is not None:
            servers[found[1]] = (*servers.get(found[1], ()), pid)
    return Namespace(loopback.mark, loopback.up, links, parse_routes(routes), values, servers, tuple(sorted(pids)))


def parse_json(text: str) -> list[Any]:
    """The documents that `ip -json -batch` prints one after the other."""
    decoder = json.JSONDecoder(strict=False)  # ip does not escape the names of links
    documents = []
    text = text.strip()
    while text:
        document, end = decoder.raw_decode(text)
        documents.append(document)
        text = text[end:].lstrip()
    return documents


def parse_links(shown: list[dict[str, Any]]) -> dict[str, LinkState]:
    """Links by name, from `ip -details -json address show`."""
    links = {}
    for link in shown:
        addresses = [
            ipaddress.ip_interface("%s/%d" % (address["local"], address["prefixlen"])).with_prefixlen
            for address in link.get("addr_info", [])
            if address.get("scope") == "global" and "local" in address and not address.get("dynamic")
        ]
        links[link["ifname"]] = LinkState(
            kind=link.get("linkinfo", {}).get("info_kind", ""),
            master=link.get("master", ""),
            mtu=link["mtu"],
            up="UP" in link["flags"],
            addresses=tuple(addresses),
            mark=link.get("ifalias", ""),
            ifindex=link["ifindex"],
            peer=link.get("link_index", 0),
            # A link that was set up a moment ago gets its address as soon as it is ready.
            lacks_local=link.get("operstate") == "UP" and not any(map(_is_link_local, link.get("addr_info", []))),
        )
    return links


def _is_link_local(address: Mapping[str, Any]) -> bool:
    return address.get("family") == "inet6" and address.get("scope") == "link"


def parse_routes(shown: list[dict[str, Any]]) -> tuple[Route, ...]:
    """Routes of the main table with protocol `static`, from `ip -json route show table all`."""
    routes = []
    for route in shown:
        if route.get("protocol") != "static" or route.get("table", "main") != "main" or "gateway" not in route:
            continue
        via = ipaddress.ip_address(route["gateway"])
        target = route["dst"]
        if target != "default":
            target = ipaddress.ip_network(target).with_prefixlen
        routes.append(Route(via.version, target, str(via), route["dev"]))
    return tuple(routes)


def read_sysctl(key: str) -> str | None:
    """The value of a sysctl in the reader's own namespace; None for one that the kernel does not have."""
    try:
        with open(sysctl_path(key), encoding="utf-8") as file:
            return " ".join(file.read().split())
    except FileNotFoundError:
        return None


def _read_server(pid: int) -> tuple[str, Running] | None:
    """The lab of a server and its arguments; None for any other process."""
    try:
        with open("/proc/%d/cmdline" % pid, "rb") as file:
            arguments = [part.decode("utf-8", "surrogateescape") for part in file.read().split(b"\0")[:-1]]
    except OSError:
        return None
    if arguments[-5:-4] != [netns_server.MARK]:
        return None
    lab, protocol, port, text = arguments[-4:]
    return lab, Running(protocol, int(port), text)


def batch(namespace: str | None, lines: Iterable[str]) -> None:
    """Run lines of `ip` in one process; an error names the failing line."""
    text = "".join(line + "\n" for line in lines)
    if not text:
        return
    inside = [] if namespace is None else ["-netns", namespace]
    done = run(["ip", *inside, "-batch", "-"], stdin=text, check=False)
    if done.rc != 0:
        at = done.err.rpartition("Command failed -:")[2].strip()
        line = text.splitlines()[int(at) - 1] if at.isdigit() else text
        said = done.err.partition("Command failed")[0].strip()
        raise CommandError(Completed(("ip", *inside, *line.split()), done.rc, done.out, said))
