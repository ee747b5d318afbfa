#!/usr/bin/python
# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# What it does is in the action plugin of the same name.

from __future__ import annotations

DOCUMENTATION = r"""
module: k8s_logs
short_description: The logs of many containers of a Kubernetes cluster, as one text
version_added: 0.1.0
description:
  - Reads the logs of all containers of pods, which are named or have labels, and sets their lines in order of time,
    each behind the pod and container that wrote it. M(kubernetes.core.k8s_log) reads the log of one pod.
  - Pods may be hostile. Control characters in their lines are returned as C(\\x1b) and its kind, so that no terminal
    obeys them; tabs are returned as spaces.
  - A container without a log, for instance one that has not started, is no error. Why it has none is told.
author:
  - The homelab.loadbalancer authors (@homelab-loadbalancer)
extends_documentation_fragment:
  - homelab.loadbalancer.attributes
  - homelab.loadbalancer.kubernetes
  - homelab.loadbalancer.kubernetes.reading
options:
  names:
    description:
      - The names of pods. Give either these or O(label_selectors).
    type: list
    elements: str
    default: []
  label_selectors:
    description:
      - The pods with all of these labels, each as C(kubectl get --selector) takes it.
    type: list
    elements: str
    default: []
  namespace:
    description:
      - The namespace of the pods. Empty is V(default) with O(names), and all with O(label_selectors).
    type: str
    default: ''
  container:
    description:
      - Only the container of this name. Empty is all of a pod, those that only prepare it as well.
    type: str
    default: ''
  since:
    description:
      - Only lines that are not older, such as V(90s), V(10m), V(1h30m) or V(2d). Empty is all.
    type: str
    default: ''
  tail:
    description:
      - How many lines of each container, the last ones. V(-1) is all, of which the first 4 MiB are read.
    type: int
    default: 100
  previous:
    description:
      - Whether to read what the container wrote before it was restarted the last time.
    type: bool
    default: false
seealso:
  - module: kubernetes.core.k8s_log
"""

EXAMPLES = r"""
- name: Read what an application wrote in the last minutes
  homelab.loadbalancer.k8s_logs:
    label_selectors: [app.kubernetes.io/name=web]
    since: 10m
  register: logs

- name: Show it
  ansible.builtin.debug:
    msg: "{{ logs.text }}"
"""

RETURN = r"""
logs:
  description: The log of each container.
  returned: success
  type: list
  elements: dict
  contains:
    namespace:
      description: The pod's namespace.
      type: str
    pod:
      description: The pod's name.
      type: str
    container:
      description: The container's name.
      type: str
    lines:
      description: Its lines.
      type: list
      elements: str
    note:
      description: Why there are none, as far as the API server tells. Otherwise empty.
      type: str
text:
  description: All lines in order of time, each behind its pod and container.
  returned: success
  type: str
  sample: |-
    web-6c5f7d9b-8xk2p/web  | listening on :8080
    web-6c5f7d9b-zz4xw/web  | listening on :8080
"""
