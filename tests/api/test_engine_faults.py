# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The engine on an API server that does not answer, refuses in the middle of a run, or is not ready yet."""

from __future__ import annotations

import json
import threading
import time
from typing import Any

import pytest

from ansible_collections.homelab.loadbalancer.plugins.module_utils._k8s import transport as k8s_transport
from ansible_collections.homelab.loadbalancer.plugins.plugin_utils._k8s.engine import RefusedError
from ansible_collections.homelab.loadbalancer.plugins.plugin_utils._k8s.model import Apply, Plan, Remove
from ansible_collections.homelab.loadbalancer.plugins.plugin_utils._k8s.server import UnansweredError
from ansible_collections.homelab.loadbalancer.tests.api.api_server import ApiServer
from ansible_collections.homelab.loadbalancer.tests.api.in_process import Cluster
from ansible_collections.homelab.loadbalancer.tests.api.objects import config_map, kind, path, service, thing
from ansible_collections.homelab.loadbalancer.tests.api.stub import DROP, HANG, LOSE, Api, Fault, Proxy
from ansible_collections.homelab.loadbalancer.tests.api.webhook import webhook


def both(namespace: str) -> list[dict[str, Any]]:
    return [config_map(namespace, "one"), service(namespace, "two")]


@pytest.mark.parametrize("pattern", ["GET /api", "GET .*/configmaps", "PATCH .dry", "PATCH /"])
def test_hanging_api_server_ends_in_a_timeout(
    cluster: Cluster, proxy: Proxy, namespace: str, pattern: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(k8s_transport.Transport.__init__, "__defaults__", ("", "", 1.0))
    proxy.faults.append(Fault(pattern, HANG))
    start = time.monotonic()
    with pytest.raises(UnansweredError) as caught:
        cluster.apply(*both(namespace))
    assert time.monotonic() - start < 20
    assert "accepted a request and sent no answer in time" in str(caught.value)
    proxy.faults.clear()
    cluster.apply(*both(namespace))
    assert cluster.apply(*both(namespace)).changes == []


@pytest.mark.parametrize("act", [DROP, LOSE])
@pytest.mark.parametrize("pattern", ["GET /api", "GET .*/configmaps", "PATCH .dry", "PATCH /"])
def test_request_is_repeated_after_a_broken_connection(
    api: ApiServer, cluster: Cluster, proxy: Proxy, namespace: str, pattern: str, act: str
) -> None:
    proxy.faults.append(Fault(pattern, act, times=1))
    assert len(cluster.apply(*both(namespace)).changes) == 2
    assert cluster.apply(*both(namespace)).changes == []
    assert proxy.faults[0].times == 0


def test_deletion_is_complete_when_its_answer_is_lost(
    api: ApiServer, cluster: Cluster, proxy: Proxy, namespace: str
) -> None:
    cluster.apply(*both(namespace))
    proxy.faults.append(Fault("DELETE /", LOSE, times=1))
    cluster.run(Plan(steps=[Remove(both(namespace))]))
    assert api.get(path(namespace, "one")) is None
    assert api.get(path(namespace, "two", "services")) is None


def test_concurrent_requests_to_a_hanging_api_server_end_together(
    cluster: Cluster, proxy: Proxy, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(k8s_transport.Transport.__init__, "__defaults__", ("", "", 2.0))
    proxy.faults.append(Fault("PATCH", HANG))
    start = time.monotonic()
    with pytest.raises(UnansweredError):
        cluster.apply(*[config_map(namespace, "c%d" % number) for number in range(100)])
    assert time.monotonic() - start < 15


def test_permanently_broken_connection_is_reported(cluster: Cluster, proxy: Proxy, namespace: str) -> None:
    proxy.faults.append(Fault("PATCH", DROP))
    with pytest.raises(UnansweredError, match="ended the connection without an answer"):
        cluster.apply(*both(namespace))


@pytest.mark.parametrize("pattern", ["GET .*/configmaps", "PATCH .dry", "PATCH /"])
def test_expired_credentials_are_reported(cluster: Cluster, proxy: Proxy, namespace: str, pattern: str) -> None:
    proxy.faults.append(Fault(pattern, (401, "Unauthorized")))
    with pytest.raises(UnansweredError) as caught:
        cluster.apply(*both(namespace))
    assert caught.value.status == 401


def test_overloaded_api_server_is_asked_again(cluster: Cluster, proxy: Proxy, namespace: str) -> None:
    proxy.faults.append(Fault("PATCH /", (429, "too many requests"), times=2))
    assert len(cluster.apply(*both(namespace)).changes) == 2


def test_kind_that_is_served_late_is_awaited(api: ApiServer, cluster: Cluster, proxy: Proxy, namespace: str) -> None:
    """An established kind may be unknown to one of several API servers for a moment."""
    group = namespace + ".late.test"
    place = "/apis/%s/v1/namespaces/%s/gadgets" % (group, namespace)
    proxy.faults.append(Fault("PATCH " + place, (404, "the server could not find the requested resource"), times=2))
    objects = [kind("gadgets", group, "Gadget"), thing(group + "/v1", "Gadget", namespace, "small", spec={"size": 1})]
    assert len(cluster.apply(*objects).changes) == 2
    assert api.get(place + "/small")["spec"] == {"size": 1}


def test_patient_step_waits_for_the_webhook(api: ApiServer, cluster: Cluster, namespace: str) -> None:
    with webhook(api, namespace, lambda dummy: "") as server:
        server.up = False
        with pytest.raises(RefusedError, match="failed calling webhook"):
            cluster.apply(config_map(namespace, "one"))
        timer = threading.Timer(2, setattr, (server, "up", True))
        timer.start()
        cluster.apply(config_map(namespace, "one"), patient=True)
        timer.join()
        server.up = False
        with pytest.raises(RefusedError, match="failed calling webhook"):
            cluster.run(Plan(steps=[Apply([config_map(namespace, "two")], patient=True)], timeout=1))
        assert api.get(path(namespace, "two")) is None


def test_discovery_without_aggregation(api: ApiServer) -> None:
    """The stub has only the older discovery, group by group."""
    with Api() as stub:
        file = api.folder / "stub.conf"
        file.write_text(json.dumps(api.kubeconfig_of("http://127.0.0.1:%d" % stub.server_port)))
        cluster = Cluster(api, file, here=True)
        assert cluster.apply(config_map("default", "one")).changes == ["create ConfigMap default/one"]
        assert cluster.apply(config_map("default", "one")).changes == []
        assert stub.writes() == ["PATCH /api/v1/namespaces/default/configmaps/one"]
