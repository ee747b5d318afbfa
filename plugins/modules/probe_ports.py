#!/usr/bin/python
# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: probe_ports
short_description: Whether ports of other hosts answer, and the reason if they do not
version_added: 0.2.0
description:
  - Connects from this host to TCP ports of other hosts, requests HTTP pages, or sends empty UDP datagrams. The result
    distinguishes a rejection by a firewall, a port without a listener, and no answer.
  - Probes all targets at the same time. Changes nothing. Needs neither root nor a program on the host.
author:
  - The homelab.loadbalancer authors (@homelab-loadbalancer)
extends_documentation_fragment:
  - homelab.loadbalancer.attributes
attributes:
  check_mode:
    support: full
    details:
      - Probes in check mode too.
  diff_mode:
    support: none
  idempotent:
    support: full
options:
  targets:
    description:
      - The ports to probe.
    type: list
    elements: dict
    required: true
    suboptions:
      address:
        description:
          - An IP address. If empty, the module looks up O(targets[].host) for each attempt, with the host's own
            resolver. It tries the addresses in the order of the resolver until one connects, eight at most.
        type: str
        default: ''
      port:
        description: The port, 1 to 65535.
        type: int
        required: true
      protocol:
        description:
          - V(http) connects over TCP and requests O(targets[].path). V(https) does so over TLS. It sends
            O(targets[].host) as the server name (SNI), and verifies that the certificate is valid for it.
          - V(udp) sends two empty datagrams, and waits at most 1.5 seconds for a refusal. UDP has no confirmation, so
            silence proves nothing.
        type: str
        choices: [tcp, http, https, udp]
        default: tcp
      path:
        description: The path of the HTTP request.
        type: str
        default: /
      host:
        description:
          - Without O(targets[].address), the name to look up. With it, the Host header of the HTTP request. An empty
            value then sends the address and port.
        type: str
        default: ''
  ca:
    description:
      - For V(https), PEM certificates to trust in addition to the host's own authorities. They may be those of
        authorities or of the servers themselves.
    type: str
    default: ''
  timeout:
    description:
      - Seconds to wait for each answer. Lookups of names have the resolver's own timeout instead.
    type: float
    default: 3
  wait:
    description:
      - For how many seconds in total to probe failed targets again. An HTTP request to an address fails with the status
        500 or above, a request to a name with 400 or above.
    type: float
    default: 0
  owners:
    description:
      - Addresses to probe after the ports, as M(homelab.loadbalancer.probe_owners) does, for the hosts on the link
        that answer for them. An empty list returns only RV(links) and RV(networks).
    type: list
    elements: str
seealso:
  - module: homelab.loadbalancer.probe_owners
"""

EXAMPLES = r"""
- name: Probe a VIP, a UDP port and a name
  homelab.loadbalancer.probe_ports:
    targets:
      - {address: 172.16.0.100, port: 80, protocol: http}
      - {address: 172.16.0.11, port: 7946, protocol: udp}
      - {host: web.k8s.local, port: 80, protocol: http}
  register: probed
"""

RETURN = r"""
answers:
  description: The result for each target, in the order of O(targets).
  returned: success
  type: list
  elements: dict
  contains:
    address:
      description: The address that was probed. Empty if the name is not found.
      type: str
    host:
      description: The target's host.
      type: str
    port:
      description: The target's port.
      type: int
    protocol:
      description: The target's protocol.
      type: str
    state:
      description:
        - V(open) if the port answers. V(refused) if no program listens on the port, or a firewall sends the same
          refusal. V(prohibited) if a firewall rejects the packets. V(unreachable) if there is no route, or the address
          is not that of a host.
        - V(silent) if there was no answer; for UDP, the port may still be open. V(unresolved) if the name is not found.
      type: str
    detail:
      description: The result in words.
      type: str
    source:
      description: The source address of the probe.
      type: str
    distrust:
      description:
        - Why the certificate is not accepted. V(name) if it is not for the host, V(time) if it is expired or not yet
          valid, V(issuer) if its issuer is not trusted, V(unknown) if it could not be read. Empty if it is accepted or
          there is none.
        - RV(answers[].status) contains the status of the page even if the certificate is not accepted.
      type: str
    certificate:
      description: The names, subject and issuer of a certificate that is not accepted, in words.
      type: str
    sender:
      description: The sender of the ICMP message that refused the packet. Empty if there was none.
      type: str
    milliseconds:
      description: The duration, including the lookup of the name.
      type: float
    status:
      description: The HTTP status, if there was one.
      type: int
  sample:
    - address: 172.16.0.100
      host: ''
      port: 80
      protocol: http
      state: open
      detail: HTTP 200
      source: 172.16.0.21
      sender: ''
      distrust: ''
      certificate: ''
      milliseconds: 3.1
      status: 200
owners:
  description: The value that M(homelab.loadbalancer.probe_owners) returns under the same name.
  returned: with O(owners)
  type: list
  elements: dict
links:
  description: The MAC address of each link of this host.
  returned: with O(owners)
  type: dict
networks:
  description: The networks of this host's links in which it can probe addresses.
  returned: with O(owners)
  type: list
  elements: str
"""

import ssl
from typing import Any

from ..module_utils._common.command import CommandError
from ..module_utils._common.errors import InputError
from ..module_utils._common.module import Module
from ..module_utils._common.values import check_within
from ..module_utils._probe import owners as probe_owners
from ..module_utils._probe import ports as probe_ports
from ..module_utils._probe import tls as probe_tls


def main() -> None:
    module = Module(
        argument_spec={
            "targets": {
                "type": "list",
                "elements": "dict",
                "required": True,
                "options": {
                    "address": {"type": "str", "default": ""},
                    "port": {"type": "int", "required": True},
                    "protocol": {"type": "str", "choices": ["tcp", "http", "https", "udp"], "default": "tcp"},
                    "path": {"type": "str", "default": "/"},
                    "host": {"type": "str", "default": ""},
                },
            },
            "ca": {"type": "str", "default": ""},
            "timeout": {"type": "float", "default": 3},
            "wait": {"type": "float", "default": 0},
            "owners": {"type": "list", "elements": "str"},
        },
        supports_check_mode=True,
    )
    options = module.params
    try:
        check_within(options["timeout"], 0.1, 3600, "timeout")
        check_within(options["wait"], 0, 86400, "wait")
        targets = [probe_ports.read_target(raw, "targets[%d]" % at) for at, raw in enumerate(options["targets"])]
        probe_tls.trusting(options["ca"])
    except ssl.SSLError as error:
        module.fail_json(msg="ca has no certificates in PEM (%s)" % error.reason)
    except InputError as error:
        module.fail_json(msg=str(error))
    targets = [target._replace(ca=options["ca"]) for target in targets]
    answers = probe_ports.ask_all(targets, options["timeout"], options["wait"])
    seen: dict[str, Any] = {"answers": [probe_ports.report(*pair) for pair in zip(targets, answers)]}
    if options["owners"] is not None:
        try:
            seen.update(probe_owners.look(options["owners"], 1, "owners"))
        except (InputError, CommandError, OSError) as error:
            module.fail_json(msg=str(error), **seen)
    module.exit_json(changed=False, **seen)


if __name__ == "__main__":
    main()
