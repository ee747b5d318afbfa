#!/usr/bin/python
# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: split_dns
short_description: One DNS zone of a client is asked of servers of its own
version_added: 0.1.0
description:
  - Has this host ask certain servers for the names of one zone, such as C(k8s.local) of a cluster's CoreDNS. All other
    names stay with the servers that it has.
  - Works by the resolver that is there, systemd-resolved, dnsmasq, NetworkManager or macOS's own, and installs none.
  - Where something would not work on this host, nothing is changed, and the message says why. When a resolver does not
    take the new files, the old ones are put back.
  - The role P(homelab.loadbalancer.split_dns#role) does the same by variables.
author:
  - The homelab.loadbalancer authors (@homelab-loadbalancer)
extends_documentation_fragment:
  - homelab.loadbalancer.attributes
attributes:
  check_mode:
    support: full
    details:
      - O(verify_name) is not asked for.
  diff_mode:
    support: full
  idempotent:
    support: full
options:
  state:
    description:
      - Whether the zone has servers of its own. With V(absent) the files of this zone go, whichever resolver they are
        for.
    type: str
    choices: [present, absent]
    default: present
  zone:
    description:
      - The zone, a domain. Names below it and the domain itself are asked of O(servers).
    type: str
    required: true
  servers:
    description:
      - The servers of the zone. At least one is needed with O(state=present).
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
      - What resolves names on the host. V(NetworkManager) stands for its own dnsmasq, which is switched on.
      - With V(auto) it is V(macos) on macOS; elsewhere NetworkManager where its dnsmasq is switched on already; or else
        the first of V(systemd-resolved), V(dnsmasq) and V(NetworkManager) that runs.
    type: str
    choices: [auto, systemd-resolved, dnsmasq, NetworkManager, macos]
    default: auto
  verify_name:
    description:
      - A name of the zone that the host must be able to resolve in the end, by C(getent), which asks as all programs
        do; on macOS by C(dscacheutil). Empty is not to ask.
    type: str
    default: ''
  prefix:
    description:
      - What the names of the variables that the options come from begin with, for error messages.
    type: str
    default: ''
"""

EXAMPLES = r"""
- name: Ask a node of the cluster for k8s.local
  homelab.loadbalancer.split_dns:
    zone: k8s.local
    servers: [{address: 172.16.0.11, port: 30053}]
    verify_name: web.k8s.local
  become: true
"""

RETURN = r"""
resolver:
  description: What resolves names on this host. Empty with O(state=absent).
  returned: success
  type: str
  sample: systemd-resolved
notes:
  description: What is not wrong, and may keep this host from asking as it should; a sentence each.
  returned: success
  type: list
  elements: str
answer:
  description: The lines that were found for O(verify_name); none where it was not asked for.
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
