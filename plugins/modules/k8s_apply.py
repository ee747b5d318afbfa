#!/usr/bin/python
# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# The action plugin of the same name does the work.

from __future__ import annotations

DOCUMENTATION = r"""
module: k8s_apply
short_description: Applies manifests from files, folders, URLs or text to a Kubernetes cluster
version_added: 0.2.0
description:
  - Reads objects on the control node, sets their namespaces, and applies or removes them as
    M(homelab.loadbalancer.k8s_objects) does, by server-side apply, after a dry run of all of them.
  - All sources are read and checked before the first request to the API server. An error message names the file and
    line, and never quotes the text, because it may contain a Secret.
  - Writes are disabled unless O(allow_write) is set. Check mode works without it, because the API server only tries the
    changes in a dry run.
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
      - The sources of the objects, in the order in which they are applied. Each is a file, a folder, an HTTP or HTTPS
        URL, or a mapping of C(src) and C(checksum).
      - In a folder, the files C(*.yml), C(*.yaml) and C(*.json) are read in order of their names. Subfolders are
        ignored. A path is looked up in the folder in which Ansible was started, and then in Ansible's search path for
        files.
      - A file may be encrypted with Ansible Vault.
    type: list
    elements: raw
    default: []
  checksum:
    description:
      - The checksum of the single file or URL in O(src), such as V(sha256:...). If the content has a different
        checksum, nothing is applied.
    type: str
    default: ''
  definitions:
    description:
      - More objects, applied after those of O(src). A list, one object, or a text of one or several YAML documents.
    type: raw
  default_namespace:
    description:
      - The namespace of namespaced objects that do not specify one.
    type: str
    default: default
  override_namespace:
    description:
      - The namespace of all namespaced objects. It replaces the one that they specify. If empty, they keep theirs.
      - Other references to a namespace in an object, such as the subjects of a RoleBinding, are not changed.
    type: str
    default: ''
  allow_write:
    description:
      - Whether the module may write. Required outside of check mode.
    type: bool
    default: false
seealso:
  - module: homelab.loadbalancer.k8s_objects
  - module: kubernetes.core.k8s
"""

EXAMPLES = r"""
- name: Apply a folder and a project's manifest
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
  description: The result for each object, and its name.
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
  description: The objects whose rollout was not complete, by kind, namespace and name, if the task fails with O(wait).
  returned: failure
  type: list
  elements: str
  sample: [Deployment default/web]
"""
