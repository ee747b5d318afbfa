#!/usr/bin/python
# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# What it does is in the action plugin of the same name.

from __future__ import annotations

DOCUMENTATION = r"""
module: k8s_list
short_description: Lists objects of a Kubernetes cluster as kubectl does, and keeps Secrets closed
version_added: 0.1.0
description:
  - Lists the objects of one or several kinds, with the columns that C(kubectl get) shows, those of custom resources as
    well.
  - The values of Secrets are left out unless asked for, wherever they are in an object, so that they reach neither the
    terminal nor a log at any verbosity.
  - A kind is named as for kubectl, and a selector that the API server refuses is an error. M(kubernetes.core.k8s_info)
    needs the version, shows Secrets, and finds nothing by such a selector.
author:
  - The homelab.loadbalancer authors (@homelab-loadbalancer)
extends_documentation_fragment:
  - homelab.loadbalancer.attributes
  - homelab.loadbalancer.kubernetes
  - homelab.loadbalancer.kubernetes.reading
options:
  kinds:
    description:
      - The kinds, each as V(Deployment), V(deployments), V(deploy) or V(deployments.apps).
    type: list
    elements: str
    required: true
  api_version:
    description:
      - The group and version of the kinds, such as V(apps/v1). Empty is what the cluster prefers; where several groups
        have a kind of this name, that of Kubernetes itself.
    type: str
    default: ''
  namespace:
    description:
      - Only objects of this namespace. Empty is all.
    type: str
    default: ''
  label_selectors:
    description:
      - Only objects with all of these labels, each as C(kubectl get --selector) takes it.
    type: list
    elements: str
    default: []
  field_selectors:
    description:
      - Only objects with all of these fields, each as C(kubectl get --field-selector) takes it.
    type: list
    elements: str
    default: []
  wide:
    description:
      - Whether the rows have the columns, too, that C(kubectl get -o wide) adds.
    type: bool
    default: false
  show_secrets:
    description:
      - Whether the values of Secrets are returned.
    type: bool
    default: false
seealso:
  - module: homelab.loadbalancer.k8s_read
  - module: kubernetes.core.k8s_info
"""

EXAMPLES = r"""
- name: List what belongs to an application
  homelab.loadbalancer.k8s_list:
    kinds: [deployments, pods, services]
    namespace: default
    label_selectors: [app.kubernetes.io/name=web]
  register: web

- name: Show the pods
  ansible.builtin.debug:
    msg: "{{ web.found[1].rows | homelab.loadbalancer.table(web.found[1].columns) }}"
"""

RETURN = r"""
found:
  description: What was found of each kind, in the same order.
  returned: success
  type: list
  elements: dict
  contains:
    kind:
      description: The kind, as the cluster calls it.
      type: str
      sample: Pod
    api_version:
      description: Its group and version.
      type: str
      sample: v1
    columns:
      description: The headings of the rows.
      type: list
      elements: str
    rows:
      description: A list of texts for each object.
      type: list
      elements: list
    objects:
      description: The objects, in the same order. Without C(metadata.managedFields).
      type: list
      elements: dict
"""
