# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The options by which modules find the API server, as the doc fragment `kubernetes` describes them."""

from __future__ import annotations

from typing import Any, Mapping

from .._common.module import Module
from .._common.values import parse_number

# An EKS login. The action plugin logs in on the control node, and passes a kubeconfig to the module.
EKS: dict[str, dict[str, Any]] = {
    "cluster": {"type": "str", "required": True},
    "region": {"type": "str"},
    "profile": {"type": "str"},
    "role_arn": {"type": "str"},
    "external_id": {"type": "str"},
    "session_name": {"type": "str", "default": "homelab.loadbalancer"},
}
ACCESS: dict[str, dict[str, Any]] = {
    "kubeconfig": {"type": "raw", "default": ""},  # a path, or the content of one
    "context": {"type": "str", "default": ""},
    "prefix": {"type": "str", "default": ""},
    "eks": {"type": "dict", "options": EKS},
}

# The numeric options: minimum, maximum, and their names in messages.
NUMBERS = {
    "tail": (-1, 1000000, "a number of lines, or -1 for all,"),
    "timeout": (0, 86400, "a number of seconds"),
}


def check_numbers(options: Mapping[str, Any], prefix: str = "") -> None:
    """Raise InputError for a number out of range; the prefix precedes the option's name."""
    for key, (low, high, what) in NUMBERS.items():
        if key in options:
            parse_number(options[key], low, high, prefix + key, what)


def discreet_module(**more: Any) -> Module:
    """A module with these arguments that does not return the token in a kubeconfig's content.

    `no_log` on the option would also hide a kubeconfig's path, which is no secret, in objects.
    """
    module = Module(**more)
    if isinstance(module.params["kubeconfig"], dict):
        module.no_log_values.update(entry["user"]["token"] for entry in module.params["kubeconfig"]["users"])
    return module
