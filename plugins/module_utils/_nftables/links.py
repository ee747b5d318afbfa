# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Create unconnected links with given names in a trial namespace, by rtnetlink (linux/if_link.h)."""

from __future__ import annotations

import contextlib
import errno
import socket
from typing import Iterable

from .._common.errors import NodeError
from .._common.netlink import ACK, Message, Netlink, attribute

_NEWLINK = 16  # RTM_NEWLINK
_CREATE, _EXCLUSIVE = 0x400, 0x200  # NLM_F_*
_NAME, _INFO, _KIND = 3, 18, 1  # IFLA_IFNAME, IFLA_LINKINFO, IFLA_INFO_KIND
# The first kind that this kernel has is used.
_KINDS = ("dummy", "veth", "bridge", "ifb")


def make_links(names: Iterable[str]) -> None:
    """Create a link for each name that has none."""
    wanted = sorted(names)
    if not wanted:
        return
    with contextlib.closing(Netlink(socket.NETLINK_ROUTE)) as link:
        for name in wanted:
            if not any(_made(link, name, kind) for kind in _KINDS):
                raise NodeError(
                    "content names the link %s, but this kernel has none of the link types %s to try it with: "
                    "match its name instead (iifname, oifname)" % (name, ", ".join(_KINDS))
                )


def _made(link: Netlink, name: str, kind: str) -> bool:
    info = attribute(_KIND, kind.encode())
    payload = bytes(12) + attribute(_NAME, name.encode() + b"\0") + attribute(_INFO, info)
    try:
        list(link.ask(Message(_NEWLINK, bytes(4), payload), ACK | _CREATE | _EXCLUSIVE))
    except OSError as error:
        return error.errno == errno.EEXIST
    return True
