#!/usr/bin/python
# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# What it does is in the action plugin of the same name.

from __future__ import annotations

DOCUMENTATION = r"""
module: k8s_apply
short_description: Applies manifests from files, folders, URLs or text to a Kubernetes cluster
version_added: 0.1.0
description:
  - Reads objects on the control node, puts them into namespaces, and applies or removes them as
    M(homelab.loadbalancer.k8s_objects) does, by server-side apply, after a dry run of all of them.
  - All sources are read and checked before anything is asked of the API server. A message names the file and line, and
    never quotes the text, in which a Secret may stand.
  - It writes only with O(allow_write), or in check mode, in which the API server tries the changes and keeps nothing.
author:
  - The homelab.loadbalancer authors (@homelab-loadbalancer)
extends_documentation_fragment:
  - homelab.loadbalancer.attributes
  - homelab.loadbalancer.kubernetes
  - homelab.loadbalancer.kubernetes.declaring
  - homelab.loadbalancer.kubernetes.applying
options:
  src:
    description:
      - Where the objects are, in the order in which they are applied. Each is a file, a folder, a URL of http or https,
        or a mapping of C(src) and C(checksum).
      - Of a folder the files C(*.yml), C(*.yaml) and C(*.json) are read in order of their names, and none of folders
        in it. A path is looked for in the folder in which Ansible was started, and then where Ansible looks for files.
      - A file may be encrypted by Ansible Vault.
    type: list
    elements: raw
    default: []
  checksum:
    description:
      - The checksum of the single file or URL in O(src), such as V(sha256:...). With another nothing is applied.
    type: str
    default: ''
  definitions:
    description:
      - More objects, applied after those of O(src). A list, one object, or a text in YAML of one or several documents.
    type: raw
  default_namespace:
    description:
      - The namespace of objects that name none, where their kind has one.
    type: str
    default: default
  override_namespace:
    description:
      - The namespace of all objects whose kind has one, whatever they name. Empty is to leave them where they are.
      - What refers to a namespace elsewhere in an object, such as the subjects of a RoleBinding, is left as it is.
    type: str
    default: ''
  allow_write:
    description:
      - Must be set outside of check mode.
    type: bool
    default: false
seealso:
  - module: homelab.loadbalancer.k8s_objects
  - module: kubernetes.core.k8s
"""

EXAMPLES = r"""
- name: Apply a folder, and a manifest of a project
  homelab.loadbalancer.k8s_apply:
    src:
      - manifests
      - src: https://example.org/releases/1.2/install.yaml
        checksum: sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08
    default_namespace: demo
    allow_write: true
"""

RETURN = r"""
changes:
  description: What was done, or would be in check mode.
  returned: success
  type: list
  elements: str
  sample: [create ConfigMap default/greeting]
rows:
  description: What became of each object, and its name.
  returned: success
  type: list
  elements: list
  sample: [[create, ConfigMap default/greeting], [unchanged, Service default/web]]
objects:
  description: C(apiVersion), C(kind), and the name and namespace in C(metadata) of each object.
  returned: success
  type: list
  elements: dict
unfinished:
  description: The objects that were not complete, by kind, namespace and name, where the task fails with O(wait).
  returned: failure
  type: list
  elements: str
  sample: [Deployment default/web]
"""
