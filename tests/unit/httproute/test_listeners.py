# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which routes a listener takes: by labels of namespaces, and by host names."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.homelab.loadbalancer.plugins.plugin_utils._common.hostnames import meet
from ansible_collections.homelab.loadbalancer.plugins.plugin_utils._httproute.listeners import selects


@pytest.mark.parametrize(
    ("selector", "labels", "taken"),
    [
        ({}, {}, True),
        ({"matchLabels": {"a": "b"}}, {"a": "b", "c": "d"}, True),
        ({"matchLabels": {"a": "b"}}, {}, False),
        ({"matchExpressions": [{"key": "a", "operator": "In", "values": ["b"]}]}, {"a": "b"}, True),
        ({"matchExpressions": [{"key": "a", "operator": "In", "values": ["b"]}]}, {"a": "c"}, False),
        ({"matchExpressions": [{"key": "a", "operator": "NotIn", "values": ["b"]}]}, {}, True),
        ({"matchExpressions": [{"key": "a", "operator": "NotIn", "values": ["b"]}]}, {"a": "b"}, False),
        ({"matchExpressions": [{"key": "a", "operator": "Exists"}]}, {"a": ""}, True),
        ({"matchExpressions": [{"key": "a", "operator": "Exists"}]}, {}, False),
        ({"matchExpressions": [{"key": "a", "operator": "DoesNotExist"}]}, {}, True),
        ({"matchExpressions": [{"key": "a", "operator": "DoesNotExist"}]}, {"a": ""}, False),
    ],
)
def test_label_selectors(selector: dict[str, Any], labels: dict[str, str], taken: bool) -> None:
    assert selects(selector, labels) is taken


@pytest.mark.parametrize(
    ("first", "second", "both"),
    [
        ("", "", ""),
        ("", "a.b", "a.b"),
        ("*.b", "a.b", "a.b"),
        ("*.b", "c.a.b", "c.a.b"),
        ("*.b", "*.a.b", "*.a.b"),
        ("*.b", "b", None),
        ("*.b", "ab", None),
        ("a.b", "c.b", None),
    ],
)
def test_host_names_intersect(first: str, second: str, both: str | None) -> None:
    assert meet(first, second) == meet(second, first) == both


HOSTS = ["a", "b", "a.b", "b.b", "c.a.b", "b.a", "a.a.b"]


@given(st.sampled_from(["", "*.b", "*.a.b", "*.a", *HOSTS]), st.sampled_from(["", "*.b", "*.a.b", "*.a", *HOSTS]))
def test_intersection_matches_the_names_that_both_match(one: str, other: str) -> None:
    """By enumeration of the hosts that each stands for."""

    def takes(pattern: str | None, host: str) -> bool:
        if pattern is None:
            return False
        return pattern in ("", host) or (pattern.startswith("*.") and host.endswith(pattern[1:]))

    both = meet(one, other)
    assert [takes(both, host) for host in HOSTS] == [takes(one, host) and takes(other, host) for host in HOSTS]
