#!/usr/bin/python
# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: keepalived_vips
short_description: Have keepalived move the addresses of services between directors
version_added: 0.1.0
description:
  - Writes keepalived's configuration for the virtual addresses (VIPs) of load-balanced services. By VRRP version 3 one
    of several directors holds them all, and another one takes them over when it fails.
  - With O(health_check) keepalived carries the services by IPVS as well, and takes out the real servers that fail.
  - Our part is a file of its own, beside O(config), which gets one marked block that includes it and stays as it is
    otherwise.
  - The configuration as a whole is tried by C(keepalived --config-test) first. What it refuses is not written.
  - Does not start or reload keepalived. The role P(homelab.loadbalancer.vip_failover#role) does, by RV(unread).
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
      - Where keepalived is not installed yet, it cannot be asked about its configuration, and there is a warning.
  diff_mode:
    support: full
  idempotent:
    support: full
options:
  interface:
    description:
      - The link to the clients. It gets the VIPs, and the directors hear of each other on it. Needed with
        O(state=present).
    type: str
  services:
    description:
      - The services, as the option O(homelab.loadbalancer.iptables_services#module:services) describes them. Their
        addresses are the VIPs. Without services there is nothing to configure.
    type: list
    elements: dict
    default: []
  router_id:
    description:
      - The number of this virtual router (VRID), 1 to 255. The same on all directors of these VIPs, and no one else's
        on the link.
    type: int
    default: 51
  priority:
    description:
      - Who is the master, 1 to 254. The highest wins. Different on each director.
    type: int
    default: 100
  advert_interval:
    description:
      - Seconds between advertisements, 0.01 to 40. The same on all directors. A director that is gone is missed after
        three to four intervals.
    type: float
    default: 1.0
  preempt:
    description:
      - Whether a director with a higher priority takes the VIPs from one that has them. Each move breaks connections,
        so by default whoever has them keeps them.
    type: bool
    default: false
  preempt_delay:
    description:
      - With O(preempt), how many seconds a director that has come up waits before it does.
    type: int
    default: 0
  unicast_peers:
    description:
      - Addresses of the directors, for networks without multicast. Advertisements go to each of them. This
        node's own may be among them.
    type: list
    elements: str
    default: []
  track_interfaces:
    description:
      - More links that must be up. A director gives the VIPs away when one of them goes down, as it does for
        O(interface).
    type: list
    elements: str
    default: []
  health_check:
    description:
      - Have keepalived carry the services by IPVS, and check each endpoint of tcp services in this way. For udp it
        finds out whether the port refuses. Those of sctp are not checked.
    type: dict
    suboptions:
      type:
        description:
          - What an endpoint has to answer, a connection or a request for O(health_check.path).
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
          - The HTTP codes that mean alive, single ones and ranges, separated by spaces.
        type: str
        default: 200-299
      interval:
        description:
          - Seconds between two checks.
        type: float
        default: 5
      timeout:
        description:
          - Seconds to wait for an answer, and between a failed check and its repetition.
        type: float
        default: 2
      retries:
        description:
          - How often to repeat a failed check before the endpoint is taken out.
        type: int
        default: 1
  scheduler:
    description:
      - How IPVS chooses a real server, with O(health_check).
    type: str
    choices: [rr, wrr, lc, wlc, sh, mh, dh, fo, ovf, lblc, lblcr, sed, nq]
    default: wrr
  forward:
    description:
      - How IPVS forwards to a real server, with O(health_check). With V(direct) the real servers hold the VIPs on a
        link of their own that does not answer for them, and listen on the services' ports.
    type: str
    choices: [masquerade, direct]
    default: masquerade
  config:
    description:
      - keepalived's main configuration. It is made where there is none, and removed with O(state=absent) when nothing
        else is left in it.
    type: path
    default: /etc/keepalived/keepalived.conf
  prefix:
    description:
      - What the names of the variables that these options come from begin with, for error messages.
    type: str
    default: ''
  state:
    description:
      - With V(absent) our file and the block that includes it are not there.
    type: str
    choices: [present, absent]
    default: present
"""

EXAMPLES = r"""
- name: Share the VIPs between the directors
  homelab.loadbalancer.keepalived_vips:
    interface: eth0
    services: "{{ lb_services }}"
    router_id: 51
    priority: "{{ 150 if inventory_hostname == 'director1' else 100 }}"

- name: Leave the balancing to keepalived, too
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
    - A file that is there as long as keepalived has not read a change, of this run or of an earlier one that was cut
      short. To be removed when keepalived has been reloaded or stopped. Empty where there is none.
  returned: success
  type: str
  sample: /etc/keepalived/homelab-loadbalancer.unread
installed:
  description: Whether the node has keepalived.
  returned: success
  type: bool
configured:
  description: Whether keepalived has a configuration now, of ours or of others.
  returned: success
  type: bool
vips:
  description: The addresses that move.
  returned: success
  type: list
  elements: str
  sample: [192.168.10.100, 'fd00:10::100']
"""

from ..module_utils._common.command import CommandError
from ..module_utils._common.errors import InputError
from ..module_utils._common.module import NodeModule
from ..module_utils._ipvs.kernel import NoIpvsError
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
    except (InputError, NoIpvsError, CommandError, OSError) as error:
        module.fail_json(msg=str(error))
    for warning in result.pop("warnings"):
        module.warn(warning)
    if not module._diff:
        del result["diff"]
    module.exit_json(**result)


if __name__ == "__main__":
    main()
