# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Random sequences of declared states, with foreign changes between them: after each the node is as declared.

The expected table is the one that a first run makes in an empty network namespace.
"""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from ansible_collections.homelab.loadbalancer.plugins.module_utils._common.command import run
from ansible_collections.homelab.loadbalancer.tests.integration.namespaces import fresh_network
from ansible_collections.homelab.loadbalancer.tests.integration.nftables_services.declared import (
    converge,
    declare,
    foreign,
    lines,
    listing,
    load_foreign,
    make_links,
)
from ansible_collections.homelab.loadbalancer.tests.integration.random_examples import try_examples
from ansible_collections.homelab.loadbalancer.tests.integration.services_lab import endpoints

EXAMPLES = 8
ADDRESSES = {"ipv4": "192.0.2.%d", "ipv6": "2001:db8::%d"}
RANGES = {"ipv4": ["10.0.0.0/8", "10.1.0.0/16", "192.0.2.7"], "ipv6": ["fd00::/8", "fd00:1::/64"]}
BY_HAND = [
    "flush chain inet LB services",
    "add rule inet LB services counter drop",
    "insert rule inet LB filter-forward accept",
    "delete chain inet LB filter-output",
    "add chain inet LB more",
    "flush map inet LB services-ip",
    "flush set inet LB allowed-ip6",
    "add element inet LB no-endpoints-ip { 192.0.2.1 . tcp . 99 }",
    "add element inet LB client-addresses-s0 { 192.0.2.9 : 192.168.20.21 }",
    "delete table inet LB",
]


@st.composite
def service(draw: st.DrawFn, number: int) -> dict[str, Any]:
    family = draw(st.sampled_from(list(ADDRESSES)))
    ends = endpoints(*draw(st.lists(st.integers(1, 5), unique=True, max_size=4)), family=family)
    weight = draw(st.sampled_from([1, 1, 3]))
    found: dict[str, Any] = {
        "name": "s%d" % number,
        "address": ADDRESSES[family] % draw(st.integers(1, 2)),
        "port": 80 + number,
        "protocol": draw(st.sampled_from(["tcp", "udp", "sctp"])),
        "endpoints": [{**end, "weight": weight if i else 1} for i, end in enumerate(ends)],
        "source_ranges": draw(st.lists(st.sampled_from(RANGES[family]), unique=True, max_size=2)),
    }
    if draw(st.booleans()):
        found["node_port"] = 30000 + number
    if draw(st.booleans()):
        found["session_affinity"] = {"timeout": draw(st.sampled_from([60, 600]))}
    return found


OPTIONS: list[dict[str, Any]] = [
    {},
    {},
    {"masquerade": False},
    {"isolate": [{"from": "eth0", "to": "eth1"}]},
    {"pod_cidr": ["10.244.0.0/16"], "masquerade_mark": "0x1"},
    {"state": "absent"},
]
STEPS = st.fixed_dictionaries(
    {
        "services": st.lists(st.integers(0, 3), unique=True, max_size=4).flatmap(
            lambda numbers: st.tuples(*map(service, sorted(numbers)))
        ),
        "options": st.sampled_from(OPTIONS),
        "by_hand": st.lists(st.sampled_from(BY_HAND), max_size=2),
        "quick": st.booleans(),
    }
)


def made_alone(services: list[dict[str, Any]], options: dict[str, Any]) -> list[list[str]]:
    """The table that a first run makes."""
    with fresh_network():
        make_links()
        declare(services, **options)
        return lines(listing())


def take_step(step: dict[str, Any]) -> None:
    """Change the table by hand, then declare a state and compare the node with it."""
    for line in step["by_hand"]:
        run(["nft", *line.split()], check=False)  # nft refuses it if the chain or map is missing now
    services, options = list(step["services"]), step["options"]
    if step["quick"]:
        theirs = foreign()
        assert "warnings" not in declare(services, diff=False, **options)
        assert foreign() == theirs
    else:
        assert "warnings" not in converge(services, **options)
    # A client that was added by hand stays while its service does.
    ours = [[line for line in block if not line.startswith("192.0.2.9 :")] for block in lines(listing())]
    assert without_empty(ours) == without_empty(made_alone(services, options))


def without_empty(found: list[list[str]]) -> list[list[str]]:
    return [[line for line in block if line.strip() not in ("elements = {", "")] for block in found]


def test_any_sequence_of_states_is_reached() -> None:
    def sequence(states: list[dict[str, Any]]) -> None:
        with fresh_network():
            make_links()
            load_foreign()
            theirs = foreign()
            for step in states:
                take_step(step)
            assert foreign() == theirs

    try_examples(EXAMPLES, st.lists(STEPS, min_size=1, max_size=4), sequence)
