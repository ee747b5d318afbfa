#!/usr/bin/python
# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: keepalived_vips
short_description: Have keepalived move the addresses of services between directors
version_added: 0.2.0
description:
  - Writes keepalived's configuration for the virtual addresses (VIPs) of load-balanced services. One of several
    directors holds all VIPs. If it fails, another one takes them over, with VRRP version 3.
  - With O(health_check), keepalived also balances the services with IPVS, and removes failing real servers.
  - The module writes its own file next to O(config). It adds one marked block to O(config) that includes this file,
    and changes nothing else in it.
  - Before it writes anything, the module tests the whole configuration with C(keepalived --config-test). It does not
    write a configuration that fails the test.
  - Does not start or reload keepalived. The role P(homelab.loadbalancer.vip_failover#role) does, based on RV(unread).
author:
  - The homelab.loadbalancer authors (@homelab-loadbalancer)
requirements:
  - keepalived 2.2 or newer on the node
  - iproute2 4.20 or newer on the node
extends_documentation_fragment:
  - homelab.loadbalancer.attributes
attributes:
  check_mode:
    support: full
    details:
      - If keepalived is not installed yet, its configuration cannot be tested, and the module warns.
  diff_mode:
    support: full
  idempotent:
    support: full
options:
  interface:
    description:
      - The link to the clients. It gets the VIPs, and the directors exchange advertisements on it. Required for
        O(state=present).
    type: str
  services:
    description:
      - The services, in the format of the option O(homelab.loadbalancer.iptables_services#module:services). Their
        addresses are the VIPs. Without services, there is nothing to configure.
    type: list
    elements: dict
    default: []
  router_id:
    description:
      - The number of this virtual router (VRID), 1 to 255. It must be the same on all directors of these VIPs, and no
        other virtual router on the link may use it.
    type: int
    default: 51
  priority:
    description:
      - The priority of this director, 1 to 254. The director with the highest priority becomes the master. Use a
        different value on each director.
    type: int
    default: 100
  advert_interval:
    description:
      - Seconds between advertisements, 0.01 to 40. It must be the same on all directors. The others detect a failed
        director after three to four intervals.
    type: float
    default: 1.0
  preempt:
    description:
      - Whether a director with a higher priority takes the VIPs over from the current master. Each move breaks
        connections, so by default the current master keeps them.
    type: bool
    default: false
  preempt_delay:
    description:
      - With O(preempt), how many seconds a director waits after its start before it takes the VIPs over.
    type: int
    default: 0
  unicast_peers:
    description:
      - Addresses of the directors, for networks without multicast. This director sends advertisements to each of them.
        The list may contain this node's own address.
    type: list
    elements: str
    default: []
  track_interfaces:
    description:
      - Additional links that must be up. If one of them or O(interface) goes down, the director releases the VIPs.
    type: list
    elements: str
    default: []
  health_check:
    description:
      - Have keepalived balance the services with IPVS, and check the endpoints. These options apply to tcp services.
        For udp, keepalived checks whether the port refuses packets. Endpoints of sctp services are not checked.
    type: dict
    suboptions:
      type:
        description:
          - The check. V(tcp) connects to the endpoint. V(http) and V(https) request O(health_check.path).
        type: str
        choices: [tcp, http, https]
        default: tcp
      path:
        description:
          - The path of the request.
        type: str
        default: /
      status:
        description:
          - The HTTP status codes of a healthy endpoint, single codes and ranges, separated by spaces.
        type: str
        default: 200-299
      interval:
        description:
          - Seconds between checks.
        type: float
        default: 5
      timeout:
        description:
          - Seconds to wait for an answer, and to wait before repeating a failed check.
        type: float
        default: 2
      retries:
        description:
          - How often to repeat a failed check before the endpoint is removed from the service.
        type: int
        default: 1
  scheduler:
    description:
      - With O(health_check), the scheduler by which IPVS chooses a real server.
    type: str
    choices: [rr, wrr, lc, wlc, sh, mh, dh, fo, ovf, lblc, lblcr, sed, nq]
    default: wrr
  forward:
    description:
      - With O(health_check), the method by which IPVS forwards packets to a real server. For V(direct), each real
        server must have the VIPs on a link that does not answer ARP or neighbour discovery for them, and must listen on
        the services' ports.
    type: str
    choices: [masquerade, direct]
    default: masquerade
  config:
    description:
      - keepalived's main configuration file. The module creates it if it does not exist. With O(state=absent), the
        module removes it if nothing else is left in it.
    type: path
    default: /etc/keepalived/keepalived.conf
  prefix:
    description:
      - Prefix of option names in error messages. A role sets it to the prefix of its variables.
    type: str
    default: ''
  state:
    description:
      - V(absent) removes the module's file and the block that includes it.
    type: str
    choices: [present, absent]
    default: present
"""

EXAMPLES = r"""
- name: Share the VIPs between directors
  homelab.loadbalancer.keepalived_vips:
    interface: eth0
    services: "{{ lb_services }}"
    router_id: 51
    priority: "{{ 150 if inventory_hostname == 'director1' else 100 }}"

- name: Have keepalived also balance and check the services
  homelab.loadbalancer.keepalived_vips:
    interface: eth0
    services: "{{ lb_services }}"
    health_check: {type: http, path: /healthz, interval: 2}
"""

RETURN = r"""
files:
  description: The files that were written or removed, or would be in check mode.
  returned: success
  type: list
  elements: str
  sample: [/etc/keepalived/keepalived.conf, /etc/keepalived/homelab-loadbalancer.conf]
unread:
  description:
    - A marker file that exists while keepalived has not read a change, made by this run or by an earlier interrupted
      run. Remove it after keepalived has been reloaded or stopped. Empty if there is no such file.
  returned: success
  type: str
  sample: /etc/keepalived/homelab-loadbalancer.unread
installed:
  description: Whether keepalived is installed on the node.
  returned: success
  type: bool
configured:
  description: Whether keepalived has a configuration now, from this module or another source.
  returned: success
  type: bool
vips:
  description: The virtual addresses that keepalived moves between the directors.
  returned: success
  type: list
  elements: str
  sample: [192.168.10.100, 'fd00:10::100']
"""

from ..module_utils._common.command import CommandError
from ..module_utils._common.errors import InputError, NodeError
from ..module_utils._common.module import NodeModule
from ..module_utils._keepalived.node import converge
from ..module_utils._keepalived.plan import SCHEDULERS, parse

HEALTH_CHECK = {
    "type": {"type": "str", "choices": ["tcp", "http", "https"], "default": "tcp"},
    "path": {"type": "str", "default": "/"},
    "status": {"type": "str", "default": "200-299"},
    "interval": {"type": "float", "default": 5},
    "timeout": {"type": "float", "default": 2},
    "retries": {"type": "int", "default": 1},
}


def main() -> None:
    module = NodeModule(
        argument_spec={
            "interface": {"type": "str"},
            "services": {"type": "list", "elements": "dict", "default": []},
            "router_id": {"type": "int", "default": 51},
            "priority": {"type": "int", "default": 100},
            "advert_interval": {"type": "float", "default": 1.0},
            "preempt": {"type": "bool", "default": False},
            "preempt_delay": {"type": "int", "default": 0},
            "unicast_peers": {"type": "list", "elements": "str", "default": []},
            "track_interfaces": {"type": "list", "elements": "str", "default": []},
            "health_check": {"type": "dict", "options": HEALTH_CHECK},
            "scheduler": {"type": "str", "choices": list(SCHEDULERS), "default": "wrr"},
            "forward": {"type": "str", "choices": ["masquerade", "direct"], "default": "masquerade"},
            "config": {"type": "path", "default": "/etc/keepalived/keepalived.conf"},
            "prefix": {"type": "str", "default": ""},
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
        },
        required_if=[("state", "present", ["interface"])],
    )
    options = module.params
    try:
        want = parse(options) if options["state"] == "present" else None
        result = converge(want, options["config"], module.check_mode)
    except (InputError, NodeError, CommandError, OSError) as error:
        module.fail_json(msg=str(error))
    for warning in result.pop("warnings"):
        module.warn(warning)
    if not module._diff:
        del result["diff"]
    module.exit_json(**result)


if __name__ == "__main__":
    main()
