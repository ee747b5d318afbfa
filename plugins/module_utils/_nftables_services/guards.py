# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Chains of other programs that drop the forwarded packets of services.

A packet passes all base chains of a hook. An `accept` in one table does not overrule a drop in another. Docker and ufw
set the policy of FORWARD to DROP. firewalld accepts translated packets.
"""

from __future__ import annotations

import re
from typing import Callable, Iterator, NamedTuple

_TABLE = re.compile(r"table (\S+) (\S+) \{\Z")
_CHAIN = re.compile(r"\tchain (\S+) \{")
_DROPS = re.compile(r"\t\ttype filter hook forward .*policy drop;")
_ACCEPTS = re.compile(r"\t\t(?:.*\bct (?:status|state) .*\bdnat\b.*|(?:counter \S+ \d+ \S+ \d+ )?)accept\b")
_JUMP = re.compile(r"\b(?:jump|goto) (\S+)")


class Chain(NamedTuple):
    """A chain of a table."""

    family: str
    table: str
    name: str

    @property
    def remedy(self) -> str:
        """The command that lets translated packets pass."""
        if self.family in ("ip", "ip6") and (self.table, self.name) == ("filter", "FORWARD"):
            command = {"ip": "iptables", "ip6": "ip6tables"}[self.family]
            return command + " -I FORWARD -m conntrack --ctstate DNAT,ESTABLISHED,RELATED -j ACCEPT"
        where = "%s %s %s" % (self.family, self.table, self.name)
        return "nft insert rule %s ct state established,related accept; nft insert rule %s ct status dnat accept" % (
            where, where,
        )  # fmt: skip


def dropping(listed: str) -> Iterator[Chain]:
    """The chains in the output of `nft list chains` whose policy drops forwarded packets."""
    family = table = name = ""
    for line in listed.splitlines():
        found = _TABLE.match(line)
        if found:
            family, table = found.groups()
        found = _CHAIN.match(line)
        if found:
            name = found.group(1)
        if _DROPS.match(line) and family in ("ip", "ip6", "inet"):
            yield Chain(family, table, name)


def warnings(listed: str, families: set[str], read: Callable[[Chain], str]) -> list[str]:
    """Warnings about chains that drop the packets of services.

    listed -- the output of `nft list chains`
    families -- of the services: ip, ip6
    read -- the output of `nft list chain` for one chain
    """
    return [
        "the policy of the chain %s in the table %s %s drops forwarded packets, and no rule of it accepts translated "
        "ones, so connections to services may not pass. This lets them pass until the next boot: %s"
        % (chain.name, chain.family, chain.table, chain.remedy)
        for chain in dropping(listed)
        if families & ({"ip", "ip6"} if chain.family == "inet" else {chain.family}) and not _accepts(chain, read)
    ]


def _accepts(chain: Chain, read: Callable[[Chain], str]) -> bool:
    """Whether the chain, or one that it jumps to, accepts translated packets."""
    rules = read(chain).splitlines()
    if any(map(_ACCEPTS.match, rules)):
        return True
    targets = {found.group(1) for found in map(_JUMP.search, rules) if found}
    return any(_ACCEPTS.match(rule) for name in targets for rule in read(chain._replace(name=name)).splitlines())
