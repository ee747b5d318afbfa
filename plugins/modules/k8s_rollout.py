#!/usr/bin/python
# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# What it does is in the action plugin of the same name.

from __future__ import annotations

DOCUMENTATION = r"""
module: k8s_rollout
short_description: Waits for the rollout of workloads, and explains why it fails
version_added: 0.2.0
description:
  - Waits until the pods of Deployments, StatefulSets and DaemonSets are as declared and available, as C(kubectl rollout
    status) does. With O(addresses), also waits until Services of type LoadBalancer have an address.
  - Fails at the timeout, or earlier if waiting cannot help any of the objects, for instance because an image does not
    exist. The message shows the state of the containers, the last events and the last log lines of the pods, with
    control characters escaped. If nothing provisions a volume for a PersistentVolumeClaim, the module fails after half
    a minute.
  - If a NotReady or cordoned node hinders pods, a warning names the node as soon as this is seen, and the error message
    names it as the first cause.
  - Waiting does not help a workload with pods on a node that Kubernetes considers down (its condition Ready is
    Unknown). Run the module again when the node is back or has left the cluster, or when Kubernetes has moved its pods,
    which it does with those of Deployments after five minutes.
author:
  - The homelab.loadbalancer authors (@homelab-loadbalancer)
extends_documentation_fragment:
  - homelab.loadbalancer.attributes
  - homelab.loadbalancer.kubernetes
  - homelab.loadbalancer.kubernetes.reading
attributes:
  check_mode:
    details:
      - Check mode does not wait.
options:
  definitions:
    description:
      - The objects, in the format of M(homelab.loadbalancer.k8s_objects). Kinds that need no waiting are ignored.
    type: list
    elements: dict
    required: true
  addresses:
    description:
      - Whether to also wait for the addresses of Services of type LoadBalancer.
    type: bool
    default: false
  timeout:
    description:
      - How many seconds to wait for all objects together.
    type: int
    default: 300
seealso:
  - module: homelab.loadbalancer.k8s_objects
"""

EXAMPLES = r"""
- name: Wait until a Deployment has rolled out
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
  description: The objects whose rollout was not complete, by kind, namespace and name.
  returned: failure
  type: list
  elements: str
  sample: [Deployment default/web]
"""
