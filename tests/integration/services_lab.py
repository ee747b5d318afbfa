# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A client, a router and pods in network namespaces, to see where connections to services end.

client --- VLAN 10 --- eth0 router eth1 --- VLAN 20 --- pod1 ... pod5
                              eth2 --- VLAN 30 --- far
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, Iterator, NamedTuple, Sequence

from ansible_collections.homelab.loadbalancer.plugins.module_utils._command import Completed, run
from ansible_collections.homelab.loadbalancer.plugins.module_utils._iptables_rules import Ruleset, parse_save

REPOSITORY = Path(__file__).resolve().parents[2]
TRAFFIC = Path(__file__).resolve().parent / "traffic.py"
BACKENDS = ("nft", "legacy")
VIP, VIP2, VIP_OF_PODS = "192.168.10.100", "192.168.10.101", "192.168.20.100"
VIP6 = "fd00:10::100"
CLIENT, CLIENT6 = "192.168.10.10", "fd00:10::10"
CLIENTS = tuple("192.168.10.%d" % number for number in range(10, 30))
ROUTER, ROUTER6 = "192.168.20.1", "fd00:20::1"  # as the pods see it
FAR, FAR6 = "192.168.30.20", "fd00:30::20"
PODS = ("pod1", "pod2", "pod3", "pod4", "pod5")
PORTS = ("tcp:8080", "udp:8080", "sctp:8080", "tcp:8081", "udp:8081")


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
        {"name": "router", "links": links, "sysctls": {"net.ipv4.ip_forward": 1, "net.ipv6.conf.all.forwarding": 1}},
        host("client", 10, [*("%s/24" % address for address in CLIENTS), CLIENT6 + "/64"], 10),
        host("far", 30, [FAR + "/24", FAR6 + "/64"], 30),
        *(host(name, 20, [pod(i) + "/24", pod(i, "ipv6") + "/64"], 20) for i, name in enumerate(PODS, start=1)),
    ]


class ServicesLab:
    """The namespaces with their servers; the router's rules are the tests' to change."""

    def __init__(self) -> None:
        self.name = "svc-test-%d" % os.getpid()
        self._processes: list[subprocess.Popen[str]] = []

    def up(self) -> None:
        self._build("present")
        for name in ("client", "far", *PODS):
            self.serve(name, name, *PORTS)

    def down(self) -> None:
        for process in self._processes:
            self.end(process)
        self._build("absent")

    def _build(self, state: str) -> None:
        result = self._module("netns_lab", [], {"name": self.name, "hosts": _hosts(), "state": state})
        assert not result.get("failed"), result["msg"]

    @staticmethod
    def _module(name: str, prefix: Sequence[str], arguments: dict[str, Any]) -> dict[str, Any]:
        done = run(
            [*prefix, sys.executable, str(REPOSITORY / "plugins/modules" / (name + ".py"))],
            json.dumps({"ANSIBLE_MODULE_ARGS": arguments}),
            {"PYTHONPATH": str(REPOSITORY / ".collections")},
            check=False,
        )
        assert done.out, done.err
        result: dict[str, Any] = json.loads(done.out)
        return result

    def inside(self, host: str) -> list[str]:
        return ["ip", "netns", "exec", "%s-%s" % (self.name, host)]

    def run(self, host: str, *argv: str, stdin: str = "", check: bool = True) -> Completed:
        return run([*self.inside(host), *argv], stdin=stdin, check=check)

    def module(self, backend: str, check_mode: bool = False, **options: Any) -> dict[str, Any]:
        """Run iptables_services on the router."""
        flags = {"_ansible_check_mode": check_mode, "_ansible_diff": True}
        return self._module("iptables_services", self.inside("router"), {"backend": backend, **flags, **options})

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
        argv = ["ask", protocol, address, str(port), "--count", str(count), "--timeout", str(timeout)]
        for source in sources:
            argv += ["--source", source]
        said = self.run(host, sys.executable, "-I", str(TRAFFIC), *argv).out
        return [Answer(*answer) for answer in json.loads(said)]

    def ask_once(self, host: str, address: str, port: int, protocol: str = "tcp", source: str = "") -> Answer:
        return self.ask(host, address, port, protocol, sources=[source] if source else [])[0]

    def dropped(self, host: str, address: str, port: int, protocol: str = "tcp", source: str = "") -> bool:
        """Whether nothing at all answers. A second is a thousand times what an answer takes here."""
        return self.ask(host, address, port, protocol, 1, [source] if source else [], 1) == [("timeout", "")]

    def pings(self, host: str, address: str) -> bool:
        return self.run(host, "ping", "-c1", "-W1", address, check=False).rc == 0

    @contextlib.contextmanager
    def connection(self, host: str, address: str, port: int) -> Iterator[Connection]:
        process = self._start(host, "hold", address, str(port))
        try:
            yield Connection(process)
        finally:
            self.end(process)

    # The router's rules

    def apply(self, backend: str, services: list[dict[str, Any]], **options: Any) -> dict[str, Any]:
        """Declare services on the router, which must succeed."""
        result = self.module(backend, services=services, **options)
        assert not result.get("failed"), result["msg"]
        return result

    def saved(self, backend: str, family: str = "ipv4") -> str:
        """iptables-save without what changes by itself: its comments and the counters."""
        command = {"ipv4": "iptables", "ipv6": "ip6tables"}[family]
        lines = self.run("router", "%s-%s-save" % (command, backend)).out.splitlines()
        return "".join(line.split(" [")[0] + "\n" for line in lines if not line.startswith("#"))

    def rules(self, backend: str, family: str = "ipv4") -> Ruleset:
        command = {"ipv4": "iptables", "ipv6": "ip6tables"}[family]
        return parse_save(self.run("router", "%s-%s-save" % (command, backend)).out)

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
