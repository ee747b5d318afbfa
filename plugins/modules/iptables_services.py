#!/usr/bin/python
# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: iptables_services
short_description: Load-balanced services by iptables
version_added: 0.1.0
description:
  - Declares every load-balanced service of a node, IPv4 and IPv6, and carries them with iptables as kube-proxy does.
  - Connections to a service's address and port go to one of its endpoints, by chance and in proportion to the
    endpoints' weights; from other hosts and from the node itself.
  - All of it lands in one transaction a family or none of it does. Rules, chains and policies of others stay as they
    are. Ten thousand services are carried as well as ten.
  - Does not put the addresses on a link, nor make the node forward packets. The role
    P(homelab.loadbalancer.iptables_lb#role) does both.
author:
  - The homelab.loadbalancer authors (@homelab-loadbalancer)
requirements:
  - iptables 1.8.0 or newer on the node
extends_documentation_fragment:
  - homelab.loadbalancer.attributes
  - homelab.loadbalancer.iptables
  - homelab.loadbalancer.services
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
    details:
      - Shows each chain that changes as C(iptables-save) would, before and after.
  idempotent:
    support: full
options:
  layout:
    description:
      - With V(kube-proxy) there are kube-proxy's chains, one a service and one an endpoint.
      - With V(compact) many services share chains that are chosen by their addresses, so that packets meet few rules
        and the nft backend loads them fast. Connections between the endpoints of one service are masqueraded
        there, whatever O(masquerade) says.
      - With V(auto) it is V(kube-proxy) for up to 100 services a family and V(compact) for more.
      - With V(minimal) there is one DNAT and one MASQUERADE rule for each service, as one would write them by hand.
        Services have one endpoint and no extras then.
    type: str
    choices: [auto, kube-proxy, compact, minimal]
    default: auto
notes:
  - For C(session_affinity) the kernel remembers 100 clients an endpoint unless its module xt_recent is loaded with a
    higher C(ip_list_tot).
  - With O(pod_cidr), or without O(masquerade), the bit below O(masquerade_mark) says that a packet is a service's and
    may be forwarded.
seealso:
  - module: homelab.loadbalancer.iptables_chains
  - module: homelab.loadbalancer.virtual_address
"""

EXAMPLES = r"""
- name: Two pods behind one address, the second with twice the connections
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

- name: A client stays with its endpoint for ten minutes, and only the office may connect
  homelab.loadbalancer.iptables_services:
    services:
      - name: shop
        address: fd00:10::100
        port: 443
        endpoints: [{address: 'fd00:20::20'}, {address: 'fd00:20::21'}]
        session_affinity: {timeout: 600}
        source_ranges: [fd00:10::/64]

- name: Stop carrying services
  homelab.loadbalancer.iptables_services:
    state: absent
"""

RETURN = r"""
iptables:
  description: The commands that were used, with their versions and backends.
  returned: success
  type: list
  elements: str
  sample: ["iptables v1.8.9 (nf_tables)", "ip6tables v1.8.9 (nf_tables)"]
backend:
  description: The backend that was used.
  returned: success
  type: str
  sample: nft
conntrack_deleted:
  description:
    - How many entries of connection tracking were deleted after the rules were in, or would be in check mode. They are
      those of UDP clients to a service's address and port, or its node port, whose packets did not go to one of its
      endpoints of now. A client that never pauses would be stuck with them.
    - They are no part of the declared state, so a task that only deletes some is not C(changed).
  returned: success
  type: int
  sample: 2
boot:
  description:
    - Commands by which a boot brings the state in O(save_to) back, as C(ExecStart) of a systemd unit takes them. Those
      with a hyphen before them may fail; they take out jumps that are there already.
  returned: success
  type: list
  elements: str
  sample:
    - -iptables --wait 30 -t nat -D PREROUTING -j LB-SERVICES
    - iptables-restore --noflush --wait 30 /etc/homelab-loadbalancer/rules.v4
"""

from typing import Any

from ..module_utils._common.module import NodeModule
from ..module_utils._iptables.input import parse_options
from ..module_utils._iptables.layout import LAYOUTS, layout
from ..module_utils._iptables.node import find_iptables
from ..module_utils._iptables.run import COMMON_ARGUMENTS, Declaration, run_module
from ..module_utils._services import sockets as node_sockets
from ..module_utils._services.conntrack import fronts_of
from ..module_utils._services.model import SERVICES_ARGUMENTS, read_services

ARGUMENTS = {
    **SERVICES_ARGUMENTS,
    "layout": {"type": "str", "choices": list(LAYOUTS), "default": "auto"},
    **node_sockets.ARGUMENTS,
    **COMMON_ARGUMENTS,
}


def declare(options: dict[str, Any]) -> list[Declaration]:
    """The wanted state of both families."""
    services, state = read_services(options), options["state"]
    node_sockets.refuse_taken(services, options)
    declarations = []
    for family, common in parse_options(options).items():
        # Isolation holds for both families: a barrier with a way round it is none.
        present = state == "present" and (common.isolate or any(s.family == family for s in services))
        folder = options["save_to"]
        declarations.append(
            Declaration(
                find_iptables(family, options["backend"], options["wait"], common.prefix, state == "present"),
                common.prefix,
                layout(services, family, common) if present else {},
                "%s/rules.%s" % (folder, {"ipv4": "v4", "ipv6": "v6"}[family]) if folder else "",
                proven=True,
                fronts=fronts_of(services, family) if present else {},
            )
        )
    return declarations


def main() -> None:
    run_module(NodeModule(argument_spec=ARGUMENTS), declare)


if __name__ == "__main__":
    main()
