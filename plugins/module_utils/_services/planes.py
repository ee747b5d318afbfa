# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Declarations by other data planes under the same prefix, which a host keeps when its role is replaced by another."""

from __future__ import annotations

import os
import shutil

from .._common.command import run
from .._nftables import table

_LEGACY = {"iptables-legacy-save": "ip_tables", "ip6tables-legacy-save": "ip6_tables"}
_PATH = os.environ.get("PATH", "") + ":/usr/local/sbin:/usr/sbin:/sbin"


def others(plane: str, prefix: str) -> list[str]:
    """The data planes, besides the given one, that have objects with the prefix on this node.

    iptables and IPVS share their chains, so neither can be removed after the other is in place.
    """
    if plane != "nftables":
        return ["nftables"] if _chains("inet", prefix.rstrip("-")) else []
    in_nft = (_chains(family, name) for family in ("ipv4", "ipv6") for name in ("nat", "filter"))
    if any(name.startswith(prefix) for chains in in_nft for name in chains) or _in_legacy(prefix):
        return ["ipvs" if _has_sets(prefix) else "iptables"]
    return []


def _chains(family: str, name: str) -> list[str]:
    try:
        return list(table.chains(family, name))
    except OSError:  # this kernel has no nftables
        return []


def _in_legacy(prefix: str) -> bool:
    for command, tables in _LEGACY.items():
        if os.path.exists("/proc/self/net/%s_names" % tables) and shutil.which(command, path=_PATH):
            saved = run([command], check=False).out
            if any(line.startswith(":" + prefix) for line in saved.splitlines()):
                return True
    return False


def _has_sets(prefix: str) -> bool:
    if not shutil.which("ipset", path=_PATH):
        return False
    names = run(["ipset", "list", "-name"], check=False).out.split()
    return any(name in names for name in (prefix + "CLUSTER-IP", prefix + "6-CLUSTER-IP"))
