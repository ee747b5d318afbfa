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
  - Only objects that change are applied. Whether one does is read from what the API server notes about the owners of
    fields, so that a controller's work on the same object does not count.
  - Fields that the objects do not name are left to whoever manages them.
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
      - A list of the objects, each with C(apiVersion), C(kind) and C(metadata.name). They are applied in this order,
        but Namespaces come first, and a CustomResourceDefinition comes before objects of its kind and is awaited. They
        are removed in the opposite order. Objects of one kind that follow each other are applied side by side.
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
  description: Nothing, for this module.
  returned: success
  type: list
  elements: str
unfinished:
  description: The objects that were not complete, by kind, namespace and name, where the task fails with O(wait).
  returned: failure
  type: list
  elements: str
  sample: [Deployment default/web]
"""
