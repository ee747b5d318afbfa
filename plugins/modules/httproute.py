#!/usr/bin/python
# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# The action plugin of the same name does the work.

from __future__ import annotations

DOCUMENTATION = r"""
module: httproute
short_description: Routes of HTTP requests from Gateways to Services
version_added: 0.2.0
description:
  - Declares HTTPRoutes of the Gateway API. They route requests to Services by host name, path, method and header, split
    requests by weight, redirect or rewrite them, and change headers.
  - Also declares the ReferenceGrants that a route to a Service in another namespace needs.
  - Before anything changes, refuses routes to Gateways, listeners, Services and ports that do not exist, and host names
    that no listener accepts. In check mode these are notes, because another task of the play may create what is
    missing.
  - Waits until the Gateways' controllers have accepted the routes. If they do not, the message says why. After that,
    undeclared routes and grants of the same O(part_of) are removed.
author:
  - The homelab.loadbalancer authors (@homelab-loadbalancer)
extends_documentation_fragment:
  - homelab.loadbalancer.attributes
  - homelab.loadbalancer.kubernetes
  - homelab.loadbalancer.kubernetes.declaring
options:
  state:
    description:
      - Whether the routes, and the ReferenceGrants that they need, exist.
    type: str
    choices: [present, absent]
    default: present
  routes:
    description:
      - The routes. Required with O(state=present). An empty list removes all routes of this declaration.
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
          - The Gateways that serve the route. Each is a name, or a mapping of C(name), C(namespace) (default that of
            the route) and C(listener) (by default all listeners that accept the route).
        type: list
        elements: raw
        required: true
      hostnames:
        description:
          - Host names, which may begin with C(*.). If empty, the route serves all host names that the listeners accept.
        type: list
        elements: str
        default: []
      rules:
        description:
          - The rules. Each says which requests it matches and how they are handled. If several rules match a request,
            the one with the most specific path in C(paths) applies. Either C(backends) or C(redirect) is required. All
            other keys are optional.
          - The keys C(paths), C(methods) and C(headers) match requests. A key that is left out matches all requests.
          - C(paths) is a list of prefixes such as C(/api), or of mappings with one of C(prefix), C(exact) and C(regex).
          - C(methods) is a list such as C([GET, HEAD]).
          - C(headers) is a mapping of names to values, or to mappings with C(regex). A request must have all of them.
          - C(backends) is a list of Services. Each is a name, or a mapping of C(service), C(namespace) (default that of
            the route), C(port) (default 80) and C(weight) (default 1), its share of the requests from 0 to 1000000.
          - C(redirect) is a mapping of C(scheme) (C(http) or C(https)), C(hostname), C(port), C(path) or C(prefix), and
            C(status) (302, the default, or 301). C(path) replaces the whole path, C(prefix) replaces the path that the
            rule matched.
          - C(rewrite) is a mapping of C(hostname) and C(path) or C(prefix). The Service receives the request with
            these values.
          - C(request_headers) and C(response_headers) are mappings of C(set) and C(add), which map names to values, and
            C(remove), a list of names.
          - C(timeout) is the number of seconds that a request may take.
        type: list
        elements: dict
        required: true
  part_of:
    description:
      - The name of this declaration. Its objects get it as the label C(app.kubernetes.io/part-of), and only objects
        with this label are removed when they are undeclared. If several playbooks declare routes in one cluster, give
        each a different name. Lower-case letters, digits and inner hyphens.
    type: str
    default: routes
  remove_undeclared:
    description:
      - Whether to remove undeclared routes and grants after the declared ones work.
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
- name: Route requests for two host names to Services
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

- name: Show the addresses at which the host names are served
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
    - Parts of rules that the controller may not support, because its GatewayClass does not list them, and host names
      that no certificate of their HTTPS listener covers. In check mode also Gateways, Services and other objects that
      do not exist yet.
  returned: success
  type: list
  elements: str
hostnames:
  description: The addresses of the Gateways for each host name that they serve.
  returned: success
  type: dict
  sample: {web.k8s.local: [172.16.0.100]}
"""
