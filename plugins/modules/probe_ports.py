#!/usr/bin/python
# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: probe_ports
short_description: Whether ports of other hosts answer, and who refuses when they do not
version_added: 0.1.0
description:
  - Connects from this host to ports of others by TCP, asks for a page by HTTP, or sends empty datagrams by UDP. Tells a
    firewall that says no from a port that nobody listens on, and both from silence.
  - All targets are asked at the same time. Changes nothing. Needs neither root nor a program on the host.
author:
  - The homelab.loadbalancer authors (@homelab-loadbalancer)
extends_documentation_fragment:
  - homelab.loadbalancer.attributes
attributes:
  check_mode:
    support: full
    details:
      - Asks in check mode too.
  diff_mode:
    support: none
  idempotent:
    support: full
options:
  targets:
    description:
      - The ports to ask.
    type: list
    elements: dict
    required: true
    suboptions:
      address:
        description:
          - An IP address. Empty looks O(targets[].host) up each time it is asked, by the host's own resolver as its
            programs do, and tries the addresses that are found in their order until one connects, eight at most.
        type: str
        default: ''
      port:
        description: The port, 1 to 65535.
        type: int
        required: true
      protocol:
        description:
          - V(http) connects by TCP and asks for O(targets[].path). V(https) does so over TLS, names O(targets[].host)
            (SNI), and verifies the certificate for it.
          - V(udp) sends two empty datagrams, and waits a second and a half for a refusal at most. UDP does not
            confirm, so nothing else is certain.
        type: str
        choices: [tcp, http, https, udp]
        default: tcp
      path:
        description: The path to ask for by HTTP.
        type: str
        default: /
      host:
        description:
          - The name to look up where there is no O(targets[].address). Beside one it is the Host header of HTTP, and
            empty is the address and port.
        type: str
        default: ''
  ca:
    description:
      - Certificates in PEM that are trusted besides the host's own authorities, for V(https). Those of servers
        themselves will do.
    type: str
    default: ''
  timeout:
    description:
      - Seconds to wait for each answer. For names the resolver has its own limits.
    type: float
    default: 3
  wait:
    description:
      - Ask those that fail again, for so many seconds in all. A page with the status 500 or above fails; one that is
        asked for by name, with 400 or above.
    type: float
    default: 0
  owners:
    description:
      - Addresses for which to ask, when the ports have been asked, which hosts on the link answer for them, as
        M(homelab.loadbalancer.probe_owners) does. An empty list returns this host's links alone.
    type: list
    elements: str
seealso:
  - module: homelab.loadbalancer.probe_owners
"""

EXAMPLES = r"""
- name: Ask a VIP
  homelab.loadbalancer.probe_ports:
    targets:
      - {address: 172.16.0.100, port: 80, protocol: http}
      - {address: 172.16.0.11, port: 7946, protocol: udp}
      - {host: web.k8s.local, port: 80, protocol: http}
  register: probed
"""

RETURN = r"""
answers:
  description: What came of each target, in their order.
  returned: success
  type: list
  elements: dict
  contains:
    address:
      description: The target's address, or that of its name that was asked. Empty when the name is not found.
      type: str
    host:
      description: The target's host.
      type: str
    port:
      description: The target's port.
      type: int
    protocol:
      description: How it was asked.
      type: str
    state:
      description:
        - V(open), somebody answers. V(refused), nobody listens there, or a firewall pretends so. V(prohibited), a
          firewall says no. V(unreachable), there is no way, or it is the address of no host. V(silent),
          nothing came; for UDP that may be an open port. V(unresolved), the name is not found.
      type: str
    detail:
      description: What was seen, in words.
      type: str
    source:
      description: The address that this host asked from.
      type: str
    distrust:
      description:
        - Why a certificate is not accepted. V(name), it is not for the host; V(time), it is not valid now; V(issuer),
          its issuer is not known; V(unknown). Empty when it is accepted, or there is none. The status is that of the
          page all the same.
      type: str
    certificate:
      description: Whose certificate that is, in words.
      type: str
    sender:
      description: Who sent the ICMP message that refuses it. Empty when there was none.
      type: str
    milliseconds:
      description: How long it took, with looking up the name.
      type: float
    status:
      description: The HTTP status, where there was one.
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
  description: What M(homelab.loadbalancer.probe_owners) returns of that name.
  returned: with O(owners)
  type: list
  elements: dict
links:
  description: The MAC address of each link of this host.
  returned: with O(owners)
  type: dict
networks:
  description: The networks of those links.
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
