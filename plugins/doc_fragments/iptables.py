# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Options that the iptables modules share."""

from __future__ import annotations


class ModuleDocFragment:
    """Used as `extends_documentation_fragment: homelab.loadbalancer.iptables`."""

    DOCUMENTATION = r"""
options:
  backend:
    description:
      - The backend of iptables. The kernel can hold tables of both at once, and packets pass through all of them.
      - V(auto) is the backend that the node's own C(iptables) command uses.
    type: str
    choices: [auto, nft, legacy]
    default: auto
  wait:
    description:
      - How many seconds to wait for the xtables lock, which the legacy backend takes, at least 1.
    type: int
    default: 30
notes:
  - With the nft backend, a table such as C(ip filter) may hold rules that only C(nft) can show. C(iptables-save) then
    shows nothing of the table, and succeeds. If that table is declared or holds owned chains, the module names it and
    fails before anything changes. Keep nftables rules in tables with other names, such as C(inet site).
"""
