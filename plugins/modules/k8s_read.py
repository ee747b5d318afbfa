#!/usr/bin/python
# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# What it does is in the action plugin of the same name.

from __future__ import annotations

DOCUMENTATION = r"""
module: k8s_read
short_description: Objects of several kinds of a Kubernetes cluster, read in one go
version_added: 0.2.0
description:
  - Does in one task, with parallel requests, what would need a loop over M(kubernetes.core.k8s_info).
author:
  - The homelab.loadbalancer authors (@homelab-loadbalancer)
extends_documentation_fragment:
  - homelab.loadbalancer.attributes
  - homelab.loadbalancer.kubernetes
  - homelab.loadbalancer.kubernetes.reading
options:
  queries:
    description:
      - The queries. With an empty list, the module only checks that the API server answers.
    type: list
    elements: dict
    required: true
    suboptions:
      kind:
        description:
          - The kind of the objects. V(*) is all kinds except events in O(queries[].namespace), which is then required.
            With V(*), only C(apiVersion), C(kind) and C(metadata) of the objects are returned.
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
      hidden_fields:
        description:
          - Fields to leave out, such as C(data) of a Secret, or its C(data[tls.key]).
        type: list
        elements: str
        default: [metadata.managedFields]
      optional:
        description:
          - Whether the module continues if the API server forbids reading these objects. The answer then has no objects
            and sets RV(found[].forbidden).
        type: bool
        default: false
seealso:
  - module: kubernetes.core.k8s_info
  - module: homelab.loadbalancer.k8s_objects
"""

EXAMPLES = r"""
- name: Read the nodes, and the Services of one application
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
  description: The answers, in the order of O(queries).
  returned: success
  type: list
  elements: dict
  contains:
    kind:
      description: The kind in the query.
      type: str
    api_found:
      description: Whether the API server knows the kind.
      type: bool
    resources:
      description: The objects.
      type: list
      elements: dict
    forbidden:
      description: Set if the API server forbids reading the objects.
      returned: when it does, for a query with C(optional)
      type: bool
"""
