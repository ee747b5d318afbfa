# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The status of HTTP routes, as the controllers of Gateways report it."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.homelab.loadbalancer.plugins.plugin_utils._httproute import cluster as clusters
from ansible_collections.homelab.loadbalancer.plugins.plugin_utils._httproute.input import parse_routes
from ansible_collections.homelab.loadbalancer.plugins.plugin_utils._httproute.status import pending
from ansible_collections.homelab.loadbalancer.tests.unit.httproute.objects import (
    WORKS,
    answers,
    cluster,
    condition,
    gateway,
    reported,
    route,
    thing,
)


def report(*parents: dict[str, Any], **kinds: Any) -> list[str]:
    live = thing("web", metadata={"generation": 3}, status={"parents": list(parents)})
    return pending(parse_routes([route()]), clusters.by_name(answers(cluster(**{"HTTPRoute": [live], **kinds}))))


@pytest.mark.parametrize(
    "parents",
    [
        [reported(*WORKS)],
        [reported(*WORKS, namespace="default")],
        # A controller that speaks of each listener, one of which does not take the host name.
        [
            reported(condition("Accepted", "False"), *WORKS[1:], sectionName="https"),
            reported(*WORKS, sectionName="http"),
        ],
        [{**reported(), "parentRef": {"name": "other"}}, reported(*WORKS)],
    ],
)
def test_working_route_has_no_fault(parents: list[dict[str, Any]]) -> None:
    assert report(*parents) == []


@pytest.mark.parametrize(
    ("parents", "kinds", "lines"),
    [
        ([], {}, ["no controller has said anything of it"]),
        ([reported(*WORKS, namespace="shop")], {}, ["no controller has said anything of it"]),
        ([], {"Gateway": [gateway(conditions=[])]},
         ["no controller has said anything of it",
          "  no controller has taken the Gateway: see that one for the GatewayClass traefik is installed and runs"]),
        ([reported(condition("Accepted", generation=2), WORKS[1])], {},
         ["Accepted is Unknown (Pending): its controller has not seen the change yet"]),
        ([reported(WORKS[0])], {}, ["ResolvedRefs is Unknown (Pending): its controller has not seen the change yet"]),
        ([reported(WORKS[0], condition("ResolvedRefs", "False", "BackendNotFound", message="no\nService \x1b[31m"))],
         {},
         ["ResolvedRefs is False (BackendNotFound): no Service \\x1b[31m",
          "  a Service, its port or its endpoints are not there: make them, or name another one"]),
        ([reported(condition("Accepted", "False", "NoMatchingParent"), WORKS[1])],
         {"Gateway": [gateway(listeners=[{"name": "https", "conditions": [
             condition("ResolvedRefs", "False", "InvalidCertificateRef", message="no Secret")]}])]},
         ["Accepted is False (NoMatchingParent)",
          "  the listener is not there, or does not work, for instance for want of a certificate",
          "  its listener https: ResolvedRefs is False (InvalidCertificateRef): no Secret"]),
        ([], {"Gateway": []}, ["no controller has said anything of it", "  the Gateway is not there any more"]),
    ],
)  # fmt: skip
def test_fault_of_a_route_is_explained(parents: Any, kinds: dict[str, Any], lines: list[str]) -> None:
    head = "HTTPRoute default/web at the Gateway default/main: "
    assert report(*parents, **kinds) == [head + lines[0], *lines[1:]]


def test_removed_route_is_a_fault() -> None:
    assert report(HTTPRoute=[]) == ["HTTPRoute default/web: it was removed meanwhile"]


def test_a_long_message_is_cut() -> None:
    (line, *dummy) = report(reported(condition("Accepted", "False", message="x" * 5000), WORKS[1]))
    assert len(line) < 600 and line.endswith(" ...")
