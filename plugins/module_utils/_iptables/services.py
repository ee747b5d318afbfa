# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Services by iptables: the data plane of the module iptables_services."""

from __future__ import annotations

from typing import Any

from .._services.conntrack import fronts_of
from .._services.model import Service
from .change import Change, Declaration
from .input import parse_options
from .layout import layout
from .node import find_iptables


def plan_rules(services: list[Service], options: dict[str, Any], exact: bool) -> Change:
    """Plan the rules of both families.

    options -- the options of the module
    exact -- whether to find the exact outcome, as check mode and a diff need it
    """
    declarations = []
    for family, common in parse_options(options).items():
        # Isolation applies to both families, or the other family would be a way around it.
        some = common.isolate or any(service.family == family for service in services)
        present = options["state"] == "present"
        declarations.append(
            Declaration(
                find_iptables(family, options["backend"], options["wait"], common.prefix, present),
                common.prefix,
                layout(services, family, common) if some else {},
                proven=True,
                fronts=fronts_of(services, family),
            )
        )
    return Change(declarations, exact)
