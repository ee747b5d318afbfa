# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Chains of other programs that drop the packets of services are named with a remedy."""

from __future__ import annotations

import pytest

from ansible_collections.homelab.loadbalancer.plugins.module_utils._nftables_services.guards import Chain, warnings

HEAD = "\t\ttype filter hook forward priority filter; policy %s;\n"
LISTED = """table ip filter {
    chain FORWARD {
        type filter hook forward priority filter; policy drop;
    }
    chain DOCKER-USER {
    }
}
table inet fw {
    chain guard {
        type filter hook forward priority filter; policy drop;
    }
    chain input {
        type filter hook input priority filter; policy drop;
    }
}
table bridge fw {
    chain forward {
        type filter hook forward priority filter; policy drop;
    }
}
""".replace("    ", "\t")
DOCKER, OWN = Chain("ip", "filter", "FORWARD"), Chain("inet", "fw", "guard")


def said(rules: dict[Chain, str], families: set[str]) -> list[str]:
    return warnings(LISTED, families, lambda chain: rules.get(chain, ""))


def test_a_policy_that_drops_forwarded_packets_is_named_with_a_remedy() -> None:
    docker, own = said({}, {"ip"})
    assert "FORWARD in the table ip filter" in docker
    assert docker.endswith("iptables -I FORWARD -m conntrack --ctstate DNAT,ESTABLISHED,RELATED -j ACCEPT")
    assert "guard in the table inet fw" in own
    assert own.endswith("nft insert rule inet fw guard ct status dnat accept")


def test_a_table_of_the_other_family_does_not_count() -> None:
    assert ["inet fw" in each for each in said({}, {"ip6"})] == [True]


@pytest.mark.parametrize(
    "rule",
    [
        "ct status dnat counter packets 0 bytes 0 accept",
        "ct status dnat accept",
        "ct state established,related ct status & dnat == dnat accept",
        "accept",
        "counter packets 3 bytes 180 accept",
    ],
)
def test_a_chain_that_accepts_translated_packets_is_no_obstacle(rule: str) -> None:
    assert said({OWN: HEAD % "drop" + "\t\t%s\n" % rule}, {"ip6"}) == []


def test_a_chain_may_accept_translated_packets_by_a_jump() -> None:
    user = Chain("inet", "fw", "user")
    rules = {OWN: "\t\tcounter packets 0 bytes 0 jump user\n", user: "\t\tct status dnat accept\n"}
    assert said(rules, {"ip6"}) == []


@pytest.mark.parametrize("rule", ["tcp dport 22 accept", "ct state established,related accept", "ct status dnat drop"])
def test_a_chain_that_accepts_other_packets_is_an_obstacle(rule: str) -> None:
    assert len(said({OWN: "\t\t%s\n" % rule}, {"ip6"})) == 1
