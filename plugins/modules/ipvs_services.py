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
  - Does not add the addresses to a link, and does not set kernel parameters. The role
    P(homelab.loadbalancer.ipvs_lb#role) does both.
author:
  - The homelab.loadbalancer authors (@homelab-loadbalancer)
requirements:
  - iptables 1.8.0 or newer and ipset on the node
  - a kernel with IPVS (module ip_vs)
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

- name: Remove all services
  homelab.loadbalancer.ipvs_services:
    state: absent
"""

RETURN = r"""
missing:
  description: Packages that are missing on the node. In check mode, an earlier task of a real run may install them.
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
conntrack_deleted:
  description:
    - Number of connection tracking entries that were deleted after the services were in place, or would be in check
      mode. These are entries of UDP clients that sent packets to a service before it existed. Without the deletion,
      their packets would not be masqueraded.
    - The entries are not part of the declared state, so a task that only deletes entries is not C(changed).
  returned: when the packages are installed
  type: int
  sample: 2
boot:
  description:
    - Commands that restore the state in O(save_to) at boot, in the syntax of C(ExecStart) of a systemd unit. Commands
      that begin with a hyphen may fail. They remove jumps that already exist.
  returned: success
  type: list
  elements: str
  sample: ["ipset -exist -file /etc/homelab-loadbalancer/ipset.rules restore"]
"""

from typing import Any

from ..module_utils._common.command import CommandError
from ..module_utils._common.errors import InputError, NodeError, named
from ..module_utils._common.module import NodeModule
from ..module_utils._iptables.input import parse_options
from ..module_utils._iptables.layout import Options
from ..module_utils._iptables.run import COMMON_ARGUMENTS, with_forgotten
from ..module_utils._ipvs.kernel import NoIpvsError
from ..module_utils._ipvs.layout import LAYOUTS
from ..module_utils._ipvs.plan import ChangeError
from ..module_utils._ipvs.services import Node, Settings, missing_packages, refuse_left
from ..module_utils._services import sockets as node_sockets
from ..module_utils._services.model import SERVICES_ARGUMENTS, Service, read_services

ARGUMENTS = {
    **SERVICES_ARGUMENTS,
    "layout": {"type": "str", "choices": list(LAYOUTS), "default": "full"},
    "scheduler": {"type": "str", "default": "wrr"},
    "schedulers": {"type": "dict", "default": {}},
    "drain": {"type": "int", "default": 0},
    "preserve_weights": {"type": "bool", "default": False},
    "virtual_servers": {"type": "bool", "default": True},
    **node_sockets.ARGUMENTS,
    **COMMON_ARGUMENTS,
}


def parse(params: dict[str, Any]) -> tuple[list[Service], dict[str, Options], Settings]:
    """The declared services, the options of each family and the settings, validated without the node's tools."""
    if params["drain"] < 0:
        raise InputError("drain %d is not a number of seconds" % params["drain"])
    services, options = read_services(params), parse_options(params)
    if params["state"] == "absent":
        services, options = [], {family: each._replace(isolate=()) for family, each in options.items()}
    settings = Settings(**{name: params[name] for name in Settings._fields if name in params})
    return services, options, settings._replace(manage=params["virtual_servers"], folder=params["save_to"] or "")


def main() -> None:
    module = NodeModule(argument_spec=ARGUMENTS)
    params, diff = module.params, module._diff
    missing = missing_packages()
    try:
        declared = parse(params)
        node_sockets.refuse_taken(declared[0], params)
        if missing and (params["state"] == "absent" or module.check_mode):
            # In check mode, an earlier task of a real run may install them. Only the options can be checked now.
            if params["state"] == "absent":
                refuse_left(missing, params["prefix"], declared[2])
            else:
                module.warn("These packages are not installed: %s. Nothing more can be predicted" % ", ".join(missing))
            module.exit_json(
                changed=params["state"] == "present", missing=missing, boot=[], **({"diff": []} if diff else {})
            )
        node = Node(*declared, module.check_mode or diff)
        result = {**node.result(), **({"diff": node.diff()} if diff else {})}
        if not module.check_mode:
            for word in node.apply():
                module.warn(word)
        result = with_forgotten(result, node.forget_stale(module.check_mode))
    except (InputError, NodeError, NoIpvsError, ChangeError, CommandError, OSError) as error:
        module.fail_json(msg=named(error, params["variables"]))
    for warning in result.pop("warnings"):
        module.warn(warning)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
