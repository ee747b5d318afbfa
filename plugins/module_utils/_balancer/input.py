# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The options of the modules for load-balanced services that concern the rest of the node."""

from __future__ import annotations

from typing import Any

from .._virtual_address.plan import METRIC

BALANCER_ARGUMENTS: dict[str, dict[str, Any]] = {
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    "interface": {"type": "str"},
    "addresses": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    "metric": {"type": "int", "default": METRIC},
    "probe": {"type": "bool", "default": True},
    "dummy": {"type": "bool", "default": False},
    "forwarding": {"type": "bool", "default": False},
    "sysctls": {"type": "dict", "default": {}},
    "kernel_modules": {"type": "list", "elements": "str", "default": []},
    "boot_path": {"type": "path"},
    "boot": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    "boot_name": {"type": "str", "default": "homelab-loadbalancer"},
    "verify": {"type": "bool", "default": True},
    "variables": {"type": "dict", "default": {}},
}
