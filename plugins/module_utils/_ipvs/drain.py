# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Wait for the connections of each real server to end, then remove it.

The kernel remembers a TCP connection for two minutes after both sides have closed it (ip_vs_proto_tcp.c: TIME_WAIT).
No client waits for those, so they do not count. A real server of weight 0 gets no new connections.
"""

from __future__ import annotations

import socket
import time
from collections import Counter
from typing import Callable, Iterable, Iterator, NamedTuple

from .model import Front, host, spell
from .netlink import GONE, Change, Ipvs

_CONNECTIONS = "/proc/net/ip_vs_conn"
_POLL = 0.2  # seconds between two polls
_TIME_WAIT = 120  # seconds
_RESENT = 2  # seconds in which the two sides may still retransmit


class Route(NamedTuple):
    """The virtual server and the real server of a connection."""

    front: Front
    address: str
    port: int


def drain(kernel: Ipvs, waiting: list[Change], limit: float, remove: Callable[[Change], None]) -> list[str]:
    """Remove real servers as their connections end, and all that remain at the limit.

    waiting -- the changes that remove them
    limit -- seconds
    remove -- carries out one removal

    Returns a message about each real server that was removed while it had connections.
    """
    end = time.monotonic() + limit
    cut = []
    while waiting:
        over = time.monotonic() >= end
        busy = _busy(kernel, waiting)
        done = [change for change in waiting if over or not busy[change]]
        cut += [
            "%s behind %s was removed with %d connections left, after %g s"
            % (host(*change.real[:2]), spell(change.virtual.front), busy[change], limit)
            for change in done
            if change.real and busy[change]
        ]
        for change in done:
            remove(change)
        waiting = [change for change in waiting if not over and busy[change]]
        if waiting:
            time.sleep(min(_POLL, max(end - time.monotonic(), 0)))
    return cut


def _busy(kernel: Ipvs, waiting: list[Change]) -> dict[Change, int]:
    """The number of open connections of each real server."""
    found: dict[Change, int] = {}
    for virtual in {change.virtual.front: change.virtual for change in waiting}.values():
        try:
            counts = {real[:2]: sum(counts) for real, counts in kernel.connections(virtual).items()}
        except OSError as error:
            if error.errno not in GONE:
                raise
            counts = {}
        for change in waiting:
            if change.real and change.virtual.front == virtual.front:
                found[change] = counts.get(change.real[:2], 0)
    if any(found.values()):
        # Read after the counts: a connection that ends in between counts as open now, and is gone at the next poll.
        with open(_CONNECTIONS, encoding="ascii") as file:
            over = Counter(ended(file))
        for change, number in found.items():
            if change.real:
                found[change] = max(number - over[Route(change.virtual.front, *change.real[:2])], 0)
    return found


def ended(lines: Iterable[str]) -> Iterator[Route]:
    """The routes of TCP connections that both sides have closed, from lines as in /proc/net/ip_vs_conn."""
    seen = set()
    for line in lines:
        # Protocol, client, virtual server, real server (address and port each), state, seconds until it expires.
        fields = line.split()
        if fields[0] != "TCP" or fields[7] != "TIME_WAIT" or int(fields[8]) > _TIME_WAIT - _RESENT:
            continue
        # The kernel lists a connection twice if the table changes while it is read.
        if tuple(fields[1:5]) not in seen:
            seen.add(tuple(fields[1:5]))
            address, real = _address(fields[3]), _address(fields[5])
            front = Front("ipv6" if ":" in address else "ipv4", "tcp", address, int(fields[4], 16))
            yield Route(front, real, int(fields[6], 16))


def _address(packed: str) -> str:
    """In the kernel's own spelling, like the addresses of virtual and real servers."""
    family = socket.AF_INET6 if ":" in packed else socket.AF_INET
    return socket.inet_ntop(family, bytes.fromhex(packed.replace(":", "")))
