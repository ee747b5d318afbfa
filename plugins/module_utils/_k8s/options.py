# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The options by which modules find the API server, as the doc fragment `kubernetes` describes them."""

from __future__ import annotations

from typing import Any, Mapping

from .._common.module import Module
from .._common.values import parse_number

# A login to EKS. The action plugin makes it on the control node, and passes a kubeconfig to the module.
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

# The options that are numbers: the least, the greatest, and how messages call them.
NUMBERS = {
    "tail": (-1, 1000000, "a number of lines, or -1 for all,"),
    "timeout": (0, 86400, "a number of seconds"),
}


def check_numbers(options: Mapping[str, Any], prefix: str = "") -> None:
    """InputError where a number makes no sense; the prefix stands before the options' names."""
    for key, (low, high, what) in NUMBERS.items():
        if key in options:
            parse_number(options[key], low, high, prefix + key, what)


def discreet_module(**more: Any) -> Module:
    """A module, with these arguments, that does not return the token in the content of a kubeconfig.

    Not by `no_log` of the option: then the path of one, which is no secret, would be hidden in objects as well.
    """
    module = Module(**more)
    if isinstance(module.params["kubeconfig"], dict):
        module.no_log_values.update(entry["user"]["token"] for entry in module.params["kubeconfig"]["users"])
    return module
