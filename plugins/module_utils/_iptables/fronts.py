# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The addresses and ports at which a node's iptables rules answer clients. Pure."""

from __future__ import annotations

import itertools
import re

from .._services.conntrack import Socket
from .rules import Ruleset

_MATCH = re.compile(r"(?:^|(?<= ))(?:(!) )?-(d|-dport) (\S+)")


def fronts_in(rules: Ruleset, prefix: str) -> set[Socket]:
    """The addresses and UDP ports that our chains answer."""
    found = set()
    # These rules have a port too: jumps that only select by port, and the rules that masquerade endpoints.
    others = " -j %sNET-" % prefix, " -j MASQUERADE"
    ours = [lines for table in rules.values() for chain, lines in table.chains.items() if chain.startswith(prefix)]
    for rule in itertools.chain.from_iterable(ours):
        if " -p udp " in " " + rule and not any(other in rule for other in others):
            words = {name: value for inverted, name, value in _MATCH.findall(rule) if not inverted}
            if words.get("-dport", "").isdigit():
                found.add((words.get("d", "").split("/")[0], int(words["-dport"])))
    return found
