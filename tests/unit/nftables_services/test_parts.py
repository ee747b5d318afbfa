# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The options of nftables_services, the fronts of a table, and clients whose endpoint is gone."""

from __future__ import annotations

import textwrap
from typing import Any

import pytest

from ansible_collections.homelab.loadbalancer.plugins.module_utils._common.errors import InputError
from ansible_collections.homelab.loadbalancer.plugins.module_utils._nftables.model import parse_table
from ansible_collections.homelab.loadbalancer.plugins.module_utils._nftables_services import canonical, clients
from ansible_collections.homelab.loadbalancer.plugins.module_utils._nftables_services.fronts import fronts_in
from ansible_collections.homelab.loadbalancer.plugins.module_utils._nftables_services.input import (
    parse_name,
    parse_options,
)
from ansible_collections.homelab.loadbalancer.plugins.module_utils._nftables_services.layout import (
    Options,
    client_maps,
    layout,
)
from ansible_collections.homelab.loadbalancer.plugins.module_utils._services.model import PROTOCOLS, parse_services

NAMES = {
    "LB-": "LB",
    "LB": "LB",
    "a": "a",
    "router_1-": "router_1",
    "my-own-lb-": "my-own-lb",
    "x" * 32: "x" * 32,
    "x" * 31 + "-": "x" * 31,
}
BAD_NAMES = [
    "",
    "-",
    "1a",
    "-LB",
    "LB--",
    "a.b",
    "a b",
    "a/b",
    "../a",
    "LB-\n",
    "é",
    "x" * 33,
    "x" * 32 + "-",
    "a{",
    "$a",
]


@pytest.mark.parametrize("prefix", NAMES)
def test_prefix_names_the_table(prefix: str) -> None:
    assert parse_name(prefix) == NAMES[prefix]


@pytest.mark.parametrize("prefix", BAD_NAMES)
def test_prefix_that_cannot_name_a_table_is_refused(prefix: str) -> None:
    with pytest.raises(InputError, match=r"^prefix .* cannot name a table: use 1 to 32 letters, digits and hyphens"):
        parse_name(prefix)


def test_options() -> None:
    given: dict[str, Any] = {
        "masquerade": False,
        "masquerade_mark": "0x20",
        "pod_cidr": ["fd00::/8"],
        "isolate": [{"from": "lo", "to": "lo"}],
    }
    assert parse_options(given) == Options(False, 0x20, {"ipv4": "", "ipv6": "fd00::/8"}, (("lo", "lo"),))


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("masquerade_mark", "3", "masquerade_mark 3 is not a single bit"),
        ("pod_cidr", ["10.0.0.0/8", "10.0.0.1/8"], r"pod_cidr\[1\] 10.0.0.1/8 has host bits set"),
        ("isolate", [{"from": "lo", "to": "nowhere"}], r"isolate\[0\].to nowhere is not an interface"),
    ],
)
def test_bad_options_are_refused(option: str, value: Any, message: str) -> None:
    given = {"masquerade": True, "masquerade_mark": "1", "pod_cidr": [], "isolate": [], option: value}
    with pytest.raises(InputError, match=message):
        parse_options(given)


def service(name: str, **others: Any) -> dict[str, Any]:
    front = {"name": name, "address": "192.0.2.1", "port": 53, "protocol": "udp"}
    return {**front, "endpoints": [{"address": "10.0.0.1"}, {"address": "10.0.0.2", "port": 54}], **others}


SERVICES = [
    service("dns", node_port=30053, session_affinity={"timeout": 9}, source_ranges=["10.0.0.0/8"]),
    service("none", port=54, endpoints=[], node_port=30054),
    service("web", protocol="tcp"),
    service("dns6", address="fd00::1", endpoints=[{"address": "fd00::2"}], node_port=30053),
]


@pytest.mark.parametrize(
    "spelled", [{protocol: protocol for protocol in PROTOCOLS}, dict(zip(PROTOCOLS, ["6", "17", "132"]))]
)
def test_fronts_of_a_table(spelled: dict[str, str]) -> None:
    blocks = layout(parse_services(SERVICES), Options(), spelled)
    table = parse_table("table inet LB {\n%s}\n" % textwrap.indent(canonical.text(blocks), "\t"))
    assert fronts_in(table, "ipv4") == {("192.0.2.1", 53), ("192.0.2.1", 54), ("", 30053), ("", 30054)}
    assert fronts_in(table, "ipv6") == {("fd00::1", 53), ("", 30053)}
    assert fronts_in(None, "ipv4") == set()


ENDS = {"A": ("10.0.0.1", "53"), "B": ("10.0.0.2", "54"), "old": ("10.0.0.3", "53"), "mixed": ("10.0.0.1", "54")}


@pytest.mark.parametrize(
    ("held", "gone"),
    [
        ({}, []),
        ({"192.0.2.7": "A", "192.0.2.8": "B"}, []),
        ({"192.0.2.7": "A", "192.0.2.8": "old"}, ["192.0.2.8"]),
        ({"192.0.2.7": "mixed", "192.0.2.8": "old"}, ["192.0.2.7", "192.0.2.8"]),
    ],
)
def test_clients_of_former_endpoints_are_forgotten(held: dict[str, str], gone: list[str]) -> None:
    (parsed,) = parse_services([service("dns", session_affinity={"timeout": 9})])
    addresses, ports = client_maps(parsed)
    maps = {
        addresses: {client: ENDS[end][0] for client, end in held.items()},
        ports: {client: ENDS[end][1] for client, end in held.items()},
    }
    assert clients.forget(parsed, maps) == {
        addresses: ["%s : %s" % (client, ENDS[held[client]][0]) for client in gone],
        ports: ["%s : %s" % (client, ENDS[held[client]][1]) for client in gone],
    }


@pytest.mark.parametrize("half", [0, 1])
def test_client_in_only_one_of_the_maps_is_forgotten(half: int) -> None:
    """The kernel forgets an element of each map by itself."""
    (parsed,) = parse_services([service("dns", session_affinity={"timeout": 9})])
    names = client_maps(parsed)
    maps: dict[str, dict[str, str]] = {name: {} for name in names}
    maps[names[half]] = {"192.0.2.7": ("10.0.0.1", "53")[half]}
    found = clients.forget(parsed, maps)
    assert found == {names[half]: ["192.0.2.7 : " + ("10.0.0.1", "53")[half]], names[1 - half]: []}
