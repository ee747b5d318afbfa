# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Host names by the rules of DNS and the Gateway API: a name, or a wildcard that begins with `*.`."""

from __future__ import annotations

import ipaddress
import re
from typing import Any

from ...module_utils._common.errors import InputError

_HOSTNAME = re.compile(r"(?=.{1,253}\Z)[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?(\.[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?)*\Z")


def parse_hostname(raw: Any, where: str, wildcard: bool = False) -> str:
    """Check a host name. With `wildcard`, it may begin with `*.`, which stands for one or more labels."""
    what = "a host name: use lower-case letters, digits and inner hyphens in labels with dots between, 63 at most each"
    if wildcard:
        what += ", the first may be *"
    name = raw[2:] if wildcard and isinstance(raw, str) and raw.startswith("*.") else raw
    if not isinstance(name, str) or not _HOSTNAME.match(name):
        raise InputError("%s %s is not %s" % (where, raw, what))
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return str(raw)
    raise InputError("%s %s is an IP address, and not a host name" % (where, raw))


def meet(one: str, other: str) -> str | None:
    """The host names that both arguments match; None if there are none.

    Each argument and the result is a name, a wildcard that begins with `*.`, or empty, which matches every name.
    """
    if not one or not other or one == other:
        return one or other
    for wide, narrow in ((one, other), (other, one)):
        if wide.startswith("*.") and narrow.endswith(wide[1:]):
            return narrow
    return None
