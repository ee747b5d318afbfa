# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: kube_proxy_strict_arp
short_description: A configuration of kube-proxy with strict ARP, where it needs it
version_added: 0.1.0
author:
  - The homelab.loadbalancer authors (@homelab-loadbalancer)
description:
  - In ipvs mode kube-proxy puts the addresses of all Services on a link of every node, and all nodes would answer ARP
    for them. With C(strictARP) they do not, which MetalLB's layer 2 mode needs.
  - A configuration of another mode, or with strict ARP, stays as it is. In one that changes, the other lines stay.
positional: _input
options:
  _input:
    description: The configuration, a KubeProxyConfiguration in YAML.
    type: str
    required: true
"""

EXAMPLES = r"""
- name: See whether kube-proxy needs strict ARP
  ansible.builtin.debug:
    msg: "{{ config != config | homelab.loadbalancer.kube_proxy_strict_arp }}"
  vars:
    config: "mode: ipvs\nipvs:\n  strictARP: false\n"
"""

RETURN = r"""
_value:
  description: The configuration as it should be.
  type: str
"""

import re
from typing import Any, Callable

import yaml
from ansible.errors import AnsibleFilterError

_SETTING = re.compile(r"^(\s+)strictARP:.*$", re.MULTILINE)
_SECTION = re.compile(r"^ipvs:[ \t]*$", re.MULTILINE)
_NO_SECTION = re.compile(r"^ipvs:.*\n?", re.MULTILINE)


def kube_proxy_strict_arp(config: str) -> str:
    """The configuration with strict ARP, if it needs it."""
    if not _lacks(config):
        return config
    for changed in (
        _SETTING.sub(r"\1strictARP: true", config),
        _SECTION.sub("ipvs:\n  strictARP: true", config),
        _NO_SECTION.sub("", config).rstrip("\n") + "\nipvs:\n  strictARP: true\n",
    ):
        if changed != config and _parse(changed, {}) and not _lacks(changed):
            return changed
    raise AnsibleFilterError("the configuration of kube-proxy is written unusually: set ipvs.strictARP: true in it")


def _lacks(config: str) -> bool:
    parsed = _parse(config, None)
    if not isinstance(parsed, dict):
        raise AnsibleFilterError("the configuration of kube-proxy is no YAML mapping")
    return parsed.get("mode") == "ipvs" and not (parsed.get("ipvs") or {}).get("strictARP")


def _parse(config: str, otherwise: Any) -> Any:
    try:
        return yaml.safe_load(config)
    except yaml.YAMLError:
        return otherwise


class FilterModule:
    """Ansible's way to find filters."""

    def filters(self) -> dict[str, Callable[..., str]]:
        return {"kube_proxy_strict_arp": kube_proxy_strict_arp}
