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
      - The backend of iptables. Tables of both live in the kernel at once, and packets pass through all of them.
      - With V(auto) it is the one that the node's own C(iptables) command says it uses.
    type: str
    choices: [auto, nft, legacy]
    default: auto
  wait:
    description:
      - How many seconds to wait for the xtables lock, which the legacy backend takes, at least 1.
    type: int
    default: 30
  variables:
    description:
      - How error messages call options, by the options' names. A role names its own variables here.
    type: dict
    default: {}
notes:
  - With the nft backend, a table such as C(ip filter) may hold rules that only C(nft) can show; C(iptables-save) then
    shows nothing of it, and succeeds. Where that table is declared or holds owned chains, the module fails before
    anything changes and names it. Keep rules of nftables in tables of other names, such as C(inet site).
"""
