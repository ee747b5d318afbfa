#!/usr/bin/python
# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# The action plugin of the same name runs this on the host, and says what to do when the API server cannot be used.

from __future__ import annotations

DOCUMENTATION = r"""
module: k8s_read
short_description: Objects of several kinds of a Kubernetes cluster, read in one go
version_added: 0.1.0
description:
  - Does what M(kubernetes.core.k8s_info) does in a loop, in one task. Most of the time of such a task is spent on
    starting Python and its Kubernetes client, which happens here once.
author:
  - The homelab.loadbalancer authors (@homelab-loadbalancer)
extends_documentation_fragment:
  - homelab.loadbalancer.attributes
  - homelab.loadbalancer.kubernetes
  - homelab.loadbalancer.kubernetes.reading
options:
  queries:
    description:
      - What to read. With an empty list the API server is only asked whether it answers.
    type: list
    elements: dict
    required: true
    suboptions:
      kind:
        description:
          - The kind of the objects. V(*) is all kinds of O(queries[].namespace), which it then needs, but for events;
            of these objects it returns C(apiVersion), C(kind) and C(metadata) alone.
        type: str
        required: true
      api_version:
        description:
          - The group and version of the kind.
        type: str
        default: v1
      namespace:
        description:
          - Only objects of this namespace.
        type: str
      name:
        description:
          - Only the object of this name.
        type: str
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
      hidden_fields:
        description:
          - Fields that are left out, for instance C(data) of a Secret.
        type: list
        elements: str
        default: [metadata.managedFields]
seealso:
  - module: kubernetes.core.k8s_info
  - module: homelab.loadbalancer.k8s_objects
"""

EXAMPLES = r"""
- name: Look at nodes, and at Services of one application
  homelab.loadbalancer.k8s_read:
    queries:
      - kind: Node
      - {kind: Service, namespace: default, label_selectors: [app=web]}
  register: seen

- name: Show the addresses of the nodes
  ansible.builtin.debug:
    msg: "{{ seen.found[0].resources | map(attribute='status.addresses') }}"
"""

RETURN = r"""
found:
  description: An answer to each query, in the same order.
  returned: success
  type: list
  elements: dict
  contains:
    kind:
      description: The kind that was asked for.
      type: str
    api_found:
      description: Whether the API server knows the kind.
      type: bool
    resources:
      description: The objects.
      type: list
      elements: dict
"""

import traceback
from typing import Any

from ansible.module_utils.basic import missing_required_lib

from ansible_collections.homelab.loadbalancer.plugins.module_utils._errors import InputError
from ansible_collections.homelab.loadbalancer.plugins.module_utils._k8s_access import ACCESS, discreet_module
from ansible_collections.homelab.loadbalancer.plugins.module_utils._k8s_client import RefusalError, Server

try:
    from ansible_collections.kubernetes.core.plugins.module_utils.k8s.client import get_api_client
    from ansible_collections.kubernetes.core.plugins.module_utils.k8s.core import AnsibleK8SModule
    from ansible_collections.kubernetes.core.plugins.module_utils.k8s.exceptions import CoreException
    from ansible_collections.kubernetes.core.plugins.module_utils.k8s.service import K8sService
except ImportError:
    MISSING = traceback.format_exc()
else:
    MISSING = ""

TEXTS: dict[str, Any] = {"type": "list", "elements": "str", "default": []}
QUERY: dict[str, Any] = {
    "kind": {"type": "str", "required": True},
    "api_version": {"type": "str", "default": "v1"},
    "namespace": {"type": "str"},
    "name": {"type": "str"},
    "label_selectors": TEXTS,
    "field_selectors": TEXTS,
    "hidden_fields": {**TEXTS, "default": ["metadata.managedFields"]},
}
ARGUMENTS: dict[str, Any] = {
    "queries": {"type": "list", "elements": "dict", "required": True, "options": QUERY},
    **ACCESS,
}


def answer(service: Any, query: dict[str, Any], access: dict[str, Any]) -> dict[str, Any]:
    """What one query finds."""
    if query["kind"] != "*":
        found: dict[str, Any] = service.find(**query)
        return found
    if not query["namespace"]:
        raise InputError("queries: kind * needs a namespace: name the one whose objects are to be read")
    return {"api_found": True, "resources": Server(access).everything(query["namespace"])}


def main() -> None:
    if MISSING:
        plain = discreet_module(argument_spec=ARGUMENTS, supports_check_mode=True)
        plain.fail_json(msg=missing_required_lib("the collection kubernetes.core"), exception=MISSING)
    module = AnsibleK8SModule(module_class=discreet_module, argument_spec=ARGUMENTS, supports_check_mode=True)
    access = {key: module.params[key] or None for key in ("kubeconfig", "context")}
    try:
        service = K8sService(get_api_client(**access), module)
        answers = [{"kind": query["kind"], **answer(service, query, access)} for query in module.params["queries"]]
    except CoreException as error:
        module.fail_from_exception(error)
    except (RefusalError, InputError) as error:
        module.fail_json(msg=str(error))
    module.exit_json(changed=False, found=answers)


if __name__ == "__main__":
    main()
