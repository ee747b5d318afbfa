#!/usr/bin/python
# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# What it does is in the action plugin of the same name.

from __future__ import annotations

DOCUMENTATION = r"""
module: app
short_description: An application in a Kubernetes cluster
version_added: 0.1.0
description:
  - Runs an application in a cluster, from its name and image, or any manifests, and waits until it works. When the
    rollout fails, it is explained with the state of the containers, the last events and the last log lines; the pods of
    before go on working.
  - O(name) and O(image) make a Deployment, a Service where there are O(ports) and ConfigMaps and PersistentVolumeClaims
    where there are files and volumes, as the filter P(homelab.loadbalancer.app_manifest#filter) does.
  - All objects are tried on the API server first, by a server-side dry run; when one is refused, nothing is changed.
  - An object of the application that is not declared any more is removed when the others work, except the claims of
    O(volumes), which hold data. It is known by its labels; an object of the same name without them is not removed.
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
      - It waits for nothing. An object whose namespace is not there yet counts as one that would be created.
  diff_mode:
    support: full
    details:
      - The values of Secrets are never shown.
  idempotent:
    support: full
options:
  state:
    description:
      - V(present) runs the application. V(absent) removes its objects, as far as they are ours by their labels, and
        those of O(manifests) and O(manifest_files), whoever made them. A namespace in which somebody else has objects
        stays, and so does one with a claim that is kept.
    type: str
    choices: [present, absent]
    default: present
  name:
    description:
      - The application's name, which all objects have. Lower-case letters, digits and inner hyphens.
      - Without it, O(manifests), O(manifest_files) or O(part_of) say what the module is about.
    type: str
    default: ''
  image:
    description: The image reference, such as V(registry.example.org/team/web:1.2). Needed with O(name).
    type: str
    default: ''
  manifests:
    description:
      - Any objects, as Kubernetes has them, in the order in which they are to be applied. They come before those of
        O(name).
    type: list
    elements: dict
    default: []
  manifest_files:
    description:
      - Files on the control node with more of them, each of one or several YAML documents, found as Ansible finds
        files. Applied after O(manifests).
    type: list
    elements: path
    default: []
  part_of:
    description:
      - The name of this declaration. The objects of O(name) bear it as the label C(app.kubernetes.io/part-of). What
        bears it among PersistentVolumeClaims, ConfigMaps, Deployments and Services of this collection and is not
        declared any more is removed, in all namespaces.
      - A Namespace among O(manifests) that somebody else made is left alone then. With O(state=absent) those go that
        bear the label.
      - Empty is to look for the objects of O(name) alone.
    type: str
    default: ''
  remove_undeclared:
    description:
      - Whether to remove objects that are not declared any more, when those that are declared work. With V(false) they
        stay, and RV(undeclared) names them for a task that removes them later, for instance by
        M(homelab.loadbalancer.k8s_objects).
    type: bool
    default: true
  delete_data:
    description:
      - Whether the claims of O(volumes) are removed, too, with the data in them, when the application or their entry
        goes. Without it those stay that do not say C(keep) V(false), and so do their namespaces.
    type: bool
    default: false
  force_conflicts:
    description:
      - Take over fields that somebody else manages and that have another value. Otherwise that is an error, which names
        the other manager.
    type: bool
    default: false
  wait:
    description: Whether to wait until the pods are as declared and available.
    type: bool
    default: true
  wait_for_address:
    description: Whether to wait until Services of type LoadBalancer have an address, too.
    type: bool
    default: false
  timeout:
    description: How many seconds to wait, for the whole rollout, and for each object that is removed.
    type: int
    default: 300
seealso:
  - plugin: homelab.loadbalancer.app_manifest
    plugin_type: filter
  - module: homelab.loadbalancer.k8s_objects
"""

EXAMPLES = r"""
- name: Run an application, and give it an address
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

- name: Remove the application, with its data
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
  description: Which claims and namespaces stay, and why.
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
  description: The objects that are not declared any more and stay, with O(remove_undeclared=false).
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
