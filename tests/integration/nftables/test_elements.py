# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The elements of random sets and maps, read by netlink and as nft lists them."""

from __future__ import annotations

import ipaddress
from typing import Any

import pytest
from hypothesis import strategies as st

from ansible_collections.homelab.loadbalancer.plugins.module_utils._nftables import node
from ansible_collections.homelab.loadbalancer.plugins.module_utils._nftables.elements import Elements, UnknownError
from ansible_collections.homelab.loadbalancer.plugins.module_utils._nftables.model import Table
from ansible_collections.homelab.loadbalancer.tests.integration.namespaces import fresh_network
from ansible_collections.homelab.loadbalancer.tests.integration.nftables.tables import load
from ansible_collections.homelab.loadbalancer.tests.integration.random_examples import try_examples

EXAMPLES = 60
PROTOCOLS = {6: "tcp", 17: "udp", 132: "sctp"}
VALUES: dict[str, st.SearchStrategy[Any]] = {
    "ipv4_addr": st.ip_addresses(v=4),
    # nft 1.0.6 lists an IPv4-mapped address in two ways.
    "ipv6_addr": st.integers(1 << 64, (1 << 128) - 1).map(ipaddress.IPv6Address),
    "inet_proto": st.sampled_from(list(PROTOCOLS.values())),
    "inet_service": st.integers(0, 65535),
}
DATA = {**VALUES, "verdict": st.sampled_from(["goto one", "jump two"])}
# Of elements and sets that only nft can read.
ODD_DATA = ["accept", "drop", "return"]
ODD = ["counter", "flags timeout", "flags interval", 'comment "a, b : c"']


@st.composite
def tables(draw: st.DrawFn) -> tuple[str, bool]:
    """The content of a table, and whether all of it can be read by netlink."""
    sets, odd = [], draw(st.booleans())
    for number in range(draw(st.integers(1, 4))):
        types = draw(st.lists(st.sampled_from(list(VALUES)), min_size=1, max_size=4))
        keys = draw(st.lists(st.tuples(*(VALUES[kind] for kind in types)), unique=True, max_size=60))
        elements, definition = [" . ".join(map(str, key)) for key in keys], " . ".join(types)
        kind = draw(st.sampled_from(["", *DATA]))
        if kind:
            values = st.sampled_from(ODD_DATA) if odd and kind == "verdict" else DATA[kind]
            elements = ["%s : %s" % (key, draw(values)) for key in elements]
            definition += " : " + kind
        extra = draw(st.sampled_from([each for each in ODD if not (kind and each == "counter")])) if odd else ""
        listed = "elements = { %s }" % ", ".join(elements) if elements else ""
        lines = "\n".join(["type " + definition, extra, listed])
        sets.append("%s s%d {\n%s\n}" % ("map" if kind else "set", number, lines))
    return "\n".join(["chain one { }", "chain two { }", *sets]), not odd


def read() -> Table:
    table = node.read("inet", "site")
    assert table
    return table


def test_elements_by_netlink_equal_those_that_nft_lists() -> None:
    def compare(example: tuple[str, bool]) -> None:
        content, all_known = example
        with fresh_network():
            load("table inet other { set s0 { type mark; }; }\ntable inet site {\n%s\n}\n" % content)
            elements = Elements("inet", "site", PROTOCOLS)
            for block in read().blocks.values():
                if block.kind != "chain":
                    try:
                        assert elements.read(block) == block.elements
                    except UnknownError:
                        assert not all_known

    try_examples(EXAMPLES, tables(), compare)


def test_filled_table_equals_the_listed_one() -> None:
    def compare(example: tuple[str, bool]) -> None:
        with fresh_network():
            load("table inet sites { }\ntable inet site {\n%s\n}\n" % example[0])
            rules = node.read_rules("inet", "site")
            assert rules
            assert node.fill(rules, PROTOCOLS) == read()

    try_examples(EXAMPLES, tables(), compare)


def test_table_that_is_missing_has_no_rules() -> None:
    with fresh_network():
        assert node.read_rules("inet", "site") is None
        load("table inet site2 { }\ntable ip site { }\n")
        assert node.read_rules("inet", "site") is None


def test_missing_set_is_refused() -> None:
    with fresh_network():
        load("table inet site { set s { type ipv4_addr; }; }\n")
        block = read().blocks["set", "s"]
        with pytest.raises(OSError, match="No such file"):
            Elements("inet", "site", PROTOCOLS).read(block._replace(name="t"))
