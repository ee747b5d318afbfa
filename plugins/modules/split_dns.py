#!/usr/bin/python
# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: split_dns
short_description: Sends a client's queries for one DNS zone to the zone's own servers
version_added: 0.2.0
description:
  - Configures this host to send queries for one DNS zone to the given servers, such as C(k8s.local) to a cluster's
    CoreDNS. Queries for all other names still go to the host's existing servers.
  - Configures the existing resolver, which is systemd-resolved, dnsmasq, NetworkManager or that of macOS. It installs
    no resolver.
  - If the configuration cannot work on this host, the module changes nothing, and the message says why. If a resolver
    rejects the new files, the module restores the old ones.
  - The role P(homelab.loadbalancer.split_dns#role) does the same with variables.
author:
  - The homelab.loadbalancer authors (@homelab-loadbalancer)
extends_documentation_fragment:
  - homelab.loadbalancer.attributes
attributes:
  check_mode:
    support: full
    details:
      - Does not look up O(verify_name).
  diff_mode:
    support: full
  idempotent:
    support: full
options:
  state:
    description:
      - V(present) configures the servers of the zone. V(absent) removes the files of this zone for all resolvers.
    type: str
    choices: [present, absent]
    default: present
  zone:
    description:
      - The zone, a domain. Queries for the domain and all names below it go to O(servers).
    type: str
    required: true
  servers:
    description:
      - The servers of the zone. O(state=present) requires at least one.
    type: list
    elements: dict
    default: []
    suboptions:
      address:
        description:
          - An IPv4 or IPv6 address, such as a node's or the VIP of the DNS Service.
        type: str
        required: true
      port:
        description:
          - The port, such as 30053 for a NodePort.
        type: int
        default: 53
  resolver:
    description:
      - The resolver to configure. V(NetworkManager) enables and configures NetworkManager's own dnsmasq.
      - V(auto) is V(macos) on macOS. On Linux, it is V(NetworkManager) if its dnsmasq is already enabled, and otherwise
        the first of V(systemd-resolved), V(dnsmasq) and V(NetworkManager) that runs.
    type: str
    choices: [auto, systemd-resolved, dnsmasq, NetworkManager, macos]
    default: auto
  verify_name:
    description:
      - A name of the zone to look up at the end. The task fails if it is not found. The module uses C(getent), which
        resolves names as other programs do, and C(dscacheutil) on macOS. If empty, no name is looked up.
    type: str
    default: ''
  prefix:
    description:
      - Prefix of option names in error messages. A role sets it to the prefix of its variables.
    type: str
    default: ''
"""

EXAMPLES = r"""
- name: Send queries for k8s.local to a node of the cluster
  homelab.loadbalancer.split_dns:
    zone: k8s.local
    servers: [{address: 172.16.0.11, port: 30053}]
    verify_name: web.k8s.local
  become: true
"""

RETURN = r"""
resolver:
  description: The resolver that was configured. Empty with O(state=absent).
  returned: success
  type: str
  sample: systemd-resolved
notes:
  description: Settings of the host that may prevent correct lookups in the zone although they are not errors.
  returned: success
  type: list
  elements: str
answer:
  description: The lines that the lookup of O(verify_name) printed. Empty if there was no lookup.
  returned: success
  type: list
  elements: str
  sample: [172.16.0.100     STREAM web.k8s.local]
"""

from ..module_utils._common.command import CommandError
from ..module_utils._common.errors import InputError
from ..module_utils._common.module import NodeModule
from ..module_utils._split_dns import node as split_dns_node
from ..module_utils._split_dns import plan as split_dns

SERVER = {"address": {"type": "str", "required": True}, "port": {"type": "int", "default": 53}}


def main() -> None:
    module = NodeModule(
        needs_linux="",
        argument_spec={
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
            "zone": {"type": "str", "required": True},
            "servers": {"type": "list", "elements": "dict", "default": [], "options": SERVER},
            "resolver": {"type": "str", "choices": ["auto", *split_dns.RESOLVERS], "default": "auto"},
            "verify_name": {"type": "str", "default": ""},
            "prefix": {"type": "str", "default": ""},
        },
    )
    options, answer = module.params, []
    try:
        made = split_dns.plan(options, split_dns_node.read_client())
        edits = split_dns_node.edits_of(made)
        if not module.check_mode:
            split_dns_node.apply(edits, made.restart)
            if options["state"] == "present" and options["verify_name"]:
                answer = split_dns_node.look_up(made.resolver, options["verify_name"])
                if not answer:
                    raise InputError(split_dns.not_found(options["verify_name"], made, options["servers"]))
    except PermissionError as error:
        module.fail_json(msg="changing the resolver needs root on this host (become: true): %s" % error)
    except (InputError, CommandError, OSError) as error:
        module.fail_json(msg=str(error))
    diff = {"diff": [edit.file.diff() for edit in edits]} if module._diff else {}
    module.exit_json(changed=bool(edits), resolver=made.resolver, notes=made.notes, answer=answer, **diff)


if __name__ == "__main__":
    main()
