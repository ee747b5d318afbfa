# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The role and the module `endpoints` on a real API server: from nothing to endpoints, and back to nothing."""

from __future__ import annotations

import re
from typing import Any

from ansible_collections.homelab.loadbalancer.tests.api.api_server import ApiServer, writes

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


def declare(namespace: str, *services: dict[str, Any], **rest: Any) -> dict[str, Any]:
    """The task that declares the Services, all in one namespace."""
    wanted = [{**service, "namespace": namespace} for service in services]
    return {"homelab.loadbalancer.endpoints": {"services": wanted}, "register": "done", **rest}


def check(*conditions: str) -> dict[str, Any]:
    return {"ansible.builtin.assert": {"that": list(conditions)}}


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


def test_endpoints_come_stay_and_go(api: ApiServer, namespace: str) -> None:
    api.ask("POST", SERVICES % namespace, BY_HAND)
    make_pod(api, namespace, "db-1", "10.244.1.7")
    created = ["create Service %s/outside", "create EndpointSlice %s/outside-ipv4-1"]
    created = [change % namespace for change in [*created, "create EndpointSlice %s/chosen-ipv4-1"]]
    with api.record() as asked:
        api.play(
            [
                declare(namespace, OUTSIDE, CHOSEN, check_mode=True),
                check("done is changed", "done.changes == %s" % created, "done.diff | length == 3"),
            ]
        )
    assert writes(asked) == []
    api.play(
        [
            declare(namespace, OUTSIDE, CHOSEN),
            check("done is changed", "done.changes == %s" % created, "done.notes == []"),
            declare(namespace, OUTSIDE, CHOSEN),
            check("done is not changed", "done.changes == []"),
        ]
    )
    [one] = [slice_ for slice_ in api.get(SLICES % namespace)["items"] if slice_["metadata"]["name"] == "chosen-ipv4-1"]
    assert one["endpoints"][0]["addresses"] == ["10.244.1.7"]
    assert one["endpoints"][0]["targetRef"]["name"] == "db-1"
    api.play(
        [
            declare(namespace, CHOSEN),
            check("done is changed", "done.changes | select('match', 'delete') | length == 2"),
            {"homelab.loadbalancer.endpoints": {"state": "absent"}, "register": "done"},
            check("done.changes == ['delete EndpointSlice %s/chosen-ipv4-1']" % namespace),
            {"homelab.loadbalancer.endpoints": {"state": "absent"}, "register": "done"},
            check("done is not changed"),
        ]
    )
    assert names(api, SLICES % namespace) == []
    assert names(api, SERVICES % namespace) == ["chosen"]  # made by somebody else


def test_a_refusal_changes_nothing(api: ApiServer, namespace: str) -> None:
    selecting = {"metadata": {"name": "web"}, "spec": {"selector": {"app": "web"}, "ports": [{"port": 80}]}}
    api.ask("POST", SERVICES % namespace, selecting)
    wanted = [{**OUTSIDE, "namespace": namespace}, {**CHOSEN, "namespace": namespace, "name": "web"}]
    wanted[1]["ports"] = [{"port": 80}]
    role = {"ansible.builtin.include_role": {"name": "homelab.loadbalancer.endpoints"}}
    with api.record() as asked:
        said = api.play([{**role, "vars": {"endpoints_services": wanted}}], rc=2).out
        missing = api.play([{**role, "vars": {"endpoints_services": [{**wanted[1], "name": "db"}]}}], rc=2).out
        undefined = api.play([role], rc=2).out
    assert "endpoints_services[1]: Service %s/web has a selector" % namespace in flat(said)
    assert "endpoints_services[0]: there is no Service %s/db" % namespace in flat(missing)
    assert "endpoints_services is not defined, or null" in flat(undefined)
    assert writes(asked) == []
    noted = api.play([{**role, "vars": {"endpoints_services": [{**wanted[1], "name": "db"}]}}], "--check").out
    assert "there is no Service %s/db" % namespace in flat(noted)


def flat(text: str) -> str:
    return re.sub(r"\s+", " ", text)
