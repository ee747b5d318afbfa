#!/usr/bin/python
# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: ipvs
short_description: Own virtual servers of IPVS with all their real servers
version_added: 0.1.0
description:
  - Declares virtual servers of the kernel's load balancer IPVS, each with the whole list of its real servers.
  - Speaks with the kernel itself, by netlink, so that nothing has to be installed on the node. Thousands of virtual
    servers are a matter of a second.
  - Virtual servers of others stay as they are. When the kernel refuses a change, those before it are taken back.
  - Changes are made in place and in an order in which no connection is refused, that is, real servers come before
    others go.
  - Does not put addresses on a link, nor make the node forward packets or translate their sources.
author:
  - The homelab.loadbalancer authors (@homelab-loadbalancer)
requirements:
  - A kernel with IPVS on the node. It is loaded if need be. Debian's cloud kernel has none.
extends_documentation_fragment:
  - homelab.loadbalancer.attributes
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
    details:
      - Shows each virtual server that changes as C(ipvsadm -Sn) would, before and after. Thresholds are shown too,
        which C(ipvsadm) leaves out.
  idempotent:
    support: full
options:
  virtual_servers:
    description:
      - The virtual servers, and for each one all of its real servers. What is left out has its default, and does not
        stay as it is.
      - C(address) - the virtual address (VIP), IPv4 or IPv6.
      - C(port) - its port. V(0) stands for all ports, which needs a C(persistence_timeout).
      - C(protocol) - V(tcp) (the default), V(udp) or V(sctp).
      - C(mark) - in place of these three, the firewall mark of the packets to take, from 1 to 4294967295.
      - C(family) - with C(mark) the family of the packets, V(ipv4) (the default) or V(ipv6).
      - C(scheduler) - its name, such as V(rr), V(wrr), V(lc), V(wlc) (the default), V(sh), V(mh), V(sed), V(nq), V(fo)
        or V(ovf). One that the node's kernel does not have is refused.
      - C(flags) - a list of flags of the scheduler, V(sh-fallback) and V(sh-port) with V(sh), V(mh-fallback) and
        V(mh-port) with V(mh). V(flag-1) to V(flag-3) stand for the same bits of any scheduler.
      - C(one_packet) - whether each packet is scheduled on its own, with UDP or a mark. Default is V(false).
      - C(persistence_timeout) - how many seconds after its last connection a client stays with its real server. Default
        is V(0), for not at all.
      - C(persistence_netmask) - clients of the same network stay together. A netmask or prefix length, by default that
        of a single client.
      - C(persistence_engine) - what else to tell clients by, V(sip) with UDP.
      - C(real_servers) - a list of real servers, whose keys follow.
      - C(real_servers[].address) - the address of the real server.
      - C(real_servers[].port) - its port, by default that of the virtual server. Another needs V(masquerade).
      - C(real_servers[].forward) - with V(masquerade) (the default) the destination of packets is translated, and
        replies must come back through this node. With V(direct) packets go on unchanged to the real server's link-layer
        address, and with V(tunnel) inside of IP, which can be of the other family.
      - C(real_servers[].weight) - how much it takes in comparison to others, up to 65535. Default is V(1). With V(0) it
        gets no new connections.
      - C(real_servers[].upper_threshold) - with this many connections it gets no new ones. Default is V(0), for no
        limit.
      - C(real_servers[].lower_threshold) - it gets new ones again with fewer connections than this. Default is V(0),
        for three quarters of the upper one.
    type: list
    elements: dict
    default: []
  virtual_servers_file:
    description:
      - A JSON file on the node with the same list as O(virtual_servers), to which it is added. It spares Ansible's
        templating, which takes seconds for thousands of them.
    type: path
  scope:
    description:
      - Networks whose virtual servers are all owned by this task, so that those that are not declared are removed.
        Without it, and without O(scope_marks), nothing is removed.
      - What is declared must be in the scope then. It could never be removed else.
    type: list
    elements: str
    default: []
  scope_marks:
    description:
      - The same for firewall marks of both families, as V(7) or V(1-100).
    type: list
    elements: str
    default: []
  drain:
    description:
      - How many seconds a real server that goes has for its connections to end. It gets weight 0, so that no new ones
        come, and goes when it has none, at the latest when this time is over, with a warning. The task waits for all of
        them together.
      - Connections are those that C(ipvsadm -Ln) shows as active and inactive, and the memory of persistence. TCP
        connections that both sides have closed do not count, although they are shown for two minutes more; those of a
        virtual server with a C(mark) do.
      - Also holds for the real servers of virtual servers that go. Those of UDP go at once, for it has no connections
        that end.
      - The schedulers V(sh) and V(dh) refuse the clients of a server with weight 0. Use V(mh), or C(sh-fallback).
      - Clients that are persistent come back to it, unless the sysctl C(net.ipv4.vs.expire_quiescent_template) is 1.
    type: int
    default: 0
  preserve_weights:
    description:
      - Whether real servers that are there already keep their weights, for those that a health checker sets. New ones
        get the declared weight.
    type: bool
    default: false
  state:
    description:
      - With V(absent), neither what is declared is left nor what is in the scope.
    type: str
    choices: [present, absent]
    default: present
  save_to:
    description:
      - A folder on the node, which must exist, whose file C(ipvs.rules) keeps what is declared in the syntax of
        C(ipvsadm -Sn), for a boot. Removed where there is nothing to keep. Ansible alone does not make a boot use it.
    type: path
notes:
  - Virtual servers last until the next boot.
"""

EXAMPLES = r"""
- name: Two web servers behind one address, the second with twice the connections
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

- name: Own all virtual servers of a network, and let connections end before a server goes
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

- name: A client stays with one server on all ports, by direct routing
  homelab.loadbalancer.ipvs:
    virtual_servers:
      - mark: 7
        persistence_timeout: 600
        real_servers:
          - {address: 10.254.10.2, forward: direct}
          - {address: 10.254.10.3, forward: direct}

- name: Leave nothing of it
  homelab.loadbalancer.ipvs:
    scope: [10.254.0.0/16]
    scope_marks: ['7']
    state: absent
"""

RETURN = r"""
addresses:
  description:
    - The addresses of the virtual servers that are declared, as M(homelab.loadbalancer.virtual_address) takes them. The
      node must have them, or IPVS gets no packets for them. Virtual servers with a C(mark) have none.
  returned: success
  type: list
  elements: str
  sample: [10.254.10.128]
"""

from ..module_utils._common.command import CommandError
from ..module_utils._common.errors import InputError
from ..module_utils._common.module import NodeModule
from ..module_utils._ipvs.kernel import NoIpvsError
from ..module_utils._ipvs.plan import ChangeError
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
    except (InputError, NoIpvsError, ChangeError, CommandError, OSError) as error:
        module.fail_json(msg=str(error))
    for warning in result.pop("warnings"):
        module.warn(warning)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
