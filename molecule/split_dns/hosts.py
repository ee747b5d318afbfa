# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Questions that several tests of this scenario ask."""

from __future__ import annotations

import uuid

from ansible_collections.homelab.loadbalancer.molecule.conftest import Node

# The address that each server returns for all names.
CLUSTER = "172.16.0.100"
USUAL = "1.2.3.4"


def resolve(client: Node, domain: str) -> tuple[str, set[str]]:
    """Resolve a fresh name as programs do: return the address and the servers that were queried."""
    name = "%s.%s" % (uuid.uuid4().hex, domain)
    found = client.host.run("getent ahostsv4 " + name)
    asked = {
        server
        for server in ("cluster", "usual")
        if client.host.run("grep -F ' %s ' /run/%s.log" % (name, server)).rc == 0
    }
    return (found.stdout.split() or [""])[0], asked
