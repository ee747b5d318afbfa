# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Hold a connection to each server behind a virtual address, and use them when one server gets no new ones.

    python3 hold_connections.py ADDRESS PORT SERVERS

Prints two lines: the servers that answered on the held connections, and those that answered on new ones afterwards.
Exits with 1 if a connection fails, or if all servers still get new connections after five minutes.
"""

from __future__ import annotations

import http.client
import sys
import time

LIMIT = 300  # seconds


def connect(address: str, port: int) -> http.client.HTTPConnection:
    connection = http.client.HTTPConnection(address, port, timeout=60)
    connection.connect()
    return connection


def ask(connection: http.client.HTTPConnection) -> str:
    """Return the name of the server that answers, and close the connection."""
    connection.request("GET", "/", headers={"Connection": "close"})
    answer = connection.getresponse().read().decode().strip()
    connection.close()
    return answer


def main(address: str, port: int, servers: int) -> None:
    held = [connect(address, port) for dummy in range(servers)]
    end = time.monotonic() + LIMIT
    while True:
        new = [ask(connect(address, port)) for dummy in range(2 * servers)]
        if len(set(new)) < servers:
            break
        if time.monotonic() > end:
            raise SystemExit("after %d s all servers still get new connections: %s" % (LIMIT, " ".join(new)))
        time.sleep(0.5)
    print(" ".join(sorted(ask(connection) for connection in held)))
    print(" ".join(new))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
