#!/usr/bin/python
# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: ipvs
short_description: Own virtual servers of IPVS with all their real servers
version_added: 0.2.0
description:
  - Declares virtual servers of the kernel's load balancer IPVS, each with the whole list of its real servers.
  - Communicates with the kernel directly over netlink, so nothing has to be installed on the node. Thousands of
    virtual servers take about a second.
  - Other virtual servers stay unchanged. If the kernel refuses a change, the earlier changes are undone.
  - Changes virtual servers in place. New real servers are added before old ones are removed, so that no connection is
    refused.
  - Does not add addresses to a link, does not enable forwarding, and does not translate source addresses.
author:
  - The homelab.loadbalancer authors (@homelab-loadbalancer)
requirements:
  - A kernel with IPVS on the node. If necessary, IPVS is loaded. Debian's cloud kernel does not have it.
extends_documentation_fragment:
  - homelab.loadbalancer.attributes
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
    details:
      - Shows each changed virtual server in the format of C(ipvsadm -Sn), before and after. Thresholds are included,
        although C(ipvsadm) omits them.
  idempotent:
    support: full
options:
  virtual_servers:
    description:
      - The virtual servers, each with all of its real servers. A key that is left out is set to its default.
      - C(address) - the virtual address (VIP), IPv4 or IPv6.
      - C(port) - its port. V(0) is all ports, and needs a C(persistence_timeout).
      - C(protocol) - V(tcp) (the default), V(udp) or V(sctp).
      - C(mark) - instead of address, port and protocol, the firewall mark of the packets, from 1 to 4294967295.
      - C(family) - with C(mark), the address family of the packets, V(ipv4) (the default) or V(ipv6).
      - C(scheduler) - the name of its scheduler, such as V(rr), V(wrr), V(lc), V(wlc) (the default), V(sh), V(mh),
        V(sed), V(nq), V(fo) or V(ovf). A scheduler that the node's kernel does not have is refused.
      - C(flags) - a list of flags of the scheduler, V(sh-fallback) and V(sh-port) with V(sh), V(mh-fallback) and
        V(mh-port) with V(mh). V(flag-1) to V(flag-3) are the same bits for any scheduler.
      - C(one_packet) - whether each packet is scheduled separately, for UDP or a mark. The default is V(false).
      - C(persistence_timeout) - how many seconds a client stays with its real server after its last connection. The
        default V(0) turns persistence off.
      - C(persistence_netmask) - a netmask or prefix length. Clients of the same network stay together. By default,
        each client is separate.
      - C(persistence_engine) - an additional way to distinguish clients, V(sip) with UDP.
      - C(real_servers) - a list of real servers with the following keys.
      - C(real_servers[].address) - the address of the real server.
      - C(real_servers[].port) - its port, by default that of the virtual server. A different port needs V(masquerade).
      - C(real_servers[].forward) - the forwarding method. V(masquerade) (the default) translates the destination of
        packets, and replies must return through this node. V(direct) sends packets unchanged to the real server's
        link-layer address. V(tunnel) encapsulates them in IP, which can be of the other address family.
      - C(real_servers[].weight) - its share of connections relative to the others, up to 65535. The default is V(1).
        With V(0), it gets no new connections.
      - C(real_servers[].upper_threshold) - with this many connections, it gets no new ones. The default V(0) is no
        limit.
      - C(real_servers[].lower_threshold) - with fewer connections than this, it gets new ones again. The default V(0)
        is three quarters of the upper threshold.
    type: list
    elements: dict
    default: []
  virtual_servers_file:
    description:
      - A JSON file on the node with more entries for O(virtual_servers). It avoids Ansible's templating, which takes
        seconds for thousands of virtual servers.
    type: path
  scope:
    description:
      - Networks in which this task owns all virtual servers. Undeclared virtual servers with an address in them are
        removed. Without O(scope) and O(scope_marks), nothing is removed.
      - With a scope, all declared virtual servers must be in it. Otherwise they would never be removed.
    type: list
    elements: str
    default: []
  scope_marks:
    description:
      - Firewall marks for which this task owns all virtual servers, of both address families, such as V(7) or
        V(1-100).
    type: list
    elements: str
    default: []
  drain:
    description:
      - How many seconds the connections of a real server have to end before it is removed. The module sets its weight
        to 0, so that it gets no new connections, and removes it when it has none left. If some remain when the time is
        over, it removes the real server anyway and warns. The task waits once, for all real servers together.
      - The connections are those that C(ipvsadm -Ln) shows as active and inactive, and persistence entries. TCP
        connections that both sides have closed do not count, although C(ipvsadm) shows them for two more minutes. For
        a virtual server with a C(mark), they do count.
      - Also applies to the real servers of a virtual server to be removed. Real servers of UDP are removed at once,
        because UDP connections have no end.
      - The schedulers V(sh) and V(dh) refuse the clients of a server with weight 0. Use V(mh), or C(sh-fallback).
      - A persistent client returns to a real server with weight 0, unless the sysctl
        C(net.ipv4.vs.expire_quiescent_template) is 1.
    type: int
    default: 0
  preserve_weights:
    description:
      - Whether existing real servers keep their weights, for example because a health checker sets them. New real
        servers get the declared weight.
    type: bool
    default: false
  state:
    description:
      - V(absent) removes the declared virtual servers and those in the scope.
    type: str
    choices: [present, absent]
    default: present
  save_to:
    description:
      - An existing folder on the node. The module stores the declared virtual servers in its file C(ipvs.rules), in the
        syntax of C(ipvsadm -Sn), and removes the file if there are none. It does not configure the boot to load it.
    type: path
notes:
  - Virtual servers last until the next boot.
"""

EXAMPLES = r"""
- name: Balance two web servers behind one address, the second with twice the connections
  homelab.loadbalancer.ipvs:
    virtual_servers:
      - address: 10.254.10.128
        port: 80
        scheduler: wrr
        real_servers:
          - {address: 10.244.2.2, port: 8080}
          - {address: 10.244.2.3, port: 8080, weight: 2}
  register: web

- name: Put their addresses on a link of the node
  homelab.loadbalancer.virtual_address:
    interface: ipvs0
    dummy: true
    addresses: "{{ web.addresses }}"

- name: Own all virtual servers of a network, and let connections end before removing a server
  homelab.loadbalancer.ipvs:
    scope: [10.254.0.0/16, 'fd00:254::/64']
    drain: 120
    virtual_servers:
      - address: 10.254.10.53
        port: 53
        protocol: udp
        one_packet: true
        real_servers: [{address: 10.244.2.2}, {address: 10.244.2.3}]
      - address: 'fd00:254::80'
        port: 443
        scheduler: mh
        flags: [mh-port]
        real_servers: [{address: 'fd00:244::2'}, {address: 'fd00:244::3'}]

- name: Keep each client on one server for all ports, with direct routing
  homelab.loadbalancer.ipvs:
    virtual_servers:
      - mark: 7
        persistence_timeout: 600
        real_servers:
          - {address: 10.254.10.2, forward: direct}
          - {address: 10.254.10.3, forward: direct}

- name: Remove all virtual servers in the scope
  homelab.loadbalancer.ipvs:
    scope: [10.254.0.0/16]
    scope_marks: ['7']
    state: absent
"""

RETURN = r"""
addresses:
  description:
    - The addresses of the declared virtual servers, in the form that M(homelab.loadbalancer.virtual_address) takes. The
      node must have them, otherwise IPVS gets no packets for them. Virtual servers with a C(mark) have no address.
  returned: success
  type: list
  elements: str
  sample: [10.254.10.128]
"""

from ..module_utils._common.command import CommandError
from ..module_utils._common.errors import InputError, NodeError
from ..module_utils._common.module import NodeModule
from ..module_utils._ipvs.run import converge


def main() -> None:
    module = NodeModule(
        argument_spec={
            "virtual_servers": {"type": "list", "elements": "dict", "default": []},
            "virtual_servers_file": {"type": "path"},
            "scope": {"type": "list", "elements": "str", "default": []},
            "scope_marks": {"type": "list", "elements": "str", "default": []},
            "drain": {"type": "int", "default": 0},
            "preserve_weights": {"type": "bool", "default": False},
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
            "save_to": {"type": "path"},
        },
    )
    try:
        result = converge(module.params, module.check_mode, module._diff)
    except PermissionError as error:
        module.fail_json(msg="IPVS needs root on the node (become: true): %s" % error)
    except (InputError, NodeError, CommandError, OSError) as error:
        module.fail_json(msg=str(error))
    for warning in result.pop("warnings"):
        module.warn(warning)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
