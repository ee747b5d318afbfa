#!/usr/bin/python
# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# The action plugin of the same name does the work.

from __future__ import annotations

DOCUMENTATION = r"""
module: app
short_description: An application in a Kubernetes cluster
version_added: 0.2.0
description:
  - Runs an application in a cluster, from its name and image or from any manifests, and waits until it works. If the
    rollout fails, the message shows the state of the containers, the last events and the last log lines. The old pods
    keep working.
  - O(name) and O(image) make a Deployment. O(ports) add a Service, and files and volumes add ConfigMaps and
    PersistentVolumeClaims. The filter P(homelab.loadbalancer.app_manifest#filter) makes the same objects.
  - All objects are first sent to the API server as a server-side dry run. If it refuses one, nothing is changed.
  - Undeclared objects of the application are removed after the declared ones work, except the claims of O(volumes),
    which hold data. The module recognises its objects by their labels, and does not remove an object of the same name
    without them.
author:
  - The homelab.loadbalancer authors (@homelab-loadbalancer)
extends_documentation_fragment:
  - homelab.loadbalancer.attributes
  - homelab.loadbalancer.kubernetes
  - homelab.loadbalancer.app
attributes:
  check_mode:
    support: full
    details:
      - Check mode does not wait. If the namespace of an object does not exist yet, the object counts as created.
  diff_mode:
    support: full
    details:
      - The values of Secrets are never shown.
  idempotent:
    support: full
options:
  state:
    description:
      - V(present) runs the application.
      - V(absent) removes the objects of the application that have this module's labels, and the objects of
        O(manifests) and O(manifest_files), whoever made them. It keeps a namespace that holds other objects or a kept
        claim.
    type: str
    choices: [present, absent]
    default: present
  name:
    description:
      - The name of the application and of its objects. Lower-case letters, digits and inner hyphens.
      - If empty, O(manifests), O(manifest_files) or O(part_of) must be set.
    type: str
    default: ''
  image:
    description: The image reference, such as V(registry.example.org/team/web:1.2). Needed with O(name).
    type: str
    default: ''
  manifests:
    description:
      - Any objects, in Kubernetes's format. They are applied in this order, before the objects of O(name).
    type: list
    elements: dict
    default: []
  manifest_files:
    description:
      - Files on the control node with more objects, which are applied after O(manifests). Each holds one or several
        YAML documents. Ansible's search path for files applies.
    type: list
    elements: path
    default: []
  part_of:
    description:
      - The name of this declaration. The objects of O(name) get it as the label C(app.kubernetes.io/part-of).
      - If set, the module removes every undeclared PersistentVolumeClaim, ConfigMap, Deployment and Service of this
        collection that has the label, in all namespaces. O(state=absent) also removes its Namespaces that have
        the label. A Namespace in O(manifests) that others made is neither changed nor removed.
      - If empty, the module only looks for the objects of O(name).
    type: str
    default: ''
  remove_undeclared:
    description:
      - Whether to remove undeclared objects after the declared ones work. With V(false) they stay, and RV(undeclared)
        lists them, so that a later task can remove them, for instance with M(homelab.loadbalancer.k8s_objects).
    type: bool
    default: true
  delete_data:
    description:
      - Whether to remove the claims of O(volumes) and their data together with the application or the entry. With
        V(false), only claims with C(keep) V(false) are removed. The other claims and their namespaces stay.
    type: bool
    default: false
  force_conflicts:
    description:
      - Whether to take over fields that another manager owns with a different value. Otherwise they are an error that
        names the other manager.
    type: bool
    default: false
  wait:
    description: Whether to wait until the pods are as declared and available.
    type: bool
    default: true
  wait_for_address:
    description: Whether to wait also until Services of type LoadBalancer have an address.
    type: bool
    default: false
  timeout:
    description: How many seconds to wait for the whole rollout, and for each object that is removed.
    type: int
    default: 300
seealso:
  - plugin: homelab.loadbalancer.app_manifest
    plugin_type: filter
  - module: homelab.loadbalancer.k8s_objects
"""

EXAMPLES = r"""
- name: Run an application and give it an address
  homelab.loadbalancer.app:
    name: web
    image: registry.example.org/team/web:1.2
    replicas: 2
    ports: [{port: 80, target_port: 8080}]
    service_type: LoadBalancer
    wait_for_address: true
  register: web

- name: Show its addresses
  ansible.builtin.debug:
    msg: "{{ web.addresses['default/web'] }}"

- name: Apply a namespace and the manifests of a file
  homelab.loadbalancer.app:
    manifests:
      - {apiVersion: v1, kind: Namespace, metadata: {name: demo}}
    manifest_files: [demo.yml]

- name: Remove the application and its data
  homelab.loadbalancer.app:
    name: web
    state: absent
    delete_data: true
"""

RETURN = r"""
changes:
  description: What was done, or would be in check mode.
  returned: success
  type: list
  elements: str
  sample: [create Deployment default/web, create Service default/web]
notes:
  description: The claims and namespaces that stay, and why.
  returned: success
  type: list
  elements: str
  sample: [PersistentVolumeClaim default/web-data]
addresses:
  description: The addresses of the Services of type LoadBalancer, by namespace and name, with O(wait_for_address).
  returned: success
  type: dict
  sample: {default/web: [172.16.0.100]}
undeclared:
  description: The undeclared objects that stay, with O(remove_undeclared=false).
  returned: success
  type: list
  elements: dict
  sample: [{apiVersion: v1, kind: Service, metadata: {name: old, namespace: default}}]
unfinished:
  description: The objects whose rollout was not complete, by kind, namespace and name.
  returned: failure
  type: list
  elements: str
  sample: [Deployment default/web]
"""
