#!/usr/bin/python
# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: iptables_services
short_description: Load-balanced services by iptables
version_added: 0.2.0
description:
  - Declares all IPv4 and IPv6 load-balanced services of a node, and implements them with iptables as kube-proxy does.
  - A connection to a service's address and port goes to one of its endpoints, chosen at random in proportion to the
    endpoints' weights. The client may be another host or the node itself.
  - All changes of an address family take effect in one transaction, or none does. Other rules, chains and policies
    stay unchanged. The module also works with ten thousand services.
  - The same task can put the services' addresses on a link, set kernel parameters, and restore everything at boot. If
    one of these changes fails, all of them are undone.
author:
  - The homelab.loadbalancer authors (@homelab-loadbalancer)
requirements:
  - iptables 1.8.0 or newer on the node
extends_documentation_fragment:
  - homelab.loadbalancer.attributes
  - homelab.loadbalancer.balancer
  - homelab.loadbalancer.iptables
  - homelab.loadbalancer.services
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
    details:
      - Shows each changed chain in the format of C(iptables-save), before and after.
  idempotent:
    support: full
options:
  layout:
    description:
      - V(kube-proxy) makes the same chains as kube-proxy, one for each service and one for each endpoint.
      - V(compact) makes chains that many services share, chosen by the services' addresses. A packet traverses few
        rules, and the nft backend loads them fast. Connections between the endpoints of one service are always
        masqueraded, whatever O(masquerade) says.
      - V(auto) is V(kube-proxy) for up to 100 services of an address family, and V(compact) for more.
      - V(minimal) makes one DNAT and one MASQUERADE rule for each service, as an administrator would write them. It
        supports one endpoint for each service, and no other features.
    type: str
    choices: [auto, kube-proxy, compact, minimal]
    default: auto
notes:
  - For C(session_affinity), the kernel remembers 100 clients of each endpoint, unless its module xt_recent is loaded
    with a higher C(ip_list_tot).
  - With O(pod_cidr) or O(masquerade=false), the bit below O(masquerade_mark) marks packets to services, which may be
    forwarded.
seealso:
  - module: homelab.loadbalancer.iptables_chains
  - module: homelab.loadbalancer.virtual_address
"""

EXAMPLES = r"""
- name: Balance two pods behind one address, the second with twice the connections
  homelab.loadbalancer.iptables_services:
    services:
      - name: web
        address: 192.168.10.100
        port: 80
        endpoints:
          - {address: 192.168.20.20, port: 8080}
          - {address: 192.168.20.21, port: 8080, weight: 2}
    isolate:
      - {from: eth0, to: eth1}

- name: Keep each client on its endpoint for ten minutes, and admit only the office network
  homelab.loadbalancer.iptables_services:
    services:
      - name: shop
        address: fd00:10::100
        port: 443
        endpoints: [{address: 'fd00:20::20'}, {address: 'fd00:20::21'}]
        session_affinity: {timeout: 600}
        source_ranges: [fd00:10::/64]

- name: Put the addresses on a link too, forward packets, and restore everything at boot
  homelab.loadbalancer.iptables_services:
    services: "{{ lb_services }}"
    interface: eth0
    sysctls: {net.ipv4.ip_forward: 1}
    boot_path: /etc/homelab-loadbalancer

- name: Remove all services
  homelab.loadbalancer.iptables_services:
    state: absent
"""

RETURN = r"""
missing:
  description: Packages that are missing on the node. Also returned if the module fails because of them.
  returned: success
  type: list
  elements: str
iptables:
  description: The commands that were used, with their versions and backends.
  returned: when the packages are installed
  type: list
  elements: str
  sample: ["iptables v1.8.9 (nf_tables)", "ip6tables v1.8.9 (nf_tables)"]
backend:
  description: The backend that was used.
  returned: when the packages are installed
  type: str
  sample: nft
others:
  description:
    - Other data planes that have services with the same O(prefix) on the node. The role
      P(homelab.loadbalancer.iptables_lb#role) removes these after its own are in place.
    - iptables and IPVS share their chains. Between them, remove the services by the old module first.
  returned: success
  type: list
  elements: str
  sample: [nftables]
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
from ..module_utils._iptables.layout import LAYOUTS
from ..module_utils._iptables.run import COMMON_ARGUMENTS
from ..module_utils._iptables.services import plan_rules
from ..module_utils._services import sockets as node_sockets
from ..module_utils._services.model import SERVICES_ARGUMENTS

ARGUMENTS = {
    **SERVICES_ARGUMENTS,
    **node_sockets.ARGUMENTS,
    **COMMON_ARGUMENTS,
    **BALANCER_ARGUMENTS,
    "layout": {"type": "str", "choices": list(LAYOUTS), "default": "auto"},
}


def main() -> None:
    run_module(NodeModule(argument_spec=ARGUMENTS), plan_rules, "iptables")


if __name__ == "__main__":
    main()
