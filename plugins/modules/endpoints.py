#!/usr/bin/python
# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# What it does is in the action plugin of the same name.

from __future__ import annotations

DOCUMENTATION = r"""
module: endpoints
short_description: Endpoints of Services without a selector, from addresses or from the labels of pods
version_added: 0.2.0
description:
  - Writes the EndpointSlices of Services that have no selector, so that connections to them reach the declared
    endpoints, for instance hosts outside the cluster. Undeclared objects that this module made before are removed.
  - Before anything changes, refuses a Service whose endpoints Kubernetes or another manager writes, and addresses that
    the API server would refuse.
  - The role P(homelab.loadbalancer.endpoints#role) calls the module with its variables.
author:
  - The homelab.loadbalancer authors (@homelab-loadbalancer)
extends_documentation_fragment:
  - homelab.loadbalancer.attributes
  - homelab.loadbalancer.kubernetes
attributes:
  check_mode:
    support: full
    details:
      - A Service that does not exist yet gives a note instead of an error.
  diff_mode:
    support: full
  idempotent:
    support: full
options:
  state:
    description:
      - Whether the endpoints exist, and the Services that this module made for them.
    type: str
    choices: [present, absent]
    default: present
  services:
    description:
      - All Services of the cluster that get their endpoints from this module. Each has a C(name) and a C(namespace)
        (default V(default)).
      - Either C(addresses) or C(selector) gives the endpoints. C(addresses) is a list of IPv4 and IPv6 addresses.
        C(selector) is a mapping of labels to values, and selects the pods of the namespace that have all of them. Pods
        are looked up when the module runs.
      - C(ports) is a list of mappings. C(port) is the port of the Service. C(target_port) is the port of the endpoints
        (default C(port)). C(protocol) is V(tcp) (default), V(udp) or V(sctp). C(name) is the name of the port in the
        Service, required if there are several ports.
      - C(manage_service) (default V(false)) says whether the module also makes the Service, with a cluster IP.
      - Required with O(state=present). An empty list removes all endpoints and Services that the module made.
    type: raw
seealso:
  - name: Services without selectors
    description: The Kubernetes documentation.
    link: https://kubernetes.io/docs/concepts/services-networking/service/#services-without-selectors
"""

EXAMPLES = r"""
- name: Lead the Service db to a host outside the cluster
  homelab.loadbalancer.endpoints:
    services:
      - name: db
        addresses: [172.16.0.30]
        ports: [{port: 5432}]
        manage_service: true
  register: declared

- name: Show which Services refuse connections
  ansible.builtin.debug:
    msg: "{{ declared.notes }}"

- name: Remove all endpoints and Services that the module made
  homelab.loadbalancer.endpoints:
    state: absent
"""

RETURN = r"""
changes:
  description: What was done, or would be in check mode.
  returned: success
  type: list
  elements: str
  sample: [create Service default/db, create EndpointSlice default/db-ipv4-1]
notes:
  description: The Services without a ready endpoint, which refuse connections; a sentence each.
  returned: success
  type: list
  elements: str
  sample: ["Service default/db has no ready endpoint: it refuses connections"]
"""
