#!/usr/bin/python
# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# The action plugin of the same name does the work.

from __future__ import annotations

DOCUMENTATION = r"""
module: gateway
short_description: Gateways of the Gateway API, and the controller that serves them
version_added: 0.2.0
description:
  - Applies the CustomResourceDefinitions (CRDs) of the Gateway API, a controller, and Gateways with HTTP and HTTPS
    listeners. Waits until each Gateway is programmed and has an address. If that fails, the message says why.
  - Checks the declaration, manifests, certificates and keys on the control node, and then tries all objects with a
    server-side dry run. If one is refused, nothing is changed.
  - Records the applied objects in a ConfigMap in O(namespace). Recorded objects that are no longer declared are
    removed.
  - The cluster needs a load balancer such as MetalLB, which gives addresses to Services of type LoadBalancer.
author:
  - The homelab.loadbalancer authors (@homelab-loadbalancer)
extends_documentation_fragment:
  - homelab.loadbalancer.attributes
  - homelab.loadbalancer.kubernetes
  - homelab.loadbalancer.kubernetes.declaring
options:
  state:
    description:
      - Whether the cluster has the controller and the Gateways. With V(absent), routes stay, and the CRDs of the
        Gateway API stay unless O(remove_crds) is set.
    type: str
    choices: [present, absent]
    default: present
  controller:
    description:
      - The controller that serves the Gateways. V(nginx) is NGINX Gateway Fabric, which gives each Gateway separate
        pods and a separate address. V(traefik) serves all Gateways from the same pods and one address.
    type: str
    choices: [nginx, traefik]
    default: nginx
  version:
    description:
      - The release of the controller. A different one upgrades an installed controller.
      - The default is 2.1.4 for NGINX Gateway Fabric and 3.6.12 for Traefik.
    type: str
  class:
    description:
      - The name of the GatewayClass. The default is the name of O(controller).
    type: str
  namespace:
    description:
      - The namespace of the controller, and of Gateways without a C(namespace). If it does not exist, the module
        creates it, and O(state=absent) removes it.
      - The default is C(nginx-gateway), as in NGINX Gateway Fabric's manifest, or C(traefik).
    type: str
  replicas:
    description:
      - Number of pods that forward requests, with NGINX Gateway Fabric for each Gateway, with Traefik for all Gateways
        together.
    type: int
    default: 2
  manage_crds:
    description:
      - Whether to apply the CRDs of the Gateway API. Otherwise they must already be in the cluster.
    type: bool
    default: true
  crds:
    description:
      - Manifests with the CRDs of the Gateway API. If empty, those of the release that the controller supports.
    type: list
    elements: dict
    default: []
    suboptions:
      source:
        description:
          - A URL or the path of a file. The control node reads it.
        type: str
        required: true
      checksum:
        description:
          - The SHA-256 of the manifest. Required for a URL.
        type: str
  manifests:
    description:
      - Manifests of NGINX Gateway Fabric, in the format of O(crds). If empty, those of the release O(version), whose
        checksums this module knows. Traefik needs none.
    type: list
    elements: dict
    default: []
  gateways:
    description:
      - The Gateways, at least one. An error message names the entry that is wrong.
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
          - The namespace of the Gateway, which must exist. The default is the namespace of the controller.
        type: str
      listeners:
        description:
          - The listeners, on which the Gateway accepts connections. Each has a C(name), a C(port), a C(protocol)
            (V(HTTP), the default, or V(HTTPS)), and for HTTPS C(tls). C(hostname), such as C(*.example.org), restricts
            it to matching host names. By default it accepts any.
          - C(from) says from which namespaces routes may attach, V(all), V(same) (the Gateway's, the default), or those
            with the labels of C(selector), a label selector in Kubernetes's format.
          - C(tls) has either C(secret), the name of a Secret in the Gateway's namespace, or C(certificate_file) and
            C(key_file), paths on the control node from which a Secret is made. The files may be encrypted with Ansible
            Vault.
        type: list
        elements: dict
        required: true
      address:
        description:
          - The address that MetalLB gives the Gateway, or a list of one IPv4 and one IPv6 address.
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
      - Whether to take over fields that another manager owns with a different value. Otherwise they are an error that
        names the other manager.
    type: bool
    default: false
  remove_crds:
    description:
      - Whether O(state=absent) also removes the CRDs of the Gateway API that this module applied. The module refuses
        this while objects of these kinds exist that it did not make.
    type: bool
    default: false
  timeout:
    description:
      - How many seconds to wait for the Gateways, and for each object that is removed.
    type: int
    default: 300
  validate_only:
    description:
      - Whether to only check the Gateways and the options of the controller on the control node, without a request to
        the API server. Nothing is changed.
    type: bool
    default: false
seealso:
  - ref: gateway role <ansible_collections.homelab.loadbalancer.gateway_role>
    description: Calls this module with the variables of the role.
"""

EXAMPLES = r"""
- name: Serve HTTP and HTTPS with Traefik
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
  description: Remarks for the user, for instance which objects a removal leaves in the cluster.
  returned: success
  type: list
  elements: str
addresses:
  description: The addresses of each declared Gateway that exists in the cluster. The keys are C(namespace/name).
  returned: success, without O(validate_only)
  type: dict
  sample: {traefik/public: [172.16.0.100]}
certificates:
  description:
    - The contents of each declared C(certificate_file), by path. Files that cannot be read are left out. Private keys
      are not returned.
  returned: with O(validate_only)
  type: dict
"""
