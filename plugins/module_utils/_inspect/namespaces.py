# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The network namespaces of a node, their owners and their contents.

A namespace lives while a process is in it or a file system is mounted for it (`ip netns add`, CNI, Docker). A namespace
that is held only by an open file or a socket is not found. Each namespace is held by a file of ours while it is read,
so that a process or mount that goes away meanwhile does not lead to another namespace.
"""

from __future__ import annotations

import contextlib
import os
import re
import socket
import struct
from typing import Any, Iterable, Iterator, Mapping, NamedTuple, Sequence

from .._netns.node import entered
from .containers import Container
from .links import Network, named_ids, read_links, read_neighbors, read_routes, report_link
from .tools import Tools

# linux/rtnetlink.h, linux/net_namespace.h
_NEWNSID, _GETNSID = 88, 90
_NSID, _FD = 1, 3
_REQUEST = 1

_OWN = "/proc/thread-self/ns/net"
_NAMED = ("/run/netns/", "/var/run/netns/")
_MOUNT = re.compile(r"^\d+ \d+ \S+ net:\[(\d+)\] (\S+) ", re.MULTILINE)
_UNTOLD = "the links, addresses, routes and neighbours are not in the report"


class Process(NamedTuple):
    """A process in a namespace that is not the initial one."""

    pid: int
    comm: str
    parent: int
    start: int  # ticks since the node started


class Scan(NamedTuple):
    """The processes and namespaces of the node at the time of the scan."""

    host: int  # the initial namespace
    homes: Mapping[int, int]  # the namespace of each process
    processes: Mapping[int, list[Process]]  # by namespace, without those of the initial one
    mounts: Mapping[int, list[str]]  # the paths of each namespace that is mounted

    @property
    def ids(self) -> list[int]:
        """All namespaces, the initial one first."""
        return list(dict.fromkeys([self.host, *self.mounts, *self.processes]))


def scan() -> Scan:
    """Find all namespaces in one pass over /proc.

    The initial one is that of process 1. In a sandbox root may be unable to read process 1, but able to read other
    processes of the initial namespace.
    """
    homes: dict[int, int] = {}
    for entry in os.listdir("/proc"):
        # A process may end at any time.
        with contextlib.suppress(OSError):
            if entry.isdigit():
                homes[int(entry)] = os.stat("/proc/%s/ns/net" % entry).st_ino
    host = homes[min(homes)]
    processes: dict[int, list[Process]] = {}
    for pid, home in homes.items():
        with contextlib.suppress(OSError, ValueError, IndexError):
            if home != host:
                with open("/proc/%d/stat" % pid, encoding="utf-8", errors="surrogateescape") as stat:
                    processes.setdefault(home, []).append(parse_stat(stat.read()))
    with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as mountinfo:
        return Scan(host, homes, processes, parse_mounts(mountinfo.read()))


def parse_stat(text: str) -> Process:
    """A line of /proc/PID/stat; the name in parentheses may contain any character (proc(5))."""
    pid, dummy, rest = text.partition(" (")
    comm, dummy, rest = rest.rpartition(") ")
    fields = rest.split()
    return Process(int(pid), comm, int(fields[1]), int(fields[19]))


def parse_mounts(text: str) -> dict[int, list[str]]:
    """The network namespaces in /proc/self/mountinfo, by number."""
    found: dict[int, list[str]] = {}
    for number, path in _MOUNT.findall(text):
        # Blanks and backslashes are escaped as octal numbers.
        plain = re.sub(r"\\([0-7]{3})", lambda code: chr(int(code.group(1), 8)), path)
        found.setdefault(int(number), []).append(plain)
    return found


def _name(paths: Sequence[str]) -> str:
    """The name of a namespace: from `ip netns`, or else any file that it is mounted on."""
    return os.path.basename(min(paths, key=lambda path: not path.startswith(_NAMED), default=""))


def find_owners(seen: Scan, containers: Iterable[Container], own: int) -> dict[int, dict[str, Any]]:
    """The owner of each namespace: the host, a pod, a container, or else its oldest process.

    containers -- including the sandboxes, which take precedence: a pod's namespace belongs to its sandbox
    own -- the inspecting process; it and its ancestors own no namespace, since they end with the inspection
    """
    owners = {seen.host: _owner("host", 1)}
    for container in sorted(containers, key=lambda each: not each.sandbox):
        home = seen.homes.get(container.pid, 0) if container.pid else 0
        if home and home not in owners:
            kind, name = ("pod", container.pod) if container.pod else ("container", container.name or container.id)
            owners[home] = _owner(kind, container.pid, container.namespace, name)
    spared = _ancestors(seen, own)
    for home in seen.ids:
        others = [process for process in seen.processes.get(home, []) if process.pid not in spared]
        if home not in owners and others:
            first = min(others, key=lambda process: (process.start, process.pid))
            owners[home] = _owner("process", first.pid, name=first.comm)
    return {home: owners.get(home) or _owner("none", 0) for home in seen.ids}


def _owner(kind: str, pid: int, namespace: str = "", name: str = "") -> dict[str, Any]:
    return {"kind": kind, "namespace": namespace, "name": name, "pid": pid}


def _ancestors(seen: Scan, own: int) -> set[int]:
    parents = {each.pid: each.parent for processes in seen.processes.values() for each in processes}
    found: set[int] = set()
    while own in parents and own not in found:
        found.add(own)
        own = parents[own]
    return found


def open_namespaces(seen: Scan, stack: contextlib.ExitStack, tools: Tools) -> dict[int, int]:
    """An open file for each existing namespace; the files are closed with the stack."""
    files: dict[int, int] = {}
    for number in seen.ids:
        pids = sorted(pid for pid, home in seen.homes.items() if home == number)
        for path in ["/proc/%d/ns/net" % pid for pid in pids] + seen.mounts.get(number, []):
            try:
                file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            except (FileNotFoundError, NotADirectoryError, ProcessLookupError):
                continue  # the process or mount is gone, or another mount hides it
            except OSError as error:
                tools.note("%s could not be opened (%s): its namespace may not be in the report" % (path, error))
                continue
            stack.callback(os.close, file)
            # The process id may have been reused, or another mount may hide the file.
            if os.fstat(file).st_ino == number:
                files[number] = file
                break
    return files


def inside(file: int) -> contextlib.AbstractContextManager[None]:
    """Enter the namespace of an open file."""
    return entered("/proc/self/fd/%d" % file)


def read_networks(files: Mapping[int, int], wanted: Iterable[int], tools: Tools) -> dict[int, Network]:
    """The contents of the wanted namespaces."""
    networks = {}
    home = os.stat(_OWN).st_ino
    for number in wanted:
        try:
            with inside(files[number]):
                networks[number] = _read_network(files, tools)
        except OSError as error:
            if os.stat(_OWN).st_ino != home:
                raise  # otherwise the rest would read the wrong namespace
            tools.note("the network namespace %d could not be looked at (%s): %s" % (number, error, _UNTOLD))
    return networks


def _read_network(files: Mapping[int, int], tools: Tools) -> Network:
    links = tools.read(["ip", "-json", "-details", "address", "show"], read_links, _UNTOLD) or ()
    return Network(
        links,
        tools.read(["ip", "-json", "-details", "route", "show", "table", "all"], read_routes, _UNTOLD) or (),
        tools.read(["ip", "-json", "neighbor", "show"], read_neighbors, _UNTOLD) or (),
        _find_ids(named_ids(links), files),
    )


def _find_ids(wanted: set[int], files: Mapping[int, int]) -> dict[int, int]:
    """The namespaces that have these ids in the current namespace.

    Asking does not assign an id to a namespace without one.
    """
    found: dict[int, int] = {}
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as link:
        for number, file in files.items():
            if wanted <= set(found):
                break
            nsid = _ask_id(link, file)
            if nsid in wanted:
                found[nsid] = number
    return found


def _ask_id(link: socket.socket, file: int) -> int:
    """The id of a file's namespace in the socket's namespace; -1 for none."""
    link.send(struct.pack("=IHHIIB3xHHI", 28, _GETNSID, _REQUEST, 1, 0, 0, 8, _FD, file))
    answer = link.recv(4096)
    if struct.unpack_from("=H", answer, 4)[0] == _NEWNSID:
        offset = 20
        while offset + 8 <= len(answer):
            size, kind = struct.unpack_from("=HH", answer, offset)
            if kind == _NSID:
                return int(struct.unpack_from("=i", answer, offset + 4)[0])
            offset += max((size + 3) & ~3, 4)
    return -1


def report(
    seen: Scan, owners: Mapping[int, Mapping[str, Any]], networks: Mapping[int, Network]
) -> Iterator[dict[str, Any]]:
    """The namespaces as the module returns them: the initial one, then by name; unnamed ones by their owner."""
    called = {number: _name(seen.mounts.get(number, [])) for number in seen.ids}

    def order(number: int) -> tuple[Any, ...]:
        owner = owners[number]
        return number != seen.host, not called[number], called[number], owner["namespace"], owner["name"], number

    for number in sorted(seen.ids, key=order):
        network = networks.get(number, Network())
        yield {
            "id": number,
            "name": called[number],
            "host": number == seen.host,
            "owner": dict(owners[number]),
            "links": [report_link(number, link, networks) for link in network.links],
            "routes": list(network.routes),
            "neighbors": list(network.neighbors),
        }
