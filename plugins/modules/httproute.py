#!/usr/bin/python
# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# The action plugin of the same name does it.

from __future__ import annotations

DOCUMENTATION = r"""
module: httproute
short_description: Routes of HTTP requests from Gateways to Services
version_added: 0.1.0
description:
  - Declares HTTPRoutes of the Gateway API, which lead requests to Services by host name, path, method and header, split
    them by weights, redirect or rewrite them, and change headers; and the ReferenceGrants that a route to another
    namespace needs. Undeclared ones of the same O(part_of) are removed.
  - Refuses routes to Gateways, listeners, Services and ports that are not there, and host names that no listener takes,
    before anything changes. In check mode these are notes, because another task of the play may bring them.
  - Waits until the Gateways' controllers have accepted the routes, and says why not. Routes that are not declared are
    removed after that.
author:
  - The homelab.loadbalancer authors (@homelab-loadbalancer)
extends_documentation_fragment:
  - homelab.loadbalancer.attributes
  - homelab.loadbalancer.kubernetes
  - homelab.loadbalancer.kubernetes.declaring
options:
  state:
    description:
      - Whether the routes, and the grants that they need, are there.
    type: str
    choices: [present, absent]
    default: present
  routes:
    description:
      - The routes. Required with O(state=present). An empty list removes all of this declaration.
    type: list
    elements: dict
    suboptions:
      name:
        description:
          - The name of the HTTPRoute.
        type: str
        required: true
      namespace:
        description:
          - The namespace of the HTTPRoute, which must exist.
        type: str
        default: default
      gateways:
        description:
          - Names of Gateways, or mappings of C(name), C(namespace) (that of the route) and C(listener), without which
            it is all listeners that take the route.
        type: list
        elements: raw
        required: true
      hostnames:
        description:
          - Host names, which may begin with C(*.). Without any it is all that the listeners take.
        type: list
        elements: str
        default: []
      rules:
        description:
          - Which requests, and what becomes of them. The rule whose C(paths) fit best takes a request. All keys can be
            left out, but one of C(backends) and C(redirect) must be there.
          - C(paths) are prefixes such as C(/api), or mappings of one of C(prefix), C(exact) and C(regex); C(methods),
            such as C([GET, HEAD]); C(headers), a mapping of names to values, or to mappings of C(regex), all of which a
            request must have. What is left out takes all requests.
          - C(backends) are names of Services, or mappings of C(service), C(namespace) (that of the route), C(port) (80)
            and C(weight) (1), a share of the requests from 0 to 1000000.
          - Instead of them C(redirect), a mapping of C(scheme) (C(http) or C(https)), C(hostname), C(port), C(path), in
            place of the whole path, or C(prefix), in place of the rule's path, and C(status) (302) or 301.
          - C(rewrite), a mapping of C(hostname) and C(path) or C(prefix), as the Service is to see them.
          - C(request_headers) and C(response_headers), mappings of C(set) and C(add), each names to values, and
            C(remove), a list of names.
          - C(timeout), how many seconds a request may take.
        type: list
        elements: dict
        required: true
  part_of:
    description:
      - The name of this declaration, which its objects bear as the label C(app.kubernetes.io/part-of). Only objects
        with it are removed when they are not declared any more, so give each playbook its own where several declare
        routes in one cluster. Lower-case letters, digits and inner hyphens.
    type: str
    default: routes
  remove_undeclared:
    description:
      - Whether to remove undeclared routes and grants, when those that are declared work.
    type: bool
    default: true
  timeout:
    description:
      - How many seconds to wait until the routes are accepted, and for each object that is removed.
    type: int
    default: 60
seealso:
  - module: homelab.loadbalancer.coredns_zone
"""

EXAMPLES = r"""
- name: Lead requests for two host names to Services
  homelab.loadbalancer.httproute:
    kubeconfig: /etc/kubernetes/admin.conf
    routes:
      - name: web
        gateways: [public]
        hostnames: [web.k8s.local]
        rules: [{backends: [web]}]
      - name: shop
        namespace: shop
        gateways: [{name: public, namespace: default, listener: https}]
        hostnames: [shop.k8s.local]
        rules:
          - backends: [{service: shop, weight: 90}, {service: beta, weight: 10}]
          - {paths: [/api], backends: [{service: api, port: 8080}], timeout: 10}
  register: routed

- name: Show at which addresses the host names are served
  ansible.builtin.debug:
    var: routed.hostnames

- name: Remove the routes
  homelab.loadbalancer.httproute:
    kubeconfig: /etc/kubernetes/admin.conf
    state: absent
"""

RETURN = r"""
changes:
  description: What was changed, or would be in check mode.
  returned: success
  type: list
  elements: str
  sample: [create HTTPRoute default/web]
notes:
  description:
    - Parts of rules of which the GatewayClass does not say that its controller knows them, and host names that no
      certificate of their HTTPS listener is for. In check mode also what the cluster does not have yet.
  returned: success
  type: list
  elements: str
hostnames:
  description: The addresses of the Gateways by the host names that they serve.
  returned: success
  type: dict
  sample: {web.k8s.local: [172.16.0.100]}
"""
