# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""nftables base chains with the table and name of an iptables chain, but with another hook or priority.

iptables-nft does not show them; the kernel refuses rules in them, but only when the rules are loaded.
"""

from __future__ import annotations

from .._common.errors import InputError
from .._nftables import table as nft_table
from .node import Iptables
from .rules import TABLES, Wanted, render


def refuse_other_hooks(tool: Iptables, wanted: Wanted) -> None:
    """Raise InputError for a jump in such a chain. The caller has just saved the node's tables."""
    for table in set(tool.other_hooks) & set(wanted):
        hosts = [chain for chain, jumps in wanted[table].jumps.items() if jumps]
        live = nft_table.chains(tool.family, table)
        own = _own_chains(tool, table) if hosts else {}
        for chain in hosts:
            hook = live.get(chain)
            if hook and hook != own.get(chain):
                expected = (
                    "iptables' own one has %d" % own[chain].priority if chain in own else "iptables has none such"
                )
                raise InputError(
                    "tables.%s.jumps.%s: the chain %s of this node is one of nftables with priority %d, and %s, so "
                    "that no rule can be put there: see `nft list table %s`, and move it to a table of another name"
                    % (table, chain, chain, hook.priority, expected, tool.nft_name(table))
                )


def _own_chains(tool: Iptables, table: str) -> dict[str, nft_table.Hook]:
    """A table's base chains as iptables itself makes them."""
    with tool.scratch("") as lock_file:
        tool.restore(render([(table, [":%s ACCEPT [0:0]" % chain for chain in TABLES[table]])]), lock_file)
        return {name: hook for name, hook in nft_table.chains(tool.family, table).items() if hook}
