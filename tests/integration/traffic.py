# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Clients and servers for tests, run inside a network namespace. A server tells its name and whom it sees.

    ip netns exec NS python traffic.py serve NAME PROTOCOL:PORT...  says `ready`, ends with its standard input
    ip netns exec NS python traffic.py hold ADDRESS PORT            one TCP connection: a line in, its answer out
    ip netns exec NS python traffic.py stream ADDRESS PORT          TCP connections, one after the other, counted
    ip netns exec NS python traffic.py send ADDRESS PORT            one UDP port that never pauses: each new answerer

The function `ask` is for a caller in the namespace. An attempt without an answer has `refused`, `timeout` or the like
in the place of the server's name. SCTP is spoken on raw sockets, as far as the first exchange (INIT and INIT ACK),
because many kernels have no SCTP of their own.
"""

from __future__ import annotations

import argparse
import contextlib
import errno
import json
import random
import select
import selectors
import socket
import struct
import sys
import time

SOCTYPE = {"tcp": socket.SOCK_STREAM, "udp": socket.SOCK_DGRAM}
SCTP_INIT, SCTP_INIT_ACK, SCTP_COOKIE = 1, 2, 7  # RFC 9260, 3.2 and 3.3.3
FAILURES = {errno.ECONNREFUSED: "refused", errno.EHOSTUNREACH: "unreachable", errno.EPERM: "not permitted"}


def plain(address: str) -> str:
    """An IPv4 address without the IPv6 form that a socket for both gives it."""
    return address[7:] if address.startswith("::ffff:") else address


class Server:
    """Answers on all addresses of the host, IPv4 and IPv6, with `NAME PEER`; TCP connections stay open and echo."""

    def __init__(self, name: str, ports: list[str]) -> None:
        self.name = name
        self.ready = selectors.DefaultSelector()
        self.sctp_ports = {int(port[5:]) for port in ports if port.startswith("sctp:")}
        for port in ports:
            protocol, number = port.split(":")
            if protocol in SOCTYPE:
                self.listen(protocol, int(number))
        for family in (socket.AF_INET, socket.AF_INET6) if self.sctp_ports else ():
            raw = socket.socket(family, socket.SOCK_RAW, socket.IPPROTO_SCTP)
            self.ready.register(raw, selectors.EVENT_READ, self.sctp)

    def listen(self, protocol: str, port: int) -> None:
        server = socket.socket(socket.AF_INET6, SOCTYPE[protocol])
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        server.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        server.bind(("::", port))
        if protocol == "tcp":
            server.listen(1024)
        self.ready.register(server, selectors.EVENT_READ, self.accept if protocol == "tcp" else self.datagram)

    def run(self) -> None:
        self.ready.register(sys.stdin, selectors.EVENT_READ)
        print("ready", flush=True)
        while True:
            for key, dummy in self.ready.select():
                if key.fileobj is sys.stdin:
                    return
                with contextlib.suppress(OSError):  # a client that goes away is no news
                    key.data(key.fileobj)

    def accept(self, server: socket.socket) -> None:
        connection, peer = server.accept()
        self.ready.register(connection, selectors.EVENT_READ, self.echo)
        connection.sendall(("%s %s\n" % (self.name, plain(peer[0]))).encode())

    def echo(self, connection: socket.socket) -> None:
        try:
            data = connection.recv(4096)
        except OSError:
            data = b""
        if data:
            connection.sendall(self.name.encode() + b" " + data)
        else:
            self.ready.unregister(connection)
            connection.close()

    def datagram(self, server: socket.socket) -> None:
        dummy, peer = server.recvfrom(4096)
        server.sendto(("%s %s\n" % (self.name, plain(peer[0]))).encode(), peer)

    def sctp(self, raw: socket.socket) -> None:
        data, peer = raw.recvfrom(4096)
        source, target, dummy, chunk = read_sctp(data, raw.family)
        if chunk[0] == SCTP_INIT and target in self.sctp_ports:
            tag = struct.unpack_from("!I", chunk, 4)[0]
            said = ("%s %s\n" % (self.name, peer[0])).encode()
            raw.sendto(sctp_packet(target, source, tag, SCTP_INIT_ACK, said), peer)


def crc32c(data: bytes) -> int:
    """The checksum of SCTP (RFC 9260, appendix A); conntrack drops packets that have a wrong one."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for dummy in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def sctp_packet(source: int, target: int, tag: int, kind: int, cookie: bytes = b"") -> bytes:
    """An INIT, or an INIT ACK with a cookie."""
    parameter = struct.pack("!HH", SCTP_COOKIE, 4 + len(cookie)) + cookie if cookie else b""
    chunk = struct.pack("!BBHIIHHI", kind, 0, 20 + len(parameter), random.randrange(1, 1 << 32), 65536, 1, 1, 1)
    chunk += parameter + b"\0" * (-len(parameter) % 4)
    header = struct.pack("!HHI", source, target, tag)
    return header + struct.pack("<I", crc32c(header + bytes(4) + chunk)) + chunk


def read_sctp(data: bytes, family: int) -> tuple[int, int, int, bytes]:
    """Source port, target port, tag and first chunk. Only IPv4's raw sockets hand the IP header over."""
    if family == socket.AF_INET:
        data = data[(data[0] & 15) * 4 :]
    source, target, tag = struct.unpack_from("!HHI", data)
    return source, target, tag, data[12:]


def ask(protocol: str, address: str, port: int, source: str, timeout: float) -> tuple[str, str]:
    """One attempt from a fresh port: the server's name and the peer it sees, or what went wrong."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        if protocol == "sctp":
            said = ask_sctp(family, address, port, source, timeout)
        else:
            said = ask_socket(family, SOCTYPE[protocol], (address, port), source, timeout)
    except TimeoutError:
        return "timeout", ""
    except OSError as error:
        return FAILURES.get(error.errno or 0, str(error)), ""
    server, peer = said.decode().split()
    return server, peer


def ask_socket(
    family: int, kind: socket.SocketKind, target: tuple[str, int], source: str, timeout: float
) -> bytes:  # fmt: skip
    with socket.socket(family, kind) as client:
        client.settimeout(timeout)
        if source:
            client.bind((source, 0))
        client.connect(target)
        if kind == socket.SOCK_DGRAM:
            client.send(b"?\n")
        else:
            # Close by a reset: thousands of attempts would else leave no port free of TIME_WAIT.
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        return client.recv(4096)


def ask_sctp(family: int, address: str, port: int, source: str, timeout: float) -> bytes:
    own = random.randrange(32768, 61000)
    end = time.monotonic() + timeout
    with socket.socket(family, socket.SOCK_RAW, socket.IPPROTO_SCTP) as raw:
        if source:
            raw.bind((source, 0))
        raw.connect((address, 0))  # only a connected raw socket is told of ICMP errors
        raw.send(sctp_packet(own, port, 0, SCTP_INIT))
        while True:
            raw.settimeout(max(end - time.monotonic(), 0.001))
            sender, target, dummy, chunk = read_sctp(raw.recv(4096), family)
            if (sender, target, chunk[0]) == (port, own, SCTP_INIT_ACK):
                kind, length = struct.unpack_from("!HH", chunk, 20)
                return chunk[24 : 20 + length] if kind == SCTP_COOKIE else b""


def hold(address: str, port: int) -> None:
    """Keep one TCP connection: print the greeting, then send each line that is read and print what comes back."""
    with socket.create_connection((address, port), timeout=20) as connection, connection.makefile("rw") as stream:
        print(stream.readline(), end="", flush=True)
        for line in sys.stdin:
            stream.write(line)
            stream.flush()
            print(stream.readline(), end="", flush=True)


def send(address: str, port: int) -> None:
    """Send from one UDP port until the standard input ends; print who answers, or what goes wrong, when it changes."""
    seen, silences = "", 0
    with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.settimeout(0.05)
        client.connect((address, port))
        while not select.select([sys.stdin], [], [], 0.02)[0]:
            said = "silence"
            try:
                client.send(b"?\n")
                said = client.recv(4096).decode().strip()
            except TimeoutError:
                silences += 1
            except OSError as error:
                said = FAILURES.get(error.errno or 0, str(error))
            # A single datagram may be lost while rules change.
            silences = silences if said == "silence" else 0
            if said != seen and (said != "silence" or silences > 5):
                seen = said
                print(said, flush=True)


def stream(address: str, port: int) -> None:
    """Open TCP connections until the standard input ends; print how often each server answered, or what went wrong."""
    counts: dict[str, int] = {}
    while not select.select([sys.stdin], [], [], 0)[0]:
        said = ask("tcp", address, port, "", 20)[0]
        if not counts:
            print(said, flush=True)
        counts[said] = counts.get(said, 0) + 1
    print(json.dumps(counts), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser()
    commands = parser.add_subparsers(dest="command", required=True)
    serving = commands.add_parser("serve")
    serving.add_argument("name")
    serving.add_argument("ports", nargs="+")
    holding = commands.add_parser("hold")
    sending = commands.add_parser("send")
    streaming = commands.add_parser("stream")
    for command in (holding, sending, streaming):
        command.add_argument("address")
        command.add_argument("port", type=int)
    args = parser.parse_args()
    if args.command == "serve":
        Server(args.name, args.ports).run()
    elif args.command == "hold":
        hold(args.address, args.port)
    else:
        {"send": send, "stream": stream}[args.command](args.address, args.port)


if __name__ == "__main__":
    main()
