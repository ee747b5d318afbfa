# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A cluster as the report of an inspection shows it."""

from __future__ import annotations

from typing import Any

from ansible_collections.homelab.loadbalancer.plugins.plugin_utils._inspect.cluster import inspect_cluster


def thing(name: str, namespace: str = "shop", **more: Any) -> dict[str, Any]:
    labels = more.pop("labels", {})
    return {"metadata": {"name": name, "namespace": namespace, "labels": labels}, **more}


NODE = thing(
    "worker1",
    labels={"node-role.kubernetes.io/worker": ""},
    status={
        "addresses": [{"type": "InternalIP", "address": "172.16.0.12"}, {"type": "Hostname", "address": "worker1"}],
        "conditions": [{"type": "Ready", "status": "True"}],
        "nodeInfo": {"kubeletVersion": "v1.33.13"},
    },
)
POD = thing(
    "web-1",
    spec={"nodeName": "worker1", "containers": [{"name": "web"}, {"name": "log"}]},
    status={
        "phase": "Running",
        "podIP": "10.244.1.5",
        "containerStatuses": [{"ready": True, "restartCount": 2}, {"ready": False, "restartCount": 1}],
    },
)
SERVICE = thing(
    "web",
    spec={
        "type": "LoadBalancer",
        "clusterIPs": ["10.96.0.9"],
        "ports": [{"port": 80}, {"port": 53, "protocol": "UDP"}],
    },
    status={"loadBalancer": {"ingress": [{"ip": "172.16.0.100"}]}},
)
SLICE = thing(
    "web-x",
    labels={"kubernetes.io/service-name": "web"},
    ports=[{"port": 8080}],
    endpoints=[
        {"addresses": ["10.244.1.5"]},
        {"addresses": ["fd00::5"], "conditions": {"ready": True}},
        {"addresses": ["10.244.1.6"], "conditions": {"ready": False}},
    ],
)
OTHERS = thing("web-y", "prod", labels={"kubernetes.io/service-name": "web"}, ports=[{"port": 1}], endpoints=[])


def test_cluster_is_summarized() -> None:
    seen = inspect_cluster(
        {
            "Node": [NODE],
            "Pod": [POD],
            "Service": [SERVICE],
            "EndpointSlice": [SLICE, OTHERS],
            "IPAddressPool": [thing("public", spec={"addresses": ["172.16.0.100-172.16.0.149"]})],
            "ServiceL2Status": [
                thing("l2", status={"node": "worker1", "serviceNamespace": "shop", "serviceName": "web"})
            ],
        }
    )
    assert seen["nodes"] == [
        {"name": "worker1", "ready": True, "addresses": ["172.16.0.12"], "version": "v1.33.13", "roles": ["worker"]}
    ]
    [pod] = seen["pods"]
    assert (pod["ready"], pod["restarts"], pod["node"], pod["ip"]) == ("1/2", 3, "worker1", "10.244.1.5")
    [service] = seen["services"]
    assert service["external_ips"] == ["172.16.0.100"]
    assert service["ports"] == ["80/TCP", "53/UDP"]
    assert service["endpoints"] == ["10.244.1.5:8080", "[fd00::5]:8080"]
    assert seen["metallb"] == {
        "pools": [{"name": "public", "addresses": ["172.16.0.100-172.16.0.149"]}],
        "leaders": [{"service": "shop/web", "address": "172.16.0.100", "node": "worker1"}],
    }
    assert seen["notes"] == []


def test_events_come_in_order_of_time() -> None:
    times = {"new": {"eventTime": "2026-11-22T07:00:01.5Z"}, "old": {"lastTimestamp": "2026-11-22T07:00:00Z"}}
    events = [
        thing(name, involvedObject={"kind": "Pod", "namespace": "shop", "name": "web-1"}, message=name, **when)
        for name, when in times.items()
    ]
    said = inspect_cluster({"Event": events})["events"]
    assert [event["message"] for event in said] == ["old", "new"]
    assert said[0]["object"] == "Pod shop/web-1"


def test_empty_cluster_is_shown() -> None:
    seen = inspect_cluster({"Pod": [thing("new", spec={})], "Service": [thing("none", spec={})]})
    assert seen["metallb"] == {"pools": [], "leaders": []}
    assert seen["pods"][0]["ready"] == "0/0"
    assert seen["notes"]
