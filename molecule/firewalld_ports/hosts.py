# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Questions that several tests of this scenario ask."""

from __future__ import annotations

import time

from ansible_collections.homelab.loadbalancer.molecule.conftest import Node


def echo(client: Node, protocol: str, address: str) -> str:
    """Return the line that port 7946 of a node echoes; empty without a connection."""
    talk = f"exec 3<>/dev/{protocol}/{address}/7946 && echo hello >&3 && head -n 1 <&3"
    return str(client.host.run("timeout 5 bash -c '%s'" % talk).stdout.strip())


def keeps_answering(client: Node) -> bool:
    """Whether the pod has answered each poll so far, and answers the next ones; files/poll polls."""
    before = _answers(client)
    end = time.monotonic() + 30
    while _answers(client) < before + 3:
        if time.monotonic() > end or client.host.run("systemctl is-active poll.service").rc != 0:
            return False
    return True


def _answers(client: Node) -> int:
    return int(client.output("wc -l < /run/answers"))
