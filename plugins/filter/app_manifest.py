# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: app_manifest
short_description: The Kubernetes objects of an application
version_added: 0.2.0
author:
  - The homelab.loadbalancer authors (@homelab-loadbalancer)
description:
  - Makes a Deployment and a Service from a name and an image, and ConfigMaps and PersistentVolumeClaims for its files
    and volumes.
  - All options are checked. An error message names the wrong option.
  - With the strategy C(RollingUpdate), the old pods work until the new ones are ready.
  - By default, the container conforms to the Pod Security Standard C(restricted) and may write only to
    O(writable_paths).
extends_documentation_fragment:
  - homelab.loadbalancer.app
positional: _input, image
options:
  _input:
    description: The application's name, which all objects have. Lower-case letters, digits and inner hyphens.
    type: str
    required: true
  image:
    description: The image reference, such as V(registry.example.org/team/web:1.2).
    type: str
    required: true
  prefix:
    description: Prefix of option names in error messages.
    type: str
    default: ''
"""

EXAMPLES = r"""
- name: Write the manifest of an application
  ansible.builtin.copy:
    content: "{{ objects | map('to_nice_yaml') | join('---\n') }}"
    dest: web.yml
    mode: "0644"
  vars:
    objects: >-
      {{ 'web' | homelab.loadbalancer.app_manifest('registry.example.org/team/web:1.2', replicas=2,
         ports=[{'port': 80, 'target_port': 8080}], service_type='LoadBalancer') }}
"""

RETURN = r"""
_value:
  description: The objects, in the order in which to apply them.
  type: list
  elements: dict
"""

from typing import Any, Callable

from ansible.errors import AnsibleFilterError

from ..module_utils._common.errors import InputError
from ..plugin_utils._app.input import parse_app
from ..plugin_utils._app.objects import app_objects


def app_manifest(name: str, image: str, prefix: str = "", **options: Any) -> list[dict[str, Any]]:
    """The objects of an application, by its name, its image and the options."""
    try:
        return app_objects(parse_app(name, image, options, prefix))
    except InputError as error:
        raise AnsibleFilterError(str(error)) from error


class FilterModule:
    """Registers the filter with Ansible."""

    def filters(self) -> dict[str, Callable[..., list[dict[str, Any]]]]:
        return {"app_manifest": app_manifest}
