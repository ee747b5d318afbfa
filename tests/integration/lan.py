# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A node, another host and a client on one LAN, each a network namespace."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import socket
import subprocess
import threading
from typing import Any, Iterator

from ansible_collections.homelab.loadbalancer.plugins.module_utils._common.command import Completed, run
from ansible_collections.homelab.loadbalancer.plugins.module_utils._common.network import enter
from ansible_collections.homelab.loadbalancer.tests.integration.namespaces import (
    entered,
    module,
    start_module,
)

V4, V6 = "192.168.10.100", "fd00:10::100"
MACS = {"node": "02:00:00:00:00:01", "other": "02:00:00:00:00:02", "client": "02:00:00:00:00:03"}
ETH_P_ALL = 3
_numbers = itertools.count()


class Lan:
    """Hosts node .1, other .2 and client .3 on a bridge by their eth0; the node has an eth1 that leads nowhere."""

    def __init__(self) -> None:
        self.prefix = "vip-test-%d-%d-" % (os.getpid(), next(_numbers))

    def up(self) -> None:
        for name in ("lan", *MACS):
            run(["ip", "netns", "add", self.prefix + name])
        self.batch("lan", "link add br0 type bridge", "link set br0 up")
        for number, (name, mac) in enumerate(MACS.items(), start=1):
            self.batch(
                "lan",
                "link add p%d type veth peer name eth0 address %s netns %s" % (number, mac, self.prefix + name),
                "link set p%d master br0 up" % number,
            )
            self.batch(
                name,
                "link set lo up",
                "link set eth0 up",
                "address add 192.168.10.%d/24 dev eth0" % number,
                "address add fd00:10::%d/64 dev eth0 nodad" % number,
            )
        self.batch("node", "link add eth1 type veth peer name eth2", "link set eth1 up", "link set eth2 up")

    def down(self) -> None:
        for name in ("lan", *MACS):
            run(["ip", "netns", "del", self.prefix + name], check=False)

    def batch(self, host: str, *lines: str) -> None:
        run(["ip", "-n", self.prefix + host, "-batch", "-"], stdin="".join(line + "\n" for line in lines))

    def run(self, host: str, *argv: str, stdin: str = "", check: bool = True) -> Completed:
        with entered(self.prefix + host):
            return run(list(argv), stdin=stdin, check=check)

    def addresses(self, host: str = "node") -> str:
        """What a user sees, without the link-local addresses that appear by themselves."""
        return self.run(host, "ip", "-oneline", "address", "show", "scope", "global").out

    def everything(self) -> str:
        """The node's addresses, links and routes, but for the link-local part."""
        links = [(e["ifname"], e["flags"], e.get("ifalias")) for e in json.loads(self.run("node", "ip", "-j", "l").out)]
        routes = [
            self.run("node", "ip", family, "route", "show", "table", "all", "scope", scope).out
            for family, scope in itertools.product(("-4", "-6"), ("global", "link", "host"))
        ]
        kept = [line for text in routes for line in text.splitlines() if "fe80:" not in line and "ff00:" not in line]
        return "\n".join([repr(links), self.addresses(), *kept])

    def module(self, host: str = "node", check_mode: bool = False, **options: Any) -> dict[str, Any]:
        """Run virtual_address on a host."""
        with entered(self.prefix + host):
            return module("virtual_address", check_mode, **{"interface": "eth0", **options})

    def start_module(self, host: str, check_mode: bool = False, **options: Any) -> subprocess.Popen[str]:
        inside = ["ip", "netns", "exec", self.prefix + host]
        return start_module("virtual_address", check_mode, inside=inside, **{"interface": "eth0", **options})

    @contextlib.contextmanager
    def wire(self, host: str) -> Iterator[socket.socket]:
        """A raw socket on a host's eth0, for what arrives there and to send as that host."""
        sockets: list[socket.socket] = []

        def open_inside() -> None:
            # A namespace belongs to a thread, and a socket to the namespace it was opened in.
            with open("/run/netns/%s%s" % (self.prefix, host), encoding="ascii") as namespace:
                enter(namespace.fileno(), host)
                raw = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
                raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
                raw.bind(("eth0", ETH_P_ALL))
                sockets.append(raw)

        thread = threading.Thread(target=open_inside)
        thread.start()
        thread.join()
        with sockets[0] as raw:
            raw.setblocking(False)
            yield raw

    def neighbor(self, address: str) -> str:
        """The MAC address that the client has for an address."""
        found = json.loads(self.run("client", "ip", "-j", "neighbour", "show", address).out or "[]")
        return str(found[0].get("lladdr", "")) if found else ""

    def ping(self, address: str, host: str = "client") -> bool:
        return self.run(host, "ping", "-c1", "-W5", address, check=False).rc == 0
