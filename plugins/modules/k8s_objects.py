#!/usr/bin/python
# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# What it does is in the action plugin of the same name.

from __future__ import annotations

DOCUMENTATION = r"""
module: k8s_objects
short_description: Objects of a Kubernetes cluster, by server-side apply
version_added: 0.2.0
description:
  - Applies or removes a list of objects. First, all of them are sent to the API server as a server-side dry run. If it
    refuses one, nothing is changed.
  - Only objects that differ are applied. They are compared with the fields that this module owns according to the API
    server (C(managedFields)), so that a controller's changes to other fields do not count.
  - Fields that the objects do not contain are left to their managers.
author:
  - The homelab.loadbalancer authors (@homelab-loadbalancer)
extends_documentation_fragment:
  - homelab.loadbalancer.attributes
  - homelab.loadbalancer.kubernetes
  - homelab.loadbalancer.kubernetes.declaring
  - homelab.loadbalancer.kubernetes.applying
options:
  definitions:
    description:
      - The objects, each with C(apiVersion), C(kind) and C(metadata.name).
      - They are applied in this order, except that Namespaces come first, and a CustomResourceDefinition comes before
        the objects of its kind. The module waits until the CustomResourceDefinition is established. Consecutive objects
        of one kind are applied in parallel.
      - They are removed in reverse order.
    type: raw
    required: true
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
notes:
  description: Always empty for this module.
  returned: success
  type: list
  elements: str
unfinished:
  description: The objects whose rollout was not complete, by kind, namespace and name, if the task fails with O(wait).
  returned: failure
  type: list
  elements: str
  sample: [Deployment default/web]
"""
