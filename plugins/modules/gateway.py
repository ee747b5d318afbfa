#!/usr/bin/python
# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# What it does is in the action plugin of the same name.

from __future__ import annotations

DOCUMENTATION = r"""
module: gateway
short_description: Gateways of the Gateway API, and the controller that serves them
version_added: 0.1.0
description:
  - Applies the kinds of the Gateway API, a controller, and Gateways with HTTP and HTTPS listeners, and waits until each
    Gateway is programmed and has an address. When that fails, the message says why.
  - Checks the declaration, manifests, certificates and keys on the control node, and tries all objects by a server-side
    dry run. When one is refused, nothing is changed.
  - Keeps on record, in a ConfigMap of O(namespace), what it has applied. Objects that are not declared any more are
    removed.
  - Something must give addresses to Services of type LoadBalancer, such as MetalLB.
author:
  - The homelab.loadbalancer authors (@homelab-loadbalancer)
extends_documentation_fragment:
  - homelab.loadbalancer.attributes
  - homelab.loadbalancer.kubernetes
  - homelab.loadbalancer.kubernetes.declaring
options:
  state:
    description:
      - Whether the cluster has the controller and the Gateways. With V(absent) routes stay, and so do the kinds of the
        Gateway API, unless O(remove_crds) is set.
    type: str
    choices: [present, absent]
    default: present
  controller:
    description:
      - What serves the Gateways. V(nginx) is NGINX Gateway Fabric, which serves each Gateway by pods and an address of
        its own. V(traefik) serves all by the same pods and one address.
    type: str
    choices: [nginx, traefik]
    default: nginx
  version:
    description:
      - The release of the controller. Another number upgrades a running one.
      - The default is 2.1.4 for NGINX Gateway Fabric and 3.6.12 for Traefik.
    type: str
  class:
    description:
      - The name of the GatewayClass. The default is the name of O(controller).
    type: str
  namespace:
    description:
      - The namespace of the controller, and of Gateways that name none. It is created where it is missing, and is
        removed with the rest if it was created here.
      - The default is C(nginx-gateway), as NGINX Gateway Fabric's manifest has it, or C(traefik).
    type: str
  replicas:
    description:
      - How many pods pass requests on. NGINX Gateway Fabric has so many for each Gateway, and Traefik for all.
    type: int
    default: 2
  manage_crds:
    description:
      - Whether to apply the kinds of the Gateway API. Otherwise they must be in the cluster.
    type: bool
    default: true
  crds:
    description:
      - Manifests of the kinds of the Gateway API. Without any, those of the release for which the controller is made.
    type: list
    elements: dict
    default: []
    suboptions:
      source:
        description:
          - A URL, or the path of a file, both as seen from the control node.
        type: str
        required: true
      checksum:
        description:
          - The SHA-256 of the manifest. A URL needs one.
        type: str
  manifests:
    description:
      - Manifests of NGINX Gateway Fabric, written as O(crds). Without any, those of its release O(version), with the
        checksums that are known. Traefik needs none.
    type: list
    elements: dict
    default: []
  gateways:
    description:
      - The Gateways, one at least. The planner refuses what is wrong in an entry and names it.
    type: list
    elements: dict
    default:
      - name: public
        listeners:
          - {name: http, protocol: HTTP, port: 80, from: all}
    suboptions:
      name:
        description:
          - The name of the Gateway.
        type: str
        required: true
      namespace:
        description:
          - Its namespace, which must exist. Without one, that of the controller.
        type: str
      listeners:
        description:
          - Where it takes connections. Each has a C(name); a C(protocol), V(HTTP) (default) or V(HTTPS); a C(port); a
            C(hostname), such as C(*.example.org), without which it is any; C(tls) for HTTPS; and C(from), whose routes
            may attach, those of V(all) namespaces, of the V(same) one (default), or of those with the labels of
            C(selector), written as Kubernetes has it.
          - C(tls) has C(secret), the name of a Secret in the Gateway's namespace, or C(certificate_file) and
            C(key_file), paths on the control node, of which a Secret is made. Ansible Vault may encrypt them.
        type: list
        elements: dict
        required: true
      address:
        description:
          - The address that MetalLB is to give it, or a list of two, one of each family.
        type: raw
      labels:
        description:
          - Labels of the Gateway.
        type: dict
      annotations:
        description:
          - Annotations of the Gateway.
        type: dict
  take_over:
    description:
      - Take over fields that somebody else manages and that have another value. Otherwise that is an error, which names
        the other manager.
    type: bool
    default: false
  remove_crds:
    description:
      - Whether O(state=absent) removes the kinds of the Gateway API as well, as far as this module brought them. That
        is refused while there are objects of them that this module did not make.
    type: bool
    default: false
  timeout:
    description:
      - How many seconds to wait for the Gateways, and for each object to be gone.
    type: int
    default: 300
  validate_only:
    description:
      - Only check the Gateways and the options of the controller, on the control node. No API server is asked, and
        nothing is changed.
    type: bool
    default: false
seealso:
  - ref: gateway role <ansible_collections.homelab.loadbalancer.gateway_role>
    description: Declares the same by variables.
"""

EXAMPLES = r"""
- name: Serve HTTP and HTTPS by Traefik
  homelab.loadbalancer.gateway:
    controller: traefik
    gateways:
      - name: public
        address: 172.16.0.100
        listeners:
          - {name: http, port: 80, from: all}
          - name: https
            protocol: HTTPS
            port: 443
            hostname: "*.example.org"
            tls: {certificate_file: example.org.crt, key_file: example.org.key}
            from: all
  register: served

- name: Show the address
  ansible.builtin.debug:
    msg: "{{ served.addresses['traefik/public'] | join(', ') }}"

- name: Remove the Gateways and Traefik
  homelab.loadbalancer.gateway:
    controller: traefik
    state: absent
"""

RETURN = r"""
changes:
  description: What was done, or would be in check mode.
  returned: without O(validate_only)
  type: list
  elements: str
  sample: [create Namespace traefik, create Gateway traefik/public]
notes:
  description: Sentences for the user, such as what a removal leaves in the cluster.
  returned: success
  type: list
  elements: str
addresses:
  description: The addresses of each declared Gateway that is in the cluster, by C(namespace/name).
  returned: success, without O(validate_only)
  type: dict
  sample: {traefik/public: [172.16.0.100]}
certificates:
  description:
    - The texts of the declared C(certificate_file), by their paths. Files that cannot be read are left out. Keys are
      not returned.
  returned: with O(validate_only)
  type: dict
"""
