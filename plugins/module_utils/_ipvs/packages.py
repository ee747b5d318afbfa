# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The packages that the services need on a node."""

from __future__ import annotations

from .._common.command import find
from .._common.errors import NotInstalledError
from .._iptables.node import Iptables, NoIptables


def missing_packages() -> list[str]:
    """The packages that are not installed."""
    # Each package has the name of its program.
    return [program for program in ("iptables", "ipset") if find(program) is None]


def refuse_left(missing: list[str], prefix: str, backend: str, wait: int) -> None:
    """Raise NotInstalledError if packages are missing that are needed to remove what is left of ours."""
    for family in ("ipv4", "ipv6"):
        if "iptables" in missing:
            NoIptables(family, prefix)
        elif any(
            chain.startswith(prefix)
            for table in Iptables(family, backend, wait).save(prefix).values()
            for chain in table.chains
        ):
            raise NotInstalledError(
                "%s is not installed, but this node has chains that begin with %s: install the package, which is "
                "needed to remove them" % (missing[0], prefix)
            )
