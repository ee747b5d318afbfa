# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The addresses that a node has itself."""

from __future__ import annotations

import json

from ansible_collections.homelab.loadbalancer.plugins.module_utils._command import run


def local_addresses(family: str) -> set[str]:
    """The addresses of the node's links at which others reach it: those of the loopback are not among them."""
    links = json.loads(run(["ip", "-json", "address", "show"]).out or "[]", strict=False)
    addresses = {found["local"] for link in links for found in link.get("addr_info", []) if "local" in found}
    outside = {address for address in addresses if address != "::1" and not address.startswith("127.")}
    return {address for address in outside if (":" in address) == (family == "ipv6")}
