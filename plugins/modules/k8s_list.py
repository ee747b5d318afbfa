#!/usr/bin/python
# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# The action plugin of the same name does the work.

from __future__ import annotations

DOCUMENTATION = r"""
module: k8s_list
short_description: Lists objects of a Kubernetes cluster as kubectl does, without the values of Secrets
version_added: 0.2.0
description:
  - Lists the objects of one or several kinds, with the columns that C(kubectl get) shows, including those of custom
    resources.
  - Unless O(show_secrets) is set, the values of Secrets are left out wherever they are in an object, so that they reach
    neither the terminal nor a log at any verbosity.
  - Kinds have the same names as in kubectl. A selector that the API server refuses is an error.
    M(kubernetes.core.k8s_info) needs the API version, shows Secrets, and returns nothing for such a selector.
author:
  - The homelab.loadbalancer authors (@homelab-loadbalancer)
extends_documentation_fragment:
  - homelab.loadbalancer.attributes
  - homelab.loadbalancer.kubernetes
  - homelab.loadbalancer.kubernetes.reading
options:
  kinds:
    description:
      - The kinds, each written as V(Deployment), V(deployments), V(deploy) or V(deployments.apps).
    type: list
    elements: str
    required: true
  api_version:
    description:
      - The group and version of the kinds, such as V(apps/v1). If empty, the version that the cluster prefers. If
        several groups have a kind of this name, the one of Kubernetes itself is used.
    type: str
    default: ''
  namespace:
    description:
      - Only objects of this namespace. If empty, all namespaces.
    type: str
    default: ''
  label_selectors:
    description:
      - Only objects that match all of these selectors, each in the format of C(kubectl get --selector).
    type: list
    elements: str
    default: []
  field_selectors:
    description:
      - Only objects that match all of these selectors, each in the format of C(kubectl get --field-selector).
    type: list
    elements: str
    default: []
  wide:
    description:
      - Whether to add the columns of C(kubectl get -o wide).
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
- name: List the objects of an application
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
  description: The result for each kind, in the order of O(kinds).
  returned: success
  type: list
  elements: dict
  contains:
    kind:
      description: The name of the kind in the cluster.
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
      description: For each object a list of texts, one per column.
      type: list
      elements: list
    objects:
      description: The objects, in the order of the rows, without C(metadata.managedFields).
      type: list
      elements: dict
"""
