# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Notes of host names that no certificate of their HTTPS listeners is for."""

from __future__ import annotations

import base64
from typing import Any, Mapping

import pytest

from ansible_collections.homelab.loadbalancer.plugins.plugin_utils._httproute import plan as planner
from ansible_collections.homelab.loadbalancer.tests.unit.gateway.certificates import certificate
from ansible_collections.homelab.loadbalancer.tests.unit.httproute.objects import (
    HTTP,
    HTTPS,
    answers,
    cluster,
    options,
    route,
    thing,
)

TLS = {**HTTPS, "hostname": "*.k8s.local", "tls": {"certificateRefs": [{"name": "wild"}]}}


def secret(text: str, name: str = "wild", space: str = "default") -> dict[str, Any]:
    return thing(name, space, data={"tls.crt": base64.b64encode(text.encode()).decode()})


def is_asked(one: dict[str, Any], query: Mapping[str, Any]) -> bool:
    return (one["metadata"]["namespace"], one["metadata"]["name"]) == (query["namespace"], query["name"])


@pytest.mark.parametrize(
    ("listener", "secrets", "noted"),
    [
        (TLS, [secret(certificate("*.k8s.local"))], ["a.b.k8s.local"]),
        (TLS, [secret(certificate("web.k8s.local"))], ["a.b.k8s.local"]),
        (TLS, [secret(certificate("a.b.k8s.local"))], ["web.k8s.local"]),
        (TLS, [secret(certificate("*.k8s.local", "*.b.k8s.local"))], []),
        # Whoever issues them later, or makes something else of them.
        (TLS, [], []),
        (TLS, [secret("")], []),
        (TLS, [secret("no certificate")], []),
        (TLS, [secret(certificate("*.k8s.local"), space="other")], []),
        # Any of a listener's certificates will do.
        (
            {**TLS, "tls": {"certificateRefs": [{"name": "wild"}, {"name": "deep", "namespace": "shop"}]}},
            [secret(certificate("*.k8s.local")), secret(certificate("a.b.k8s.local"), "deep", "shop")],
            [],
        ),
        ({**TLS, "hostname": "*.b.k8s.local"}, [secret(certificate("*.b.k8s.local"))], []),
    ],
)
def test_host_names_without_a_certificate_are_noted(listener: Any, secrets: Any, noted: list[str]) -> None:
    declared = [route(hostnames=["web.k8s.local", "a.b.k8s.local"])]
    have = answers(cluster(HTTP, listener))
    look = planner.plan(options(declared), have).look
    have += [{"kind": "Secret", "api_found": True, "resources": [one for one in secrets if is_asked(one, query)]}
             for query in look]  # fmt: skip
    made = planner.plan(options(declared), have)
    assert list(made.look) == []
    notes = made.notes
    assert [note.split()[1] for note in notes] == noted
    assert all("is taken by the listener https of the Gateway main, whose certificate is for " in one for one in notes)


def test_unreadable_secrets_are_noted() -> None:
    declared = [route(hostnames=["web.k8s.local"])]
    have = answers(cluster(TLS))
    (query,) = planner.plan(options(declared), have).look
    assert query["optional"] is True and query["kind"] == "Secret"
    made = planner.plan(
        options(declared), [*have, {"kind": "Secret", "api_found": True, "resources": [], "forbidden": True}]
    )
    assert (made.look, made.refusals, made.unmet) == ((), [], [])
    assert made.notes == [
        "it was not checked whether the certificates of HTTPS listeners are for the host names: Secrets of the "
        "namespace default may not be read"
    ]
