# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: httproute_plan
short_description: What declared HTTP routes mean in a cluster
version_added: 0.1.0
author:
  - The homelab.loadbalancer authors (@homelab-loadbalancer)
description:
  - Checks what the role P(homelab.loadbalancer.httproute#role) declares, makes the objects of it, and compares them
    with what was looked up in the cluster. The filter fails when the declaration by itself is wrong.
positional: _input, looked_up
options:
  _input:
    description: The routes, as the role takes them.
    type: list
    elements: dict
    required: true
  looked_up:
    description:
      - What M(homelab.loadbalancer.k8s_read) found of Namespaces, Services, GatewayClasses, Gateways, HTTPRoutes and
        ReferenceGrants.
    type: list
    elements: dict
    default: []
  certificates:
    description:
      - What M(homelab.loadbalancer.k8s_read) found of the Secrets that C(secured) names, without their keys.
    type: list
    elements: dict
    default: []
  part_of:
    description: The name of the declaration, by which its objects are known.
    type: str
    default: routes
"""

EXAMPLES = r"""
- name: See the objects of a route
  ansible.builtin.debug:
    msg: "{{ (routes | homelab.loadbalancer.httproute_plan).apply }}"
  vars:
    routes:
      - name: web
        gateways: [main]
        hostnames: [web.k8s.local]
        rules: [{backends: [web]}]
"""

RETURN = r"""
_value:
  description:
    - The objects to apply and to remove, C(apply) and C(remove). C(faults) are sentences that say why nothing of it may
      be done, C(unmet) those that name what the cluster does not have, and C(notes) those that name what the Gateway's
      controller may not know, and host names that no certificate is for. C(secured) are the host names that HTTPS
      listeners take, with the Secrets of their certificates.
  type: dict
"""

import base64
from typing import Any, Callable, Iterator, Mapping, Sequence

from ansible.errors import AnsibleFilterError

from ansible_collections.homelab.loadbalancer.plugins.module_utils._errors import InputError
from ansible_collections.homelab.loadbalancer.plugins.module_utils._httproute_cluster import Plan, by_name, plan
from ansible_collections.homelab.loadbalancer.plugins.plugin_utils._gateway.tls import uncovered_note


def httproute_plan(
    declared: Sequence[Mapping[str, Any]],
    looked_up: Sequence[Mapping[str, Any]] = (),
    part_of: str = "routes",
    certificates: Sequence[Mapping[str, Any]] = (),
) -> dict[str, Any]:
    """What to do, and what speaks against it."""
    cluster = by_name(looked_up)
    missing = [entry["kind"] for entry in looked_up if not entry["api_found"]]
    try:
        made = plan(declared, cluster, part_of, missing)
    except InputError as error:
        raise AnsibleFilterError(str(error)) from error
    return made._replace(notes=[*made.notes, *_uncovered(made, certificates)])._asdict()


def _uncovered(made: Plan, certificates: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Notes of host names that no certificate of their listener is for."""
    texts = {
        (obj["metadata"]["namespace"], obj["metadata"]["name"]): (obj.get("data") or {}).get("tls.crt") or ""
        for entry in certificates
        for obj in entry["resources"]
    }
    for entry in made.secured:
        found = [texts.get((namespace, name), "") for namespace, name in entry["secrets"]]
        # One that is not there may be issued later, as by cert-manager.
        if all(found):
            shown = [base64.b64decode(text).decode(errors="replace") for text in found]
            note = uncovered_note(entry["where"], entry["name"], entry["listener"], shown)
            yield from [note] if note else []


class FilterModule:
    """Ansible's way to find filters."""

    def filters(self) -> dict[str, Callable[..., dict[str, Any]]]:
        return {"httproute_plan": httproute_plan}
