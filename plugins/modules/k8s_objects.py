#!/usr/bin/python
# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# What it does is in the action plugin of the same name.

from __future__ import annotations

DOCUMENTATION = r"""
module: k8s_objects
short_description: Objects of a Kubernetes cluster, by server-side apply
version_added: 0.1.0
description:
  - Applies a list of objects, or removes them. All of them are tried on the API server first, by a server-side dry run;
    when one is refused, nothing is changed.
  - Works by M(kubernetes.core.k8s), which applies only those that change. Whether one does is read from what the API
    server notes about the owners of fields, so that a controller's work on the same object does not count.
  - Fields that the objects do not name are left to whoever manages them.
author:
  - The homelab.loadbalancer authors (@homelab-loadbalancer)
extends_documentation_fragment:
  - homelab.loadbalancer.attributes
  - homelab.loadbalancer.kubernetes
attributes:
  check_mode:
    support: full
    details:
      - An object whose namespace or kind is not there yet cannot be tried. In check mode it counts as one that would be
        created.
  diff_mode:
    support: full
    details:
      - The values of Secrets are not shown.
  idempotent:
    support: full
options:
  definitions:
    description:
      - The objects, each with C(apiVersion), C(kind) and C(metadata.name). They are applied in this order, but for
        CustomResourceDefinitions, which come first and are awaited; they are removed in the opposite order.
    type: list
    elements: dict
    required: true
  state:
    description:
      - Whether the objects are to be there. Removal is awaited, that of pods which belong to an object as well.
    type: str
    choices: [present, absent]
    default: present
  field_manager:
    description:
      - The name under which the API server keeps which fields are ours.
    type: str
    default: homelab.loadbalancer
  force_conflicts:
    description:
      - Take over fields that somebody else manages and that have another value. Otherwise that is an error, which names
        the other manager.
    type: bool
    default: false
  timeout:
    description:
      - How many seconds to wait for a CustomResourceDefinition to be established, and for each object to be gone.
    type: int
    default: 120
"""

EXAMPLES = r"""
- name: Keep a ConfigMap
  homelab.loadbalancer.k8s_objects:
    definitions:
      - apiVersion: v1
        kind: ConfigMap
        metadata: {name: greeting, namespace: default}
        data: {text: hello}
"""

RETURN = r"""
changes:
  description: What was done, or would be in check mode.
  returned: success
  type: list
  elements: str
  sample: [create ConfigMap default/greeting]
"""
