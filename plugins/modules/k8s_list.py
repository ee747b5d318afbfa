#!/usr/bin/python
# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# The action plugin of the same name runs this on the host, and says what to do when the API server cannot be used.

from __future__ import annotations

DOCUMENTATION = r"""
module: k8s_list
short_description: Lists objects of a Kubernetes cluster as kubectl does, and keeps Secrets closed
version_added: 0.2.0
description:
  - Lists the objects of one or several kinds, with the columns that C(kubectl get) shows, those of custom resources as
    well.
  - The values of Secrets are left out unless asked for, wherever they are in an object, so that they reach neither the
    terminal nor a log at any verbosity.
  - A kind is named as for kubectl, and a selector that the API server refuses is an error. M(kubernetes.core.k8s_info)
    needs the version, shows Secrets, and finds nothing by such a selector.
author:
  - The homelab.loadbalancer authors (@homelab-loadbalancer)
extends_documentation_fragment:
  - homelab.loadbalancer.attributes
  - homelab.loadbalancer.kubernetes
  - homelab.loadbalancer.kubernetes.reading
options:
  kinds:
    description:
      - The kinds, each as V(Deployment), V(deployments), V(deploy) or V(deployments.apps).
    type: list
    elements: str
    required: true
  api_version:
    description:
      - The group and version of the kinds, such as V(apps/v1). Empty is what the cluster prefers; where several groups
        have a kind of this name, that of Kubernetes itself.
    type: str
    default: ''
  namespace:
    description:
      - Only objects of this namespace. Empty is all.
    type: str
    default: ''
  label_selectors:
    description:
      - Only objects with all of these labels, each as C(kubectl get --selector) takes it.
    type: list
    elements: str
    default: []
  field_selectors:
    description:
      - Only objects with all of these fields, each as C(kubectl get --field-selector) takes it.
    type: list
    elements: str
    default: []
  wide:
    description:
      - Whether the rows have the columns, too, that C(kubectl get -o wide) adds.
    type: bool
    default: false
  show_secrets:
    description:
      - Whether the values of Secrets are returned.
    type: bool
    default: false
seealso:
  - module: homelab.loadbalancer.k8s_read
  - module: kubernetes.core.k8s_info
"""

EXAMPLES = r"""
- name: List what belongs to an application
  homelab.loadbalancer.k8s_list:
    kinds: [deployments, pods, services]
    namespace: default
    label_selectors: [app.kubernetes.io/name=web]
  register: web

- name: Show the pods
  ansible.builtin.debug:
    msg: "{{ web.found[1].rows | homelab.loadbalancer.table(web.found[1].columns) }}"
"""

RETURN = r"""
found:
  description: What was found of each kind, in the same order.
  returned: success
  type: list
  elements: dict
  contains:
    kind:
      description: The kind, as the cluster calls it.
      type: str
      sample: Pod
    api_version:
      description: Its group and version.
      type: str
      sample: v1
    columns:
      description: The headings of the rows.
      type: list
      elements: str
    rows:
      description: A list of texts for each object.
      type: list
      elements: list
    objects:
      description: The objects, in the same order. Without C(metadata.managedFields).
      type: list
      elements: dict
"""

from typing import Any

from ansible_collections.homelab.loadbalancer.plugins.module_utils._errors import InputError
from ansible_collections.homelab.loadbalancer.plugins.module_utils._k8s_client import TEXTS, Server, run_module
from ansible_collections.homelab.loadbalancer.plugins.module_utils._k8s_list import ACCEPT, hide, listing, query_of
from ansible_collections.homelab.loadbalancer.plugins.module_utils._module import Module

ARGUMENTS: dict[str, Any] = {
    "kinds": {"type": "list", "elements": "str", "required": True},
    "api_version": {"type": "str", "default": ""},
    "namespace": {"type": "str", "default": ""},
    "label_selectors": TEXTS,
    "field_selectors": TEXTS,
    "wide": {"type": "bool", "default": False},
    "show_secrets": {"type": "bool", "default": False},
}


def work(server: Server, module: Module) -> dict[str, Any]:
    """What is found of each kind. All kinds are known before the first is asked for."""
    options = module.params
    kinds = [kind for kind in options["kinds"] if kind]
    if not kinds:
        raise InputError("no kind is named: say what to list, such as pods")
    resources = [server.find(kind, options["api_version"], "list") for kind in kinds]
    query = query_of(options["label_selectors"], options["field_selectors"])
    namespace = options["namespace"]
    found = []
    if namespace and any(resource.namespaced for resource in resources):
        server.refuse_missing_namespace(namespace, options["prefix"] + "namespace")
    for resource in resources:
        answer = server.get(resource.path(namespace=namespace or None), query, ACCEPT)
        with_namespace = bool(resource.namespaced and not namespace)
        found.append(listing(answer, resource.kind, resource.group_version, with_namespace, options["wide"]))
    return {"changed": False, "found": found if options["show_secrets"] else [hide(one) for one in found]}


def main() -> None:
    run_module(ARGUMENTS, work)


if __name__ == "__main__":
    main()
