# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Declarations by other data planes under the same prefix, which a host keeps when its role is replaced by another."""

from __future__ import annotations

import os

from .._common.command import CommandError, run
from .._nftables.elements import has_set
from .._nftables.table import chains

NFTABLES_FAMILY = "inet"
# The mark of an nftables table of ours, an empty set. A table without it belongs to another program.
NFTABLES_MARK = "managed-by-ansible"
_LEGACY = {"iptables-legacy-save": "ip_tables", "ip6tables-legacy-save": "ip6_tables"}


def others(plane: str, prefix: str) -> list[str]:
    """The data planes, besides the given one, that have objects with the prefix on this node.

    iptables and IPVS share their chains, so neither can be removed after the other is in place.
    """
    if plane != "nftables":
        return ["nftables"] if has_nftables(prefix.rstrip("-")) else []
    in_nft = (_chains(family, name) for family in ("ipv4", "ipv6") for name in ("nat", "filter"))
    if any(name.startswith(prefix) for found in in_nft for name in found) or _in_legacy(prefix):
        return ["ipvs" if _has_sets(prefix) else "iptables"]
    return []


def has_nftables(name: str) -> bool:
    """Whether the node has an nftables table of ours with this name. The node need not have nft."""
    try:
        return has_set(NFTABLES_FAMILY, name, NFTABLES_MARK)
    except OSError:  # this kernel has no nftables
        return False


def _chains(family: str, name: str) -> list[str]:
    try:
        return list(chains(family, name))
    except OSError:
        return []


def _in_legacy(prefix: str) -> bool:
    used = [command for command, tables in _LEGACY.items() if os.path.exists("/proc/self/net/%s_names" % tables)]
    return any(line.startswith(":" + prefix) for command in used for line in _said(command).splitlines())


def _has_sets(prefix: str) -> bool:
    names = _said("ipset", "list", "-name").split()
    return any(name in names for name in (prefix + "CLUSTER-IP", prefix + "6-CLUSTER-IP"))


def _said(*argv: str) -> str:
    """What a program prints; empty without the program."""
    try:
        return run(argv, check=False).out
    except CommandError:
        return ""
