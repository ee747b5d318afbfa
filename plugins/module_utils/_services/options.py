# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Options that apply to all services of a node, whatever the data plane."""

from __future__ import annotations

import socket
from typing import Any, Sequence

from .._common.errors import InputError
from .model import parse_network


def parse_pod_cidr(raw: Sequence[Any]) -> dict[str, str]:
    """The network of each family whose connections keep their source address; empty for none."""
    cidrs = {"ipv4": "", "ipv6": ""}
    for i, entry in enumerate(raw):
        network, family = parse_network(entry, "pod_cidr[%d]" % i)
        if cidrs[family]:
            raise InputError(
                "pod_cidr[%d] %s is a second network of its address family: remove one of them" % (i, entry)
            )
        cidrs[family] = network
    return cidrs


def parse_isolate(raw: Sequence[dict[str, str]]) -> tuple[tuple[str, str], ...]:
    """Pairs of interfaces: from, to."""
    links = {name for dummy, name in socket.if_nameindex()}
    return tuple((_link(entry, "from", links, i), _link(entry, "to", links, i)) for i, entry in enumerate(raw))


def _link(entry: dict[str, str], key: str, links: set[str], i: int) -> str:
    name = entry[key]
    if name not in links:
        known = ", ".join(sorted(links))
        raise InputError("isolate[%d].%s %s is not an interface of this node: it has %s" % (i, key, name, known))
    return name


def parse_mark(raw: Any) -> int:
    """The bit of the packet mark that requests masquerading."""
    try:
        mark = int(str(raw), 0)
    except ValueError:
        mark = 0
    if not 0 < mark < 1 << 32 or mark & (mark - 1):
        raise InputError("masquerade_mark %s is not a single bit of 32: write for instance 0x1000" % raw)
    return mark
