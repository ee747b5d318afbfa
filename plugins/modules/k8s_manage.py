#!/usr/bin/python
# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# What it does is in the action plugin of the same name.

from __future__ import annotations

DOCUMENTATION = r"""
module: k8s_manage
short_description: Creates, replaces, patches, deletes or reads one object of a Kubernetes cluster
version_added: 0.1.0
description:
  - Does one thing with one object, and nothing else where that cannot be done. V(create) fails when the object is there
    already, V(replace), V(patch) and V(read) when it is not. M(kubernetes.core.k8s) changes an object that was to be
    created, and creates one that was to be replaced.
  - To keep objects as they are declared, whatever is there, use M(homelab.loadbalancer.k8s_apply).
  - The values of Secrets are neither returned nor shown in the diff nor in a message, unless asked for.
  - It writes only with O(allow_write), or in check mode, in which the API server tries the change and keeps nothing.
author:
  - The homelab.loadbalancer authors (@homelab-loadbalancer)
extends_documentation_fragment:
  - homelab.loadbalancer.attributes
  - homelab.loadbalancer.kubernetes
attributes:
  check_mode:
    support: full
    details:
      - The API server tries the change, and keeps nothing of it.
  diff_mode:
    support: full
    details:
      - The values of Secrets are not shown unless O(show_secrets) is set; that one changes, is.
  idempotent:
    support: partial
    details:
      - V(create) fails the second time. The others change nothing then, but for a JSON patch whose operations add to
        a list.
options:
  operation:
    description:
      - What to do.
    type: str
    choices: [create, replace, patch, delete, read]
    required: true
  definition:
    description:
      - The object for V(create) and V(replace), a mapping or a text in YAML. For the others it may say which object is
        meant.
    type: raw
  patch:
    description:
      - What changes, for V(patch). A mapping, or for O(patch_type=json) a list of operations with C(op) and C(path); or
        a text of it in YAML.
    type: raw
  patch_type:
    description:
      - How O(patch) is merged. V(strategic) knows the keys of lists, such as the names of containers, and custom
        resources have none of it; V(merge) (RFC 7386) replaces whole lists; V(json) (RFC 6902) is a list of operations.
    type: str
    choices: [strategic, merge, json]
    default: strategic
  kind:
    description:
      - The kind, as V(Deployment), V(deployments), V(deploy) or V(deployments.apps). That of O(definition) by default.
    type: str
    default: ''
  api_version:
    description:
      - The group and version of the kind, such as V(apps/v1). By default that of O(definition), or what the cluster
        prefers.
    type: str
    default: ''
  name:
    description:
      - The object's name. That in O(definition) by default.
    type: str
    default: ''
  namespace:
    description:
      - The object's namespace, where its kind has one. By default that in O(definition), or V(default).
    type: str
    default: ''
  propagation:
    description:
      - What becomes of the objects that belong to one that is deleted, such as the pods of a Deployment. V(Foreground)
        deletes them first, V(Background) later, and V(Orphan) leaves them.
    type: str
    choices: [Foreground, Background, Orphan]
    default: Background
  wait:
    description:
      - Whether to wait until an object that is deleted is gone.
    type: bool
    default: true
  timeout:
    description:
      - How many seconds to wait for that.
    type: int
    default: 120
  allow_write:
    description:
      - Must be set for all operations but V(read), outside of check mode.
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
  description: The object as it is now, or as it was when it was deleted. Empty when there was nothing to delete.
  returned: success
  type: dict
change:
  description: What was done, or would be in check mode. Empty when nothing changed.
  returned: success
  type: str
  sample: patch Deployment default/web
"""
