# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The status of Gateways, and explanations of their faults."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.homelab.loadbalancer.plugins.plugin_utils._gateway.status import addresses, waiting

ANY: dict[str, list[str]] = {"edge/public": []}


def condition(kind: str, status: str = "True", message: str = "", generation: int = 2) -> dict[str, Any]:
    return {
        "type": kind,
        "status": status,
        "reason": "Because",
        "message": message,
        "observedGeneration": generation,
    }


WORKING = (condition("Accepted"), condition("Programmed"))
# As Kubernetes itself has it on a new Gateway.
NEW = (
    {"type": "Accepted", "status": "Unknown", "reason": "Pending", "message": "Waiting for controller"},
    {"type": "Programmed", "status": "Unknown", "reason": "Pending", "message": "Waiting for controller"},
)


def gateway(*conditions: dict[str, Any], values: tuple[str, ...] = (), **status: Any) -> dict[str, Any]:
    return {
        "metadata": {"name": "public", "namespace": "edge", "generation": 2},
        "status": {
            "conditions": list(conditions),
            "addresses": [{"type": "IPAddress", "value": address} for address in values],
            **status,
        },
    }


def test_working_gateway_has_no_fault() -> None:
    found = [gateway(*WORKING, values=("192.0.2.1",)), {"metadata": {"name": "other", "namespace": "edge"}}]
    assert addresses(found, ANY) == {"edge/public": ["192.0.2.1"]}
    assert waiting(found, ANY, "nginx") == []
    both = [gateway(*WORKING, values=("192.0.2.1", "2001:db8::1"))]
    assert waiting(both, {"edge/public": ["2001:db8::1", "192.0.2.1"]}, "nginx") == []


@pytest.mark.parametrize(
    ("found", "expected", "said"),
    [
        ([], [], ["Gateway edge/public is not in the cluster"]),
        ([gateway(*NEW)], [], ["Gateway edge/public: no controller has taken it up: see that the controller of G"]),
        (
            [gateway(condition("Accepted", generation=1), condition("Programmed", generation=1), values=("::1",))],
            [],
            ["Gateway edge/public: no controller has taken it up"],
        ),
        ([gateway(*WORKING)], [], ["Gateway edge/public: it has no address"]),
        (
            [gateway(*WORKING, values=("192.0.2.1",))],
            ["192.0.2.2"],
            ["Gateway edge/public: it has the address 192.0.2.1, and not 192.0.2.2"],
        ),
        ([gateway(condition("Accepted"))], [], ["Gateway edge/public: it is not Programmed, and its controller does"]),
        (
            [
                gateway(
                    condition("Accepted", "False", "All Listeners must be valid"),
                    listeners=[
                        {
                            "name": "https",
                            "conditions": [
                                condition("Accepted"),
                                condition("Conflicted", "False"),
                                condition("ResolvedRefs", "False", "no \x1b[2Jsecret"),
                            ],
                        },
                        {"name": "http", "conditions": [condition("Conflicted", "True", "taken")]},
                    ],
                )
            ],
            [],
            [
                "Gateway edge/public: Accepted is False (Because): All Listeners must be valid",
                "Gateway edge/public: listener https: ResolvedRefs is False (Because): no \\x1b[2Jsecret",
                "Gateway edge/public: listener http: Conflicted is True (Because): taken",
            ],
        ),
    ],
)
def test_faults_of_a_gateway_are_explained(found: list[Any], expected: list[str], said: list[str]) -> None:
    lines = waiting(found, {"edge/public": expected}, "nginx")
    assert len(lines) == len(said)
    for line, start in zip(lines, said):
        assert line.startswith(start)
