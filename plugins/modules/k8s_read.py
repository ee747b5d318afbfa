#!/usr/bin/python
# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# What it does is in the action plugin of the same name.

from __future__ import annotations

DOCUMENTATION = r"""
module: k8s_read
short_description: Objects of several kinds of a Kubernetes cluster, read in one go
version_added: 0.1.0
description:
  - Does what M(kubernetes.core.k8s_info) does in a loop, in one task, and asks all of it side by side.
author:
  - The homelab.loadbalancer authors (@homelab-loadbalancer)
extends_documentation_fragment:
  - homelab.loadbalancer.attributes
  - homelab.loadbalancer.kubernetes
  - homelab.loadbalancer.kubernetes.reading
options:
  queries:
    description:
      - What to read. With an empty list the API server is only asked whether it answers.
    type: list
    elements: dict
    required: true
    suboptions:
      kind:
        description:
          - The kind of the objects. V(*) is all kinds of O(queries[].namespace), which it then needs, but for events;
            of these objects it returns C(apiVersion), C(kind) and C(metadata) alone.
        type: str
        required: true
      api_version:
        description:
          - The group and version of the kind.
        type: str
        default: v1
      namespace:
        description:
          - Only objects of this namespace.
        type: str
      name:
        description:
          - Only the object of this name.
        type: str
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
      hidden_fields:
        description:
          - Fields that are left out, for instance C(data) of a Secret, or C(data[tls.key]) of it.
        type: list
        elements: str
        default: [metadata.managedFields]
      optional:
        description:
          - Whether it is no failure when the API server forbids to read them. The answer then has no objects, and
            RV(found[].forbidden).
        type: bool
        default: false
seealso:
  - module: kubernetes.core.k8s_info
  - module: homelab.loadbalancer.k8s_objects
"""

EXAMPLES = r"""
- name: Look at nodes, and at Services of one application
  homelab.loadbalancer.k8s_read:
    queries:
      - kind: Node
      - {kind: Service, namespace: default, label_selectors: [app=web]}
  register: seen

- name: Show the addresses of the nodes
  ansible.builtin.debug:
    msg: "{{ seen.found[0].resources | map(attribute='status.addresses') }}"
"""

RETURN = r"""
found:
  description: An answer to each query, in the same order.
  returned: success
  type: list
  elements: dict
  contains:
    kind:
      description: The kind that was asked for.
      type: str
    api_found:
      description: Whether the API server knows the kind.
      type: bool
    resources:
      description: The objects.
      type: list
      elements: dict
    forbidden:
      description: That the API server forbids to read them.
      returned: when it does, for a query with C(optional)
      type: bool
"""
