#!/usr/bin/python
# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# The action plugin of the same name does the work.

from __future__ import annotations

DOCUMENTATION = r"""
module: k8s_logs
short_description: The logs of many containers of a Kubernetes cluster, as one text
version_added: 0.2.0
description:
  - Reads the logs of all containers of pods, and sorts their lines by time. Each line starts with the pod and container
    that wrote it. The pods are chosen by name or by label. M(kubernetes.core.k8s_log) reads the log of one pod.
  - Pods may be hostile. Control characters in their lines are returned in escaped form, such as C(\\x1b), so that a
    terminal does not interpret them. Tabs are returned as spaces.
  - A container without a log, for instance one that has not started, is no error. RV(logs[].note) says why it has
    none.
author:
  - The homelab.loadbalancer authors (@homelab-loadbalancer)
extends_documentation_fragment:
  - homelab.loadbalancer.attributes
  - homelab.loadbalancer.kubernetes
  - homelab.loadbalancer.kubernetes.reading
options:
  names:
    description:
      - The names of the pods. Give either O(names) or O(label_selectors).
    type: list
    elements: str
    default: []
  label_selectors:
    description:
      - The pods that match all of these selectors, each in the format of C(kubectl get --selector).
    type: list
    elements: str
    default: []
  namespace:
    description:
      - The namespace of the pods. If empty, it is V(default) with O(names), and all namespaces with
        O(label_selectors).
    type: str
    default: ''
  container:
    description:
      - Only the container of this name. If empty, all containers of a pod, including init containers.
    type: str
    default: ''
  since:
    description:
      - The maximum age of the lines, such as V(90s), V(10m), V(1h30m) or V(2d). If empty, lines of any age.
    type: str
    default: ''
  tail:
    description:
      - How many of the last lines of each container to read. With V(-1), all lines are read, up to the first 4 MiB.
    type: int
    default: 100
  previous:
    description:
      - Whether to read the log of each container from before its last restart.
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

- name: Show the log
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
      description: Why there are no lines, if the API server gives a reason. Otherwise empty.
      type: str
text:
  description: All lines, sorted by time. Each starts with its pod and container.
  returned: success
  type: str
  sample: |-
    web-6c5f7d9b-8xk2p/web  | listening on :8080
    web-6c5f7d9b-zz4xw/web  | listening on :8080
"""
