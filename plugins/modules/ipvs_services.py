#!/usr/bin/python
# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: ipvs_services
short_description: Load-balanced services by IPVS
version_added: 0.2.0
description:
  - Declares all IPv4 and IPv6 load-balanced services of a node, and implements them with IPVS as kube-proxy does in its
    ipvs mode. Each service has a virtual server. A few iptables rules match the services' addresses and ports with
    ipsets.
  - Either all changes to sets, rules and virtual servers take effect, or none does. Other sets, rules and virtual
    servers stay unchanged. The module owns a virtual server if its address and port are in the set C(LB-CLUSTER-IP).
  - The same task can put the services' addresses on a link, load kernel modules, set kernel parameters, and restore
    everything at boot. If one of these changes fails, all of them are undone.
author:
  - The homelab.loadbalancer authors (@homelab-loadbalancer)
requirements:
  - iptables 1.8.0 or newer and ipset on the node
  - a kernel with IPVS (module ip_vs)
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
      - Shows the changes in the formats of C(ipset save), C(iptables-save) and C(ipvsadm -Sn), before and after.
  idempotent:
    support: full
options:
  layout:
    description:
      - With V(full), an endpoint can reach itself through the service, source ranges are enforced, and packets to a
        service pass the rules of the node's INPUT chain.
      - V(minimal) makes one set, and only the rules that IPVS needs to masquerade, as an administrator would write
        them. It does not support node ports and source ranges.
    type: str
    choices: [full, minimal]
    default: full
  scheduler:
    description: The scheduler of all services, by its name in ipvsadm(8).
    type: str
    default: wrr
  schedulers:
    description: Different schedulers for some services, a mapping of service names to schedulers.
    type: dict
    default: {}
  drain:
    description:
      - How many seconds the connections of an undeclared endpoint may continue. The endpoint gets no new connections.
        The module waits, and removes it when it has no connections left or the time is over.
      - Endpoints of UDP services are removed at once.
    type: int
    default: 0
  preserve_weights:
    description: Whether existing endpoints keep their weights.
    type: bool
    default: false
  virtual_servers:
    description:
      - Whether to manage the virtual servers too. With V(false), the module changes none of them, and another program
        must create them, such as keepalived.
    type: bool
    default: true
notes:
  - IPVS calls C(session_affinity) persistence.
  - A C(node_port) is only available on the addresses that the node has during the run.
seealso:
  - module: homelab.loadbalancer.ipset
  - module: homelab.loadbalancer.ipvs
  - module: homelab.loadbalancer.iptables_services
"""

EXAMPLES = r"""
- name: Balance two pods behind one address, the second with twice the connections
  homelab.loadbalancer.ipvs_services:
    services:
      - name: web
        address: 10.254.10.128
        port: 80
        endpoints:
          - {address: 10.244.2.2, port: 8080}
          - {address: 10.244.1.3, port: 8080, weight: 2}

- name: Remove a pod, and give its connections up to five minutes to end
  homelab.loadbalancer.ipvs_services:
    services:
      - name: web
        address: 10.254.10.128
        port: 80
        endpoints: [{address: 10.244.2.2, port: 8080}]
    drain: 300

- name: Put the addresses on a dummy link too, and restore everything at boot
  homelab.loadbalancer.ipvs_services:
    services: "{{ lb_services }}"
    interface: lb-ipvs0
    dummy: true
    kernel_modules: [ip_vs, ip_vs_wrr, nf_conntrack, dummy]
    sysctls: {net.ipv4.vs.conntrack: 1, net.ipv4.ip_forward: 1}
    boot_path: /etc/homelab-loadbalancer

- name: Remove all services
  homelab.loadbalancer.ipvs_services:
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
  description: The backend of iptables that was used.
  returned: when the packages are installed
  type: str
  sample: nft
others:
  description:
    - Other data planes that have services with the same O(prefix) on the node. The role
      P(homelab.loadbalancer.ipvs_lb#role) removes these after its own are in place.
    - iptables and IPVS share their chains. Between them, remove the services by the old module first.
  returned: success
  type: list
  elements: str
  sample: [nftables]
conntrack_deleted:
  description:
    - Number of connection tracking entries that were deleted after the services were in place, or would be in check
      mode. These are entries of UDP clients that sent packets to a service before it existed. Without the deletion,
      their packets would not be masqueraded.
    - The entries are not part of the declared state, so a task that only deletes entries is not C(changed).
  returned: success
  type: int
  sample: 2
"""

from ..module_utils._balancer.input import BALANCER_ARGUMENTS
from ..module_utils._balancer.run import run_module
from ..module_utils._common.module import NodeModule
from ..module_utils._iptables.run import COMMON_ARGUMENTS
from ..module_utils._ipvs.layout import LAYOUTS
from ..module_utils._ipvs.services import plan_rules
from ..module_utils._services import sockets as node_sockets
from ..module_utils._services.model import SERVICES_ARGUMENTS

ARGUMENTS = {
    **SERVICES_ARGUMENTS,
    **node_sockets.ARGUMENTS,
    **COMMON_ARGUMENTS,
    **BALANCER_ARGUMENTS,
    "layout": {"type": "str", "choices": list(LAYOUTS), "default": "full"},
    "scheduler": {"type": "str", "default": "wrr"},
    "schedulers": {"type": "dict", "default": {}},
    "drain": {"type": "int", "default": 0},
    "preserve_weights": {"type": "bool", "default": False},
    "virtual_servers": {"type": "bool", "default": True},
}


def main() -> None:
    run_module(NodeModule(argument_spec=ARGUMENTS), plan_rules, "ipvs")


if __name__ == "__main__":
    main()
