# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The role and the module `endpoints` on a real API server."""

from __future__ import annotations

import re
from typing import Any

from ansible_collections.homelab.loadbalancer.tests.api.api_server import ApiServer, writes
from ansible_collections.homelab.loadbalancer.tests.api.in_process import Cluster
from ansible_collections.homelab.loadbalancer.tests.api.objects import placed
from ansible_collections.homelab.loadbalancer.tests.api.plays import must_fail, role, shown

SERVICES = "/api/v1/namespaces/%s/services"
SLICES = "/apis/discovery.k8s.io/v1/namespaces/%s/endpointslices"
OUTSIDE: dict[str, Any] = {
    "name": "outside",
    "addresses": ["172.16.0.30", "172.16.0.31"],
    "ports": [{"port": 80, "target_port": 8080}],
    "manage_service": True,
}
CHOSEN: dict[str, Any] = {"name": "chosen", "selector": {"app": "db"}, "ports": [{"name": "sql", "port": 5432}]}
BY_HAND = {"metadata": {"name": "chosen"}, "spec": {"ports": [{"name": "sql", "port": 5432}]}}


def names(api: ApiServer, path: str) -> list[str]:
    return sorted(one["metadata"]["name"] for one in api.get(path)["items"])


def make_pod(api: ApiServer, namespace: str, name: str, address: str) -> None:
    """A pod as a node would show it, ready and with an address."""
    path = "/api/v1/namespaces/%s/pods" % namespace
    spec = {"nodeName": "worker1", "containers": [{"name": "db", "image": "db"}]}
    api.ask("POST", path, {"metadata": {"name": name, "labels": {"app": "db"}}, "spec": spec})
    status = {"phase": "Running", "podIP": address, "podIPs": [{"ip": address}]}
    ready = {"conditions": [{"type": "Ready", "status": "True"}]}
    api.ask(
        "PATCH",
        "%s/%s/status" % (path, name),
        {"status": {**status, **ready}},
        "application/strategic-merge-patch+json",
    )


def test_lifecycle(api: ApiServer, cluster: Cluster, namespace: str) -> None:
    api.ask("POST", SERVICES % namespace, BY_HAND)
    make_pod(api, namespace, "db-1", "10.244.1.7")
    created = ["create Service %s/outside", "create EndpointSlice %s/outside-ipv4-1"]
    created = [change % namespace for change in [*created, "create EndpointSlice %s/chosen-ipv4-1"]]
    both, absent = {"services": placed(namespace, OUTSIDE, CHOSEN)}, {"state": "absent"}
    with api.record() as asked:
        (predicted,) = cluster.action("endpoints", {**both, "check": True})
    assert writes(asked) == []
    made, again = cluster.action("endpoints", both, both)
    assert made["changes"] == predicted["changes"] == created
    assert len(predicted["diff"]) == 3 and made["notes"] == []
    assert (again["changed"], again["changes"]) == (False, [])
    [one] = [slice_ for slice_ in api.get(SLICES % namespace)["items"] if slice_["metadata"]["name"] == "chosen-ipv4-1"]
    assert one["endpoints"][0]["addresses"] == ["10.244.1.7"]
    assert one["endpoints"][0]["targetRef"]["name"] == "db-1"
    fewer, gone, nothing = cluster.action("endpoints", {"services": placed(namespace, CHOSEN)}, absent, absent)
    assert [change.split(" ")[0] for change in fewer["changes"]] == ["delete", "delete"]
    assert gone["changes"] == ["delete EndpointSlice %s/chosen-ipv4-1" % namespace]
    assert not nothing["changed"]
    assert names(api, SLICES % namespace) == []
    assert names(api, SERVICES % namespace) == ["chosen"]  # which the user made


def test_role_refuses_before_it_changes_anything(api: ApiServer, namespace: str) -> None:
    selecting = {"metadata": {"name": "web"}, "spec": {"selector": {"app": "web"}, "ports": [{"port": 80}]}}
    api.ask("POST", SERVICES % namespace, selecting)
    chosen = {"ports": [{"port": 80}]}
    conflicting = placed(namespace, OUTSIDE, {**CHOSEN, **chosen, "name": "web"})
    missing = placed(namespace, {**CHOSEN, **chosen, "name": "db"})
    wrong = [role("endpoints", endpoints_services=conflicting), role("endpoints", endpoints_services=missing)]
    noted = {"block": [wrong[1]], "check_mode": True}
    with api.record() as asked:
        done = api.play([*[must_fail(one) for one in (*wrong, role("endpoints"))], noted])
    selects, absent, undefined = shown(done.out)
    assert selects.startswith("endpoints_services[1]: Service %s/web has a selector" % namespace)
    assert absent.startswith("endpoints_services[0]: there is no Service %s/db" % namespace)
    assert "endpoints_services is undefined or null" in undefined
    assert "endpoints_services[0]: there is no Service %s/db" % namespace in flat(done.out)
    assert writes(asked) == []


def flat(text: str) -> str:
    return re.sub(r"\s+", " ", text)
