# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The options of nftables_services: checked, and converted to the planner's types."""

from __future__ import annotations

import re
from typing import Any

from .._common.errors import InputError
from .._services.options import parse_isolate, parse_mark, parse_pod_cidr
from .layout import Options

_PREFIX = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,31}(-[A-Za-z0-9_]+)*-?\Z")


def parse_name(prefix: str) -> str:
    """The name of the table: the prefix without a hyphen at its end."""
    if not _PREFIX.match(prefix) or len(prefix) > 32:
        raise InputError(
            "prefix %r cannot name a table: use 1 to 32 letters, digits and hyphens, the first a letter" % prefix
        )
    return prefix.rstrip("-")


def parse_options(params: dict[str, Any]) -> Options:
    """The options that apply to all services."""
    return Options(
        params["masquerade"],
        parse_mark(params["masquerade_mark"]),
        parse_pod_cidr(params["pod_cidr"]),
        parse_isolate(params["isolate"]),
    )
