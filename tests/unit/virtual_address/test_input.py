# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Addresses that may be declared, and those that are refused."""

from __future__ import annotations

import re

import pytest

from ansible_collections.homelab.loadbalancer.plugins.module_utils._common.errors import InputError
from ansible_collections.homelab.loadbalancer.plugins.module_utils._virtual_address.input import (
    parse_addresses,
    parse_metric,
)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (["10.0.0.300"], "addresses[0] 10.0.0.300 is not an IP address"),
        (["10.0.0.1", ""], "addresses[1]  is not an IP address"),
        (["web"], "addresses[0] web is not an IP address"),
        (["fe80::1%eth0"], "addresses[0] fe80::1%eth0 is not an IP address"),
        (["10.0.0.1/33"], "addresses[0] 10.0.0.1/33 has no valid prefix length: give 1 to 32, or none"),
        (["10.0.0.1/0"], "addresses[0] 10.0.0.1/0 has no valid prefix length: give 1 to 32, or none"),
        (["10.0.0.1/"], "addresses[0] 10.0.0.1/ has no valid prefix length: give 1 to 32, or none"),
        (["10.0.0.1/255.255.255.0"], "addresses[0] 10.0.0.1/255.255.255.0 has no valid prefix length"),
        (["fd00::1/129"], "addresses[0] fd00::1/129 has no valid prefix length: give 1 to 128, or none"),
        (["10.0.0.1", "10.0.0.1/24"], "addresses[1] 10.0.0.1/24 is the same address as addresses[0] 10.0.0.1:"),
        (["fd00::1", "fd00:0::1"], "addresses[1] fd00:0::1 is the same address as addresses[0] fd00::1:"),
        (["0.0.0.0"], "addresses[0] 0.0.0.0 is the unspecified address"),
        (["127.0.0.9"], "addresses[0] 127.0.0.9 is a loopback address"),
        (["::1"], "addresses[0] ::1 is a loopback address"),
        (["224.0.0.1"], "addresses[0] 224.0.0.1 is a multicast address"),
        (["ff02::1"], "addresses[0] ff02::1 is a multicast address"),
        (["255.255.255.255"], "addresses[0] 255.255.255.255 is the broadcast address"),
        (["fe80::1"], "addresses[0] fe80::1 is a link-local address"),
        (["::ffff:10.0.0.1"], "addresses[0] ::ffff:10.0.0.1 is an IPv4-mapped address"),
        (["10.0.0.0/24"], "addresses[0] 10.0.0.0/24 is the network address of 10.0.0.0/24"),
        (["10.0.0.255/24"], "addresses[0] 10.0.0.255/24 is the broadcast address of 10.0.0.0/24"),
    ],
)
def test_bad_entries_are_named(values: list[str], message: str) -> None:
    with pytest.raises(InputError) as refused:
        parse_addresses(values)
    assert str(refused.value).startswith(message)


def test_prefix_lengths_default_to_the_single_address() -> None:
    assert [d.full_prefix for d in parse_addresses(["10.0.0.1", "fd00::1", "10.0.1.0/31", "10.0.2.1/24"])] == [
        32,
        128,
        31,
        24,
    ]


@pytest.mark.parametrize("value", [0, -1, 2**32])
def test_metric_must_be_a_mark(value: int) -> None:
    with pytest.raises(InputError, match="^metric %d cannot mark" % value):
        parse_metric(value)
    assert parse_metric(2**32 - 1)


def test_addresses_of_a_role_have_the_names_of_its_entries_and_may_repeat() -> None:
    declared = parse_addresses(["10.0.0.1", "10.0.0.1", "10.0.0.2"], "lb_services[*].address")
    assert [one.entry for one in declared] == ["lb_services[0].address 10.0.0.1", "lb_services[2].address 10.0.0.2"]
    with pytest.raises(InputError, match=re.escape("lb_services[1].address web is not an IP address")):
        parse_addresses(["10.0.0.1", "web"], "lb_services[*].address")
