# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A client, a router and pods in network namespaces, to see where connections to services end.

client --- VLAN 10 --- eth0 router eth1 --- VLAN 20 --- pod1 ... pod5
                              eth2 --- VLAN 30 --- far
"""

from __future__ import annotations

import contextlib
import itertools
import os
import re
import select
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Iterator, NamedTuple, Sequence

from ansible_collections.homelab.loadbalancer.plugins.module_utils._common.command import Completed, run
from ansible_collections.homelab.loadbalancer.tests.integration import namespaces, traffic

TRAFFIC = Path(__file__).resolve().parent / "traffic.py"
BACKENDS = ("nft", "legacy")
# The data planes that translate: iptables with each backend, and nftables.
PLANES = (*BACKENDS, "nftables")
VIP, VIP2, VIP_OF_PODS = "192.168.10.100", "192.168.10.101", "192.168.20.100"
VIP6 = "fd00:10::100"
CLIENT, CLIENT6 = "192.168.10.10", "fd00:10::10"
CLIENTS = tuple("192.168.10.%d" % number for number in range(10, 30))
ROUTER, ROUTER6 = "192.168.20.1", "fd00:20::1"  # as the pods see it
FAR, FAR6 = "192.168.30.20", "fd00:30::20"
PODS = ("pod1", "pod2", "pod3", "pod4", "pod5")
PORTS = ("tcp:8080", "udp:8080", "sctp:8080", "tcp:8081", "udp:8081")

SYSCTLS = {
    "net.ipv4.ip_forward": 1,
    "net.ipv6.conf.all.forwarding": 1,
    # One refusal a second and client is what the kernel allows else; tests ask faster.
    "net.ipv4.icmp_ratelimit": 0,
    "net.ipv6.icmp.ratelimit": 0,
}


_numbers = itertools.count()


class Answer(NamedTuple):
    """What a client was told: the server's name and the client's address as that server sees it."""

    server: str
    peer: str


def pod(number: int, family: str = "ipv4") -> str:
    return ("192.168.20.2%d" if family == "ipv4" else "fd00:20::2%d") % number


def endpoints(*numbers: int, family: str = "ipv4", port: int = 8080) -> list[dict[str, Any]]:
    return [{"address": pod(number, family), "port": port} for number in numbers]


def _hosts() -> list[dict[str, Any]]:
    def host(name: str, vlan: int, addresses: list[str], net: int) -> dict[str, Any]:
        links = [{"name": "eth0", "vlan": vlan, "addresses": addresses}]
        return {"name": name, "links": links, "gateways": ["192.168.%d.1" % net, "fd00:%d::1" % net]}

    links = [
        {"name": "eth%d" % i, "vlan": net, "addresses": ["192.168.%d.1/24" % net, "fd00:%d::1/64" % net]}
        for i, net in enumerate((10, 20, 30))
    ]
    links[0]["addresses"] += [VIP + "/32", VIP2 + "/32", VIP6 + "/128"]  # type: ignore[operator]
    links[1]["addresses"] += [VIP_OF_PODS + "/32"]  # type: ignore[operator]
    return [
        {"name": "router", "links": links, "sysctls": SYSCTLS},
        host("client", 10, [*("%s/24" % address for address in CLIENTS), CLIENT6 + "/64"], 10),
        host("far", 30, [FAR + "/24", FAR6 + "/64"], 30),
        *(host(name, 20, [pod(i) + "/24", pod(i, "ipv6") + "/64"], 20) for i, name in enumerate(PODS, start=1)),
    ]


class ServicesLab:
    """The namespaces with their servers; the router's rules are the tests' to change."""

    def __init__(self, prefix: str = "svc-test", hosts: list[dict[str, Any]] | None = None) -> None:
        self.name = "%s-%d-%d" % (prefix, os.getpid(), next(_numbers))
        self._hosts = hosts or _hosts()
        self._processes: list[subprocess.Popen[str]] = []

    def up(self) -> None:
        self.build("present")
        for name in ("client", "far", *PODS):
            self.serve(name, name, *PORTS)

    def down(self) -> None:
        for process in self._processes:
            self.end(process)
        self.build("absent")

    def build(self, state: str) -> None:
        """The network alone: `present` or `absent`."""
        result = namespaces.module("netns_lab", name=self.name, hosts=self._hosts, state=state)
        assert not result.get("failed"), result

    def inside(self, host: str) -> list[str]:
        return ["ip", "netns", "exec", "%s-%s" % (self.name, host)]

    def run(self, host: str, *argv: str, stdin: str = "", check: bool = True) -> Completed:
        with self.entered(host):
            return run(list(argv), stdin=stdin, check=check)

    def entered(self, host: str) -> contextlib.AbstractContextManager[None]:
        """This thread, which must be the main one, and the programs it starts, in a host's network namespace."""
        return namespaces.entered("%s-%s" % (self.name, host))

    def module(self, plane: str, check_mode: bool = False, **options: Any) -> dict[str, Any]:
        """Run the module for services on the router: nftables_services, or iptables_services with a backend."""
        with self.entered("router"):
            if plane == "nftables":
                options.pop("layout", None)  # it has one
                return namespaces.module("nftables_services", check_mode, **options)
            return namespaces.module("iptables_services", check_mode, backend=plane, **options)

    # Traffic

    def _start(self, host: str, *arguments: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [*self.inside(host), sys.executable, "-I", str(TRAFFIC), *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._processes.append(process)
        return process

    def serve(self, host: str, name: str, *ports: str) -> subprocess.Popen[str]:
        process = self._start(host, "serve", name, *ports)
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        return process

    def end(self, process: subprocess.Popen[str]) -> None:
        """End a server or a connection, which end with their standard input."""
        if process.returncode is None:
            process.communicate(timeout=20)

    def ask(
        self,
        host: str,
        address: str,
        port: int,
        protocol: str = "tcp",
        count: int = 1,
        sources: Sequence[str] = (),
        timeout: float = 20,
    ) -> list[Answer]:
        """Open connections one after the other, `count` from each source address."""
        with self.entered(host):
            return [
                Answer(*traffic.ask(protocol, address, port, source, timeout))
                for dummy in range(count)
                for source in sources or ("",)
            ]

    def ask_once(self, host: str, address: str, port: int, protocol: str = "tcp", source: str = "") -> Answer:
        return self.ask(host, address, port, protocol, sources=[source] if source else [])[0]

    def dropped(self, host: str, address: str, port: int, protocol: str = "tcp", source: str = "") -> bool:
        """Whether nothing at all answers. An answer takes a thousandth of the time that is given to it."""
        return self.ask(host, address, port, protocol, 1, [source] if source else [], 0.5) == [("timeout", "")]

    def pings(self, host: str, address: str) -> bool:
        return self.run(host, "ping", "-c1", "-W0.5", address, check=False).rc == 0

    @contextlib.contextmanager
    def connection(self, host: str, address: str, port: int) -> Iterator[Connection]:
        process = self._start(host, "hold", address, str(port))
        try:
            yield Connection(process)
        finally:
            self.end(process)

    @contextlib.contextmanager
    def sender(self, host: str, address: str, port: int) -> Iterator[Sender]:
        """A UDP client that sends from one port and never pauses."""
        process = self._start(host, "send", address, str(port))
        try:
            yield Sender(process)
        finally:
            self.end(process)

    # The router's rules

    def apply(self, plane: str, services: list[dict[str, Any]], **options: Any) -> dict[str, Any]:
        """Declare services on the router, which must succeed."""
        result = self.module(plane, services=services, **options)
        assert not result.get("failed"), result["msg"]
        return result

    def saved(self, backend: str, family: str = "ipv4") -> str:
        """iptables-save without what changes by itself: the time of day and the counters."""
        with self.entered("router"):
            text = namespaces.Firewall(backend, family).save()
        # This backend goes on listing tables that were used once.
        text = namespaces.without_empty_tables(text) if backend == "legacy" else text
        return re.sub(r" \[\d+:\d+\]", "", text)

    def reset(self) -> None:
        """No rules, no connections and no policies: the router as it is without any firewall."""
        self.run("router", "nft", "flush", "ruleset")
        for command in ("iptables", "ip6tables"):
            tables = self.run("router", command + "-legacy-save").out.splitlines()
            bare = [line for line in tables if line[:1] in "*C" or (line[:1] == ":" and " - " not in line)]
            text = "".join(line.replace(" DROP ", " ACCEPT ") + "\n" for line in bare)
            self.run("router", command + "-legacy-restore", "--wait", "30", stdin=text)
        self.run("router", "conntrack", "-F")


class Connection:
    """An open TCP connection; what its server says comes with the server's name."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self._in, self._out = process.stdin, process.stdout
        self.server = self._out.readline().split(" ")[0]

    def says(self, text: str) -> str:
        """What comes back for a line; empty when the connection is dead."""
        self._in.write(text + "\n")
        self._in.flush()
        return self._out.readline().strip()


class Sender:
    """A UDP client that never pauses."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        self._out = process.stdout.fileno()
        self._said = b""

    def is_answered_by(self, server: str, peer: str = "", limit: float = 20) -> bool:
        """Whether it is, in the end, this server that answers (`refused`, `silence`: nobody), and sees this peer."""
        end = time.monotonic() + limit
        while not (self._said.decode().split("\n")[-2:][0] + " ").startswith("%s %s" % (server, peer)):
            left = end - time.monotonic()
            if left < 0 or not select.select([self._out], [], [], left)[0]:
                return False
            self._said += os.read(self._out, 4096)
        return True
