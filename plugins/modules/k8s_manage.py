#!/usr/bin/python
# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# The action plugin of the same name does the work.

from __future__ import annotations

DOCUMENTATION = r"""
module: k8s_manage
short_description: Creates, replaces, patches, deletes or reads one object of a Kubernetes cluster
version_added: 0.2.0
description:
  - Does one operation on one object, and fails if it cannot be done. V(create) fails if the object already exists.
    V(replace), V(patch) and V(read) fail if it does not exist. In contrast, M(kubernetes.core.k8s) changes an existing
    object instead of creating it, and creates a missing object instead of replacing it.
  - To declare objects, whether or not they exist, use M(homelab.loadbalancer.k8s_apply).
  - Unless O(show_secrets) is set, the values of Secrets are not returned, and do not appear in the diff or in messages.
  - Writes are disabled unless O(allow_write) is set. Check mode works without it, because the API server only tries the
    change in a dry run.
author:
  - The homelab.loadbalancer authors (@homelab-loadbalancer)
extends_documentation_fragment:
  - homelab.loadbalancer.attributes
  - homelab.loadbalancer.kubernetes
attributes:
  check_mode:
    support: full
    details:
      - The API server tries the change in a dry run, and does not store it.
  diff_mode:
    support: full
    details:
      - Unless O(show_secrets) is set, the diff shows that the value of a Secret changes, but not the value.
  idempotent:
    support: partial
    details:
      - V(create) fails the second time. The other operations change nothing the second time, except a JSON patch that
        adds to a list.
options:
  operation:
    description:
      - The operation.
    type: str
    choices: [create, replace, patch, delete, read]
    required: true
  definition:
    description:
      - The object for V(create) and V(replace), a mapping or a text in YAML. For the other operations, it may identify
        the object instead of O(kind), O(api_version), O(name) and O(namespace).
    type: raw
  patch:
    description:
      - The patch for V(patch). A mapping, or with O(patch_type=json) a list of operations with C(op) and C(path). It
        may be a text in YAML.
    type: raw
  patch_type:
    description:
      - How O(patch) is merged.
      - V(strategic) merges lists by their keys, such as the names of containers. Custom resources do not support it.
      - V(merge) (RFC 7386) replaces whole lists. V(json) (RFC 6902) is a list of operations.
    type: str
    choices: [strategic, merge, json]
    default: strategic
  kind:
    description:
      - The kind, written as V(Deployment), V(deployments), V(deploy) or V(deployments.apps). The default is that of
        O(definition).
    type: str
    default: ''
  api_version:
    description:
      - The group and version of the kind, such as V(apps/v1). The default is that of O(definition), or the version that
        the cluster prefers.
    type: str
    default: ''
  name:
    description:
      - The name of the object. The default is that in O(definition).
    type: str
    default: ''
  namespace:
    description:
      - The namespace of the object, if its kind is namespaced. The default is that in O(definition), or V(default).
    type: str
    default: ''
  propagation:
    description:
      - What happens to the dependents of a deleted object, such as the pods of a Deployment. V(Foreground) deletes them
        before the object, V(Background) after it, and V(Orphan) keeps them.
    type: str
    choices: [Foreground, Background, Orphan]
    default: Background
  wait:
    description:
      - Whether to wait until a deleted object is gone.
    type: bool
    default: true
  timeout:
    description:
      - How many seconds to wait until a deleted object is gone.
    type: int
    default: 120
  allow_write:
    description:
      - Whether the module may write. Outside of check mode, required for all operations except V(read).
    type: bool
    default: false
  show_secrets:
    description:
      - Whether the values of Secrets are returned, and shown in the diff.
    type: bool
    default: false
seealso:
  - module: kubernetes.core.k8s
  - module: kubernetes.core.k8s_json_patch
"""

EXAMPLES = r"""
- name: Create a namespace that must be new
  homelab.loadbalancer.k8s_manage:
    operation: create
    definition: {apiVersion: v1, kind: Namespace, metadata: {name: demo}}
    allow_write: true

- name: Scale an application
  homelab.loadbalancer.k8s_manage:
    operation: patch
    kind: deployments
    name: web
    patch: {spec: {replicas: 3}}
    allow_write: true
"""

RETURN = r"""
object:
  description: The object after the operation, or a deleted object before it. Empty if there was nothing to delete.
  returned: success
  type: dict
change:
  description: What was done, or would be in check mode. Empty if nothing changed.
  returned: success
  type: str
  sample: patch Deployment default/web
"""
