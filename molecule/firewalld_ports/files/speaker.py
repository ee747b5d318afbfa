# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Sends a line back on tcp and udp port 7946, the port of MetalLB's speakers."""

from __future__ import annotations

import socketserver
import threading

ADDRESS = ("", 7946)


class Tcp(socketserver.StreamRequestHandler):
    """A connection."""

    def handle(self) -> None:
        self.wfile.write(self.rfile.readline())


class Udp(socketserver.DatagramRequestHandler):
    """A datagram."""

    def handle(self) -> None:
        self.wfile.write(self.rfile.readline())


threading.Thread(target=socketserver.UDPServer(ADDRESS, Udp).serve_forever).start()
socketserver.ThreadingTCPServer(ADDRESS, Tcp).serve_forever()
