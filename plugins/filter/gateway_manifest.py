# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: gateway_manifest
short_description: The objects of checked manifests of the Gateway API and its controller
version_added: 0.1.0
author:
  - The homelab.loadbalancer authors (@homelab-loadbalancer)
description:
  - Checks the SHA-256 of the manifests that the role P(homelab.loadbalancer.gateway#role) applies, and reads their
    objects, which get its labels.
positional: _input, texts
options:
  _input:
    description:
      - The manifests, each a mapping of C(source), a URL or the path of a file, and C(checksum), which a file may lack.
    type: list
    elements: dict
    required: true
  texts:
    description: The texts by their sources.
    type: dict
    required: true
  where:
    description: How messages call the list.
    type: str
    default: gateway_manifests
"""

EXAMPLES = r"""
- name: See the kinds of the Gateway API
  ansible.builtin.debug:
    msg: "{{ [{'source': path}] | homelab.loadbalancer.gateway_manifest({path: text}) }}"
  vars:
    path: gateway-api.yaml
    text: "{{ lookup('ansible.builtin.file', path, rstrip=false) }}"
"""

RETURN = r"""
_value:
  description: The objects, in the order of the manifests.
  type: list
  elements: dict
"""

import hashlib
from typing import Any, Callable, Mapping

import yaml
from ansible.errors import AnsibleFilterError

from ansible_collections.homelab.loadbalancer.plugins.module_utils._errors import InputError
from ansible_collections.homelab.loadbalancer.plugins.module_utils._values import check_keys, parse_list
from ansible_collections.homelab.loadbalancer.plugins.plugin_utils._gateway.plan import manifest_objects


def gateway_manifest(raw: Any, texts: Mapping[str, str], where: str = "gateway_manifests") -> list[dict[str, Any]]:
    """The objects of all manifests."""
    try:
        return [
            entry
            for index, manifest in enumerate(parse_list(raw, where))
            for entry in _objects(manifest, texts, "%s[%d]" % (where, index))
        ]
    except InputError as error:
        raise AnsibleFilterError(str(error)) from error


def _objects(manifest: Any, texts: Mapping[str, str], where: str) -> list[dict[str, Any]]:
    check_keys(manifest, ("source", "checksum"), ("source",), where)
    source, checksum = manifest["source"], manifest.get("checksum")
    # Ansible's strings are no plain ones, which libyaml wants.
    text = str(texts[source])
    found = hashlib.sha256(text.encode()).hexdigest()
    if not checksum and source.startswith(("http://", "https://")):
        raise InputError(
            "%s.checksum is missing: no checksum of %s is known. Set the SHA-256 of that file" % (where, source)
        )
    if checksum and checksum != found:
        raise InputError(
            "%s %s has the SHA-256 %s, and not %s: it was changed or is of another version. When it is right, set "
            "it as checksum" % (where, source, found, checksum)
        )
    try:
        # Read here, since Ansible's own containers take seconds for so many values.
        documents = list(yaml.load_all(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)))
    except yaml.YAMLError as error:
        raise InputError("%s %s is no YAML: %s" % (where, source, error)) from error
    return manifest_objects(documents, where)


class FilterModule:
    """Ansible's way to find filters."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"gateway_manifest": gateway_manifest}
