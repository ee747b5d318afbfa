#!/usr/bin/python
# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: ipvs_services
short_description: Load-balanced services by IPVS
version_added: 0.1.0
description:
  - Declares every load-balanced service of a node, IPv4 and IPv6, and carries them with IPVS as kube-proxy does in its
    ipvs mode. There is a virtual server for each service, and the services' addresses and ports stand in ipsets that a
    handful of iptables rules look at.
  - Sets, rules and virtual servers land together or not at all. What others have of them stays as it is; a virtual
    server is this module's when its address and port stand in the set C(LB-CLUSTER-IP).
  - Does not put the addresses on a link, nor set kernel parameters. The role P(homelab.loadbalancer.ipvs_lb#role) does
    both.
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
      - Shows what changes as C(ipset save), C(iptables-save) and C(ipvsadm -Sn) would, before and after.
  idempotent:
    support: full
options:
  layout:
    description:
      - With V(full) endpoints can reach themselves by way of the service, source ranges hold, and packets to a service
        pass the rules of the node's INPUT chain.
      - With V(minimal) there is one set, and the rules without which IPVS cannot masquerade, as one would write them by
        hand. Services have no node port and no source ranges then.
    type: str
    choices: [full, minimal]
    default: full
  scheduler:
    description: The scheduler of all services, as ipvsadm(8) lists them.
    type: str
    default: wrr
  schedulers:
    description: Other schedulers for some services, by their names.
    type: dict
    default: {}
  drain:
    description:
      - How many seconds the connections of an endpoint that is not declared any more may go on. It gets no new ones,
        and goes when it has none left, or when the time is over. The module waits for that.
      - Endpoints of UDP services go at once.
    type: int
    default: 0
  preserve_weights:
    description: Whether endpoints that are there already keep their weights.
    type: bool
    default: false
  virtual_servers:
    description:
      - Whether to make the virtual servers too. Without it none is touched, and somebody else makes them, such as
        keepalived.
    type: bool
    default: true
notes:
  - IPVS calls C(session_affinity) persistence.
  - A C(node_port) is one of the addresses that the node has during the run.
seealso:
  - module: homelab.loadbalancer.ipset
  - module: homelab.loadbalancer.ipvs
  - module: homelab.loadbalancer.iptables_services
"""

EXAMPLES = r"""
- name: Two pods behind one address, the second with twice the connections
  homelab.loadbalancer.ipvs_services:
    services:
      - name: web
        address: 10.254.10.128
        port: 80
        endpoints:
          - {address: 10.244.2.2, port: 8080}
          - {address: 10.244.1.3, port: 8080, weight: 2}

- name: Take a pod away without cutting a connection, for five minutes at most
  homelab.loadbalancer.ipvs_services:
    services:
      - name: web
        address: 10.254.10.128
        port: 80
        endpoints: [{address: 10.244.2.2, port: 8080}]
    drain: 300

- name: Stop carrying services
  homelab.loadbalancer.ipvs_services:
    state: absent
"""

RETURN = r"""
missing:
  description: Packages that the node lacks. Only in check mode, where something else may be going to install them.
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
    - How many entries of connection tracking were deleted after the services were in, or would be in check mode. They
      are those of UDP clients that sent to a service before it was there, and whose packets would not be masqueraded.
    - They are no part of the declared state, so a task that only deletes some is not C(changed).
  returned: when the packages are installed
  type: int
  sample: 2
boot:
  description:
    - Commands by which a boot brings the state in O(save_to) back, as C(ExecStart) of a systemd unit takes them. Those
      with a hyphen before them may fail; they take out jumps that are there already.
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
    """What is declared, checked as far as it can be without the node's tools."""
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
            # Something else is going to install them: all that can be known now is that the options are in order.
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
