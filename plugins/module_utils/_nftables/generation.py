# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The generation of the nftables ruleset: a number that grows by one with each transaction in a network namespace.

It counts the transactions of all programs, also of iptables-nft. Elements that packets add to sets do not count.
Numbers are those of linux/netfilter/nf_tables.h and asm-generic/socket.h.
"""

from __future__ import annotations

import contextlib
import socket
import struct

from .._common.netlink import Message, Netlink, attributes

_NETLINK_NETFILTER = 12
_GET = 10 << 8 | 16  # NFNL_SUBSYS_NFTABLES, NFT_MSG_GETGEN
_ID = 1  # NFTA_GEN_ID
_BOOT_ID = "/proc/sys/kernel/random/boot_id"
_NETNS_COOKIE = 71  # SO_NETNS_COOKIE, Linux 5.14


def generation() -> int:
    """The current generation. OSError if the kernel has no nf_tables."""
    with contextlib.closing(Netlink(_NETLINK_NETFILTER)) as link:
        for data, start, end in link.ask(Message(_GET, bytes(4)), 0):
            at, dummy = attributes(data, start, end)[_ID]
            return int(struct.unpack_from("!I", data, at)[0])
    raise OSError("the kernel does not tell the generation of its nftables ruleset")


def namespace() -> str:
    """A name that no other network namespace of this machine has, now or after a boot; empty before Linux 5.14.

    The kernel counts network namespaces anew at each boot, and /run of a container may outlive it.
    """
    with contextlib.suppress(OSError), open(_BOOT_ID, encoding="ascii") as boot:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asked:
            cookie = struct.unpack("=Q", asked.getsockopt(socket.SOL_SOCKET, _NETNS_COOKIE, 8))[0]
        return "%x-%s" % (cookie, boot.read().strip())
    return ""
