# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Entries of `lb_services`: their options, defaults and refusals."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.homelab.loadbalancer.plugins.module_utils._common.errors import InputError
from ansible_collections.homelab.loadbalancer.plugins.module_utils._services.model import (
    ENDPOINT_KEYS,
    SERVICE_KEYS,
    Endpoint,
    Service,
    parse_network,
    parse_services,
)

INVALID = sorted((Path(__file__).resolve().parent / "invalid_services").glob("*.yml"))
WEB: dict[str, Any] = {"name": "web", "address": "192.168.10.100", "port": 80, "endpoints": []}


@pytest.mark.parametrize("path", INVALID, ids=lambda path: path.stem)
def test_invalid(path: Path) -> None:
    """Each file holds one mistake that a user could make, and the whole message that it earns."""
    case = yaml.safe_load(path.read_text(encoding="utf-8"))
    with pytest.raises(InputError) as refused:
        parse_services(case["services"])
    assert str(refused.value) == case["message"]


def test_there_are_invalid_cases() -> None:
    assert len(INVALID) > 50


def test_defaults() -> None:
    (service,) = parse_services([{**WEB, "endpoints": [{"address": "192.168.20.20"}]}])
    endpoint = Endpoint("192.168.20.20", 80, 1)
    assert service == Service("web", "ipv4", "192.168.10.100", 80, "tcp", (endpoint,), 0, (), 0)


def test_all_options_are_parsed() -> None:
    (service,) = parse_services(
        [
            {
                "name": "Web-1",
                "address": "FD00:10:0::0100",
                "port": "443",
                "protocol": "udp",
                "endpoints": [{"address": "fd00:20:0:0::21", "port": "8443", "weight": "3"}],
                "session_affinity": {"timeout": "60"},
                "source_ranges": ["FD00:10::/64", "fd00:20::1"],
                "node_port": 30443,
            }
        ]
    )
    endpoint = Endpoint("fd00:20::21", 8443, 3)
    ranges = ("fd00:10::/64", "fd00:20::1/128")
    assert service == Service("Web-1", "ipv6", "fd00:10::100", 443, "udp", (endpoint,), 60, ranges, 30443)


@pytest.mark.parametrize(
    ("declared", "seconds"),
    [(None, 0), ({}, 10800), ({"timeout": None}, 10800), ({"timeout": 1}, 1), ({"timeout": 86400}, 86400)],
)
def test_affinity(declared: Any, seconds: int) -> None:
    (service,) = parse_services([{**WEB, "session_affinity": declared}])
    assert service.affinity == seconds


def test_null_keys_are_ignored() -> None:
    """Jinja's `default(omit)` within a list leaves nulls behind."""
    nothing = {"protocol": None, "session_affinity": None, "source_ranges": None, "node_port": None}
    endpoint = {"address": "192.168.20.20", "port": None, "weight": None}
    assert parse_services([{**WEB, "endpoints": [endpoint], **nothing}]) == parse_services(
        [{**WEB, "endpoints": [{"address": "192.168.20.20"}]}]
    )


@pytest.mark.parametrize(
    "change", [{"port": 81}, {"protocol": "udp"}, {"address": "192.168.10.101"}, {"address": "fd00:10::100"}]
)
def test_services_may_share_addresses_and_ports(change: dict[str, Any]) -> None:
    assert len(parse_services([WEB, {**WEB, "name": "other", **change}])) == 2


def test_node_ports_of_different_protocols_and_families() -> None:
    services = [
        {**WEB, "node_port": 30080},
        {**WEB, "name": "udp", "protocol": "udp", "node_port": 30080},
        {**WEB, "name": "six", "address": "fd00:10::100", "node_port": 30080},
    ]
    assert {service.node_port for service in parse_services(services)} == {30080}


def test_messages_use_the_name_they_are_given() -> None:
    with pytest.raises(InputError, match=r"^my_services\[0\]\.port is missing$"):
        parse_services([{"name": "web", "address": "192.168.10.100", "endpoints": []}], "my_services")


@pytest.mark.parametrize(
    ("raw", "network"),
    [
        ("0.0.0.0/0", ("0.0.0.0/0", "ipv4")),
        ("10.0.0.0/8", ("10.0.0.0/8", "ipv4")),
        ("10.0.0.1", ("10.0.0.1/32", "ipv4")),
        ("::/0", ("::/0", "ipv6")),
        ("FD00::/8", ("fd00::/8", "ipv6")),
        ("fd00::1", ("fd00::1/128", "ipv6")),
    ],
)
def test_networks(raw: str, network: tuple[str, str]) -> None:
    assert parse_network(raw, "here") == network


TEXT = st.one_of(
    st.text(max_size=8),
    st.text("0123456789.:/abcdef", max_size=20),
    st.sampled_from(["192.168.10.100", "fd00::1", "10.0.0.0/8", "tcp", "9" * 5000, "10.0.0.0/" + "1" * 5000]),
)
JUNK = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), TEXT),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.sampled_from([*SERVICE_KEYS, *ENDPOINT_KEYS, "timeout"]) | TEXT, inner, max_size=4),
    ),
    max_leaves=10,
)


def refusal(raw: Any) -> str:
    """The message, or an empty string. No other exception may reach the user."""
    try:
        parse_services(raw)
    except InputError as error:
        return str(error)
    return ""


@given(st.one_of(JUNK, st.lists(st.fixed_dictionaries({}, optional=dict.fromkeys(SERVICE_KEYS, JUNK)), max_size=2)))
def test_any_declaration_is_accepted_or_refused(raw: Any) -> None:
    assert refusal(raw).startswith("lb_services") or parse_services(raw) is not None


@given(st.sampled_from(SERVICE_KEYS), JUNK)
def test_one_bad_value_in_a_good_service(key: str, value: Any) -> None:
    said = refusal([{**WEB, key: value}])
    assert not said or said.startswith("lb_services[0].%s" % key)


@given(st.sampled_from(ENDPOINT_KEYS), JUNK)
def test_one_bad_value_in_a_good_endpoint(key: str, value: Any) -> None:
    said = refusal([{**WEB, "endpoints": [{"address": "192.168.20.20", key: value}]}])
    assert not said or said.startswith("lb_services[0].endpoints[0].%s" % key)
