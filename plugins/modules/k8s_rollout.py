#!/usr/bin/python
# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# What it does is in the action plugin of the same name.

from __future__ import annotations

DOCUMENTATION = r"""
module: k8s_rollout
short_description: Waits for the rollout of workloads, and explains why it fails
version_added: 0.1.0
description:
  - Waits until the pods of Deployments, StatefulSets and DaemonSets are as declared and available, as C(kubectl rollout
    status) does, and on request until Services of type LoadBalancer have an address.
  - A node that is NotReady or cordoned and hinders pods is named in a warning as soon as it is seen, and is the first
    cause in the message. No waiting helps a workload with pods on a node that Kubernetes takes for down (its condition
    Ready is Unknown). Run it again when the node is back or has left the cluster, or when Kubernetes has moved its
    pods, which it does with those of Deployments after five minutes.
  - When time is up, or before that when no waiting helps any of them, as with an image that does not exist, it fails
    with the state of the containers, the last events and the last log lines of the pods. Control characters in them are
    shown and not obeyed. A PersistentVolumeClaim for which nothing makes a volume ends the waiting after half a
    minute.
author:
  - The homelab.loadbalancer authors (@homelab-loadbalancer)
extends_documentation_fragment:
  - homelab.loadbalancer.attributes
  - homelab.loadbalancer.kubernetes
  - homelab.loadbalancer.kubernetes.reading
attributes:
  check_mode:
    details:
      - In check mode it waits for nothing.
options:
  definitions:
    description:
      - The objects, as M(homelab.loadbalancer.k8s_objects) takes them. Kinds for which there is nothing to wait are
        passed over.
    type: list
    elements: dict
    required: true
  addresses:
    description:
      - Whether to wait for the addresses of Services of type LoadBalancer as well.
    type: bool
    default: false
  timeout:
    description:
      - How many seconds to wait for all of them.
    type: int
    default: 300
seealso:
  - module: homelab.loadbalancer.k8s_objects
"""

EXAMPLES = r"""
- name: Wait until the pods of a Deployment are new and ready
  homelab.loadbalancer.k8s_rollout:
    definitions:
      - apiVersion: apps/v1
        kind: Deployment
        metadata: {name: web, namespace: default}
    timeout: 120
"""

RETURN = r"""
addresses:
  description: The addresses of the Services, by namespace and name, with O(addresses).
  returned: success
  type: dict
  sample: {default/web: [172.16.0.100]}
unfinished:
  description: The objects that were not complete, by kind, namespace and name.
  returned: failure
  type: list
  elements: str
  sample: [Deployment default/web]
"""
