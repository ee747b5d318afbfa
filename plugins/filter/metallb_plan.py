# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: metallb_plan
short_description: What to do with the objects of a MetalLB manifest
version_added: 0.1.0
author:
  - The homelab.loadbalancer authors (@homelab-loadbalancer)
description:
  - Makes the objects that the role P(homelab.loadbalancer.metallb#role) applies of MetalLB's manifest. They get labels,
    and lose the certificate authorities of the webhooks, which MetalLB's controller writes.
  - Compares them with the record of what was applied before, so that an upgrade removes what the new manifest has no
    more.
positional: _input
options:
  _input:
    description: The text of the manifest, empty for a removal.
    type: str
    required: true
  record:
    description: The record of what was applied before, as it stands in the cluster. Empty when there is none.
    type: str
    default: ''
  load_balancer_class:
    description: Serve only Services of this class. Without one, those that have none.
    type: str
    default: ''
  node_selector:
    description: Labels of the nodes that are to announce addresses, besides those of the manifest.
    type: dict
    default: {}
  tolerations:
    description: Tolerations for the pods that announce addresses, besides those of the manifest.
    type: list
    elements: dict
    default: []
"""

EXAMPLES = r"""
- name: See what is to be applied
  ansible.builtin.debug:
    msg: "{{ manifest | homelab.loadbalancer.metallb_plan }}"
  vars:
    manifest: "{{ lookup('ansible.builtin.file', 'metallb-native.yaml') }}"
"""

RETURN = r"""
_value:
  description:
    - C(apply) has the objects, with the record as one of them. C(remove) has what was applied before and is wanted no
      more. C(settle) has the record as it is after that, and is empty without such objects.
  type: dict
"""

from typing import Any, Callable, Mapping, Sequence

import yaml
from ansible.errors import AnsibleFilterError

from ansible_collections.homelab.loadbalancer.plugins.module_utils import _metallb_manifest as manifest
from ansible_collections.homelab.loadbalancer.plugins.module_utils._errors import InputError
from ansible_collections.homelab.loadbalancer.plugins.module_utils._k8s_record import read_record, stale


def metallb_plan(
    text: str,
    record: str = "",
    load_balancer_class: str = "",
    node_selector: Mapping[str, str] | None = None,
    tolerations: Sequence[Mapping[str, Any]] = (),
) -> dict[str, list[dict[str, Any]]]:
    """What to apply and what to remove."""
    try:
        recorded = read_record(record, manifest.RECORD_NAME) if record else []
        if not text:
            return {"apply": [], "remove": recorded, "settle": []}
        # Read here, since Ansible's own containers take seconds for so many values. Its strings are no plain ones.
        documents = list(yaml.load_all(str(text), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)))
        wanted = manifest.adjust(documents, load_balancer_class, node_selector, tolerations)
    except yaml.YAMLError as error:
        raise AnsibleFilterError("metallb_manifest is no YAML: %s" % error) from error
    except InputError as error:
        raise AnsibleFilterError(str(error)) from error
    # The namespace comes first, and the record right after it: what is applied is on record before.
    wanted.sort(key=lambda entry: bool(entry["kind"] != "Namespace"))
    remove = stale(recorded, wanted)
    return {
        "apply": [wanted[0], manifest.record(wanted, recorded), *wanted[1:]],
        "remove": remove,
        "settle": [manifest.record(wanted)] if remove else [],
    }


class FilterModule:
    """Ansible's way to find filters."""

    def filters(self) -> dict[str, Callable[..., dict[str, list[dict[str, Any]]]]]:
        return {"metallb_plan": metallb_plan}
