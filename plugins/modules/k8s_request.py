#!/usr/bin/python
# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: k8s_request
short_description: Requests to a Kubernetes API server, from the host of the task
version_added: 0.2.0
description:
  - Sends HTTP requests to an API server in parallel, and returns the responses.
  - The other modules for Kubernetes run this module if only a managed host can reach the API server. In playbooks, use
    those, for instance M(homelab.loadbalancer.k8s_objects) and M(homelab.loadbalancer.k8s_read).
author:
  - The homelab.loadbalancer authors (@homelab-loadbalancer)
extends_documentation_fragment:
  - homelab.loadbalancer.attributes
requirements:
  - The Python package kubernetes >= 24.2.0, < 38 on the host
attributes:
  check_mode:
    support: none
    details:
      - Requests are sent unchanged. A request may itself ask for a dry run.
  diff_mode:
    support: none
    details:
      - The module does not know what a request changes.
  idempotent:
    support: partial
    details:
      - The module is as idempotent as its requests.
options:
  requests:
    description:
      - "The requests. Each is a list with these entries: the method; the path; the query parameters (pairs); the body;
        the content type of the body; the accepted content type of the response; whether the request may be repeated if
        the connection breaks (default true); whether the request is sent only after all earlier ones have succeeded,
        instead of in parallel (default false)."
    type: list
    elements: list
    required: true
  kubeconfig:
    description:
      - The path of a kubeconfig on the host, or the content of one. If empty, it is found as by the other modules for
        Kubernetes.
    type: raw
    default: ''
  context:
    description:
      - The context of the kubeconfig. If empty, its current context.
    type: str
    default: ''
"""

EXAMPLES = r"""
- name: Ask for the API server's version
  homelab.loadbalancer.k8s_request:
    requests: [[GET, /version, [], null, application/json, application/json]]
"""

RETURN = r"""
responses:
  description: "For each request a list: HTTP status, body, kind of failure, and its cause. The status is 0 if there was
    no response."
  returned: when a kubeconfig was found
  type: list
  elements: list
server:
  description: The address of the API server.
  returned: when a kubeconfig was found
  type: str
in_pod:
  description: Whether the credentials are those of a pod's service account.
  returned: when a kubeconfig was found
  type: bool
unusable:
  description: Why no kubeconfig can be used.
  returned: when none was found
  type: str
"""

import os
import sys
from typing import Any

from ..module_utils._k8s.options import discreet_module
from ..module_utils._k8s.transport import MISSING, AccessError, Request, Transport

ARGUMENTS: dict[str, Any] = {
    "requests": {"type": "list", "elements": "list", "required": True},
    "kubeconfig": {"type": "raw", "default": ""},
    "context": {"type": "str", "default": ""},
}
# The versions are those of meta/ee-requirements.txt.
NEEDED = (
    "the Python package kubernetes (24.2 or newer, older than 38) is needed on the host %(host)s, which sends the "
    "requests to the API server: install it by `%(python)s -m pip install 'kubernetes>=24.2.0,<38'`, or let "
    "ansible_python_interpreter name a Python that has it"
)


def main() -> None:
    module = discreet_module(argument_spec=ARGUMENTS)
    if MISSING:
        msg = NEEDED % {"host": os.uname().nodename, "python": sys.executable}
        module.fail_json(msg=msg, exception=MISSING)
    try:
        transport = Transport(module.params["kubeconfig"], module.params["context"])
    except AccessError as error:
        module.exit_json(changed=False, unusable=str(error))
    responses = transport.exchange([Request(*one) for one in module.params["requests"]])
    module.exit_json(
        changed=False,
        responses=[list(one) for one in responses],
        server=transport.server,
        in_pod=transport.in_pod,
    )


if __name__ == "__main__":
    main()
