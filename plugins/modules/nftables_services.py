#!/usr/bin/python
# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: nftables_services
short_description: Load-balanced services by nftables
version_added: 0.2.0
description:
  - Declares all IPv4 and IPv6 load-balanced services of a node, and implements them with one nftables table.
  - A connection to a service's address and port goes to one of its endpoints, chosen at random in proportion to the
    endpoints' weights. The client may be another host or the node itself.
  - Maps hold the services. So a new connection needs the same few look-ups whatever the number of services, and a
    changed endpoint is a change of two elements. All changes take effect in one transaction, or none does. Other tables
    are not changed.
  - The same task can put the services' addresses on a link, set kernel parameters, and restore everything at boot. If
    one of these changes fails, all of them are undone.
author:
  - The homelab.loadbalancer authors (@homelab-loadbalancer)
requirements:
  - nft 0.9.8 or newer on the node
  - Linux 5.6 or newer
extends_documentation_fragment:
  - homelab.loadbalancer.attributes
  - homelab.loadbalancer.balancer
  - homelab.loadbalancer.services
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
    details:
      - Shows each changed chain, set and map in the format of C(nft -s list table), before and after.
  idempotent:
    support: full
options:
  prefix:
    description:
      - The name of the table, of the family C(inet). A hyphen at the end does not belong to the name.
      - A table of that name that this module did not make is refused.
    type: str
    default: LB-
notes:
  - An C(accept) in one table does not overrule a C(drop) in another. If a program such as Docker or ufw drops forwarded
    packets, accept translated connections (C(ct status dnat)) there.
  - With C(session_affinity), a service remembers 65536 clients.
seealso:
  - module: homelab.loadbalancer.nftables_table
  - module: homelab.loadbalancer.iptables_services
"""

EXAMPLES = r"""
- name: Balance two pods behind one address, the second with twice the connections
  homelab.loadbalancer.nftables_services:
    services:
      - name: web
        address: 192.168.10.100
        port: 80
        endpoints:
          - {address: 192.168.20.20, port: 8080}
          - {address: 192.168.20.21, port: 8080, weight: 2}
    isolate:
      - {from: eth0, to: eth1}

- name: Put the address on a link, forward packets, and restore everything at boot
  homelab.loadbalancer.nftables_services:
    services:
      - name: shop
        address: fd00:10::100
        port: 443
        endpoints: [{address: 'fd00:20::20'}, {address: 'fd00:20::21'}]
        session_affinity: {timeout: 600}
        source_ranges: [fd00:10::/64]
    interface: eth0
    forwarding: true
    boot_path: /etc/homelab-loadbalancer

- name: Remove all services
  homelab.loadbalancer.nftables_services:
    state: absent
"""

RETURN = r"""
missing:
  description: Packages that are missing on the node. Also returned if the module fails because of them.
  returned: success
  type: list
  elements: str
nft:
  description: The version of nft.
  returned: when the package is installed
  type: str
  sample: nftables v1.0.6
others:
  description:
    - Other data planes that have services with the same O(prefix) on the node. The role
      P(homelab.loadbalancer.nftables_lb#role) removes these after its own are in place.
    - iptables and IPVS share their chains. Between them, remove the services by the old module first.
  returned: success
  type: list
  elements: str
  sample: [iptables]
conntrack_deleted:
  description:
    - Number of connection tracking entries that were deleted after the rules were in place, or would be in check mode.
      These are entries of UDP connections to a service's address and port, or to its node port, that lead to something
      other than a current endpoint. Without the deletion, a client that never pauses would keep such a connection.
    - The entries are not part of the declared state, so a task that only deletes entries is not C(changed).
  returned: success
  type: int
  sample: 2
"""

from ..module_utils._balancer.input import BALANCER_ARGUMENTS
from ..module_utils._balancer.run import run_module
from ..module_utils._common.module import NodeModule
from ..module_utils._nftables_services.plane import Planner
from ..module_utils._services import sockets as node_sockets
from ..module_utils._services.model import SERVICES_ARGUMENTS

ARGUMENTS = {**SERVICES_ARGUMENTS, **node_sockets.ARGUMENTS, **BALANCER_ARGUMENTS}


def main() -> None:
    run_module(NodeModule(argument_spec=ARGUMENTS), Planner(), "nftables")


if __name__ == "__main__":
    main()
