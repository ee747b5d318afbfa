# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A server of the lab: answers every request with one text, by HTTP or to each UDP datagram, IPv4 and IPv6.

It is a program, `python - netns-lab-server LAB PROTOCOL PORT TEXT`, read from standard input so that it needs no file.
It exits with code 0 once its child listens, or prints on standard error why it cannot.
The header X-Client-Address of an HTTP answer carries the source address of the request, as the server sees it.
"""

from __future__ import annotations

import os
import socket
import socketserver
import sys
from http.server import BaseHTTPRequestHandler

MARK = "netns-lab-server"


def _plain(address: str) -> str:
    """A client's address; for IPv4 without the IPv4-mapped form that a dual-stack socket gives it."""
    return address[7:] if address.startswith("::ffff:") else address


class _Http(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # The whole answer in one segment, at once.
    wbufsize = -1
    disable_nagle_algorithm = True
    # Seconds to keep an idle connection.
    timeout = 60

    def do_GET(self) -> None:
        body = self.server.text  # type: ignore[attr-defined]
        self.send_response(200)
        self.send_header("Content-Type", "text/plain; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("X-Client-Address", _plain(self.client_address[0]))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    do_HEAD = do_GET

    def log_message(self, format: str, *args: object) -> None:  # pylint: disable=redefined-builtin
        pass


class _Udp(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        self.request[1].sendto(self.server.text, self.client_address)  # type: ignore[attr-defined]


class _DualStack(socketserver.BaseServer):
    """Listens to IPv6 and IPv4 on one socket, or to IPv4 where the kernel has no IPv6."""

    allow_reuse_address = True
    text = b""

    def server_bind(self) -> None:
        own: socket.socket = self.socket  # type: ignore[attr-defined]
        if own.family == socket.AF_INET6:
            own.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        super().server_bind()  # type: ignore[misc]

    def handle_error(self, request: object, client_address: object) -> None:
        # A client that disconnects early is no error.
        pass


class _HttpServer(_DualStack, socketserver.ThreadingTCPServer):
    request_queue_size = 1024
    daemon_threads = True
    # Otherwise the server would keep a list of every thread it ever started.
    block_on_close = False


class _UdpServer(_DualStack, socketserver.UDPServer):
    pass


def _detach() -> None:
    """Continue as a detached child process; the parent exits here."""
    if os.fork():
        os._exit(0)
    os.setsid()
    os.chdir("/")
    null = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(null, stream)


def serve(protocol: str, port: int, text: str) -> None:
    """Listen, then answer for ever in the background."""
    family, anywhere = (socket.AF_INET6, "::") if os.path.exists("/proc/net/if_inet6") else (socket.AF_INET, "")
    _HttpServer.address_family = _UdpServer.address_family = family
    try:
        server = _UdpServer((anywhere, port), _Udp) if protocol == "udp" else _HttpServer((anywhere, port), _Http)
    except OSError as error:
        raise SystemExit("cannot listen on %s port %d: %s" % (protocol, port, error.strerror)) from error
    server.text = (text + "\n").encode("utf-8", "surrogateescape")
    _detach()
    server.serve_forever(poll_interval=3600)


if __name__ == "__main__":
    serve(sys.argv[3], int(sys.argv[4]), sys.argv[5])
