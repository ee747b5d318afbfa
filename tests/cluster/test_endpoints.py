# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The roles `endpoints` and `cluster_services` on a real cluster: who answers behind a Service, and through whom."""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.parse
from pathlib import Path
from typing import Any, Iterator

import pytest

from ansible_collections.homelab.loadbalancer.tests.cluster.cluster_lab import Cluster, changed, web_app
from ansible_collections.homelab.loadbalancer.tests.integration.namespaces import wait_for

NAMESPACE = "endpoints-test"
CLIENT = "172.16.0.21"
CLIENT_PORT = 8099
NODE_PORT = 30830
WORKER = ("worker2", "172.16.0.13")
CARRIED = [NAMESPACE, "default"]
WEB = web_app(
    NAMESPACE,
    app_service_type="NodePort",
    app_ports=[{"port": 80, "target_port": 8080, "node_port": NODE_PORT}],
)
OUTSIDE: dict[str, Any] = {
    "name": "outside",
    "namespace": NAMESPACE,
    "addresses": [CLIENT],
    "ports": [{"port": 80, "target_port": CLIENT_PORT}],
    "manage_service": True,
}
CHOSEN: dict[str, Any] = {
    "name": "chosen",
    "namespace": NAMESPACE,
    "selector": {"app.kubernetes.io/name": "web"},
    "ports": [{"name": "http", "port": 80, "target_port": 8080}],
}
# Made by somebody else, without a selector.
BY_HAND = {
    "apiVersion": "v1",
    "kind": "Service",
    "metadata": {"name": "chosen", "namespace": NAMESPACE},
    "spec": {"ports": [{"name": "http", "port": 80}]},
}
CURL = ("curl", "--silent", "--show-error", "--fail", "--connect-timeout", "2", "--max-time", "4")


@pytest.fixture(scope="module")
def web(cluster: Cluster) -> Iterator[Cluster]:
    """The cluster, in which an application runs."""
    try:
        cluster.roles(WEB)
        yield cluster
    finally:
        # With an object of somebody else the namespace would stay.
        cluster.kubectl("delete", "service", "chosen", "-n", NAMESPACE, "--ignore-not-found")
        cluster.roles({"role": "endpoints", "endpoints_state": "absent"}, {**WEB, "app_state": "absent"})


@pytest.fixture
def outside(tmp_path: Path) -> Iterator[None]:
    """A web server on the client, outside the cluster."""
    (tmp_path / "hostname").write_text("the client")
    server = [sys.executable, "-m", "http.server", str(CLIENT_PORT), "--bind", CLIENT, "--directory", str(tmp_path)]
    running = subprocess.Popen(["ip", "netns", "exec", "cluster-client", *server])
    try:
        yield
    finally:
        running.terminate()
        running.wait()


def endpoints(cluster: Cluster, *services: dict[str, Any]) -> str:
    """Run the role and return what it printed."""
    return cluster.roles({"role": "endpoints", "endpoints_services": services})


def address(cluster: Cluster, name: str) -> str:
    return cluster.kubectl("get", "service", name, "-n", NAMESPACE, "-o", "jsonpath={.spec.clusterIP}")


def pod(cluster: Cluster, node: str) -> str:
    """The address of the pod of a node."""
    pods = cluster.objects("pods", "-n", NAMESPACE, "--field-selector", "spec.nodeName=" + node)
    return str(pods[0]["status"]["podIP"])


def dial(cluster: Cluster, node: str, host: str) -> list[str]:
    """Who answers, when the pod of a node connects to an address, and asks for a name."""
    query = {"host": host, "port": 80, "request": "hostname", "protocol": "http", "tries": 1}
    url = "http://%s:8080/dial?%s" % (pod(cluster, node), urllib.parse.urlencode(query))
    said = json.loads(cluster.inside(node, *CURL[:-1], "20", url, check=False) or "{}")
    return list(said.get("responses") or [])


def made(cluster: Cluster) -> list[str]:
    """What the role has made."""
    label = "homelab.loadbalancer/role=endpoints"
    return cluster.kubectl("get", "services,endpointslices", "-A", "-l", label, "-o", "name").split()


@pytest.mark.usefixtures("outside")
def test_who_stands_behind_a_service(web: Cluster) -> None:
    web.kubectl("apply", "-f", "-", stdin=json.dumps(BY_HAND))
    assert changed(endpoints(web, OUTSIDE, CHOSEN))
    wait_for(lambda: dial(web, "worker1", address(web, "outside")) == ["the client"], "the host outside")
    wait_for(lambda: "web-" in "".join(dial(web, "worker2", address(web, "chosen"))), "the pods by their labels")
    assert changed(endpoints(web, CHOSEN))
    assert made(web) == ["endpointslice.discovery.k8s.io/chosen-ipv4-1"]
    assert changed(web.roles({"role": "endpoints", "endpoints_state": "absent"}))
    assert made(web) == []
    assert address(web, "chosen")  # is not ours


def carry(cluster: Cluster, **variables: Any) -> str:
    """Run the playbook for the node and return what it printed."""
    chosen = {"lb_hosts": WORKER[0], "lb_pod_cidr": ["10.244.0.0/16"], "cluster_services_namespaces": CARRIED}
    return cluster.playbook("cluster_services", **chosen, **variables)


@pytest.fixture
def carried(web: Cluster) -> Iterator[Cluster]:
    """The cluster, of which a node carries the Services by our rules, and kube-proxy has gone from there."""
    name = WORKER[0]
    try:
        assert changed(carry(web))
        assert not changed(carry(web))
        try:
            web.node(name, "systemctl", "stop", "kube-proxy")
            web.node(name, "/opt/lab/cluster/bin/kube-proxy", "--cleanup")
            yield web
        finally:
            web.node(name, "systemctl", "start", "kube-proxy")
            wait_for(lambda: "KUBE-SVC-" in web.node(name, "iptables-save", "-t", "nat"), "kube-proxy")
    finally:
        carry(web, cluster_services_state="absent")
    assert "LBC-" not in web.node(name, "iptables-save")


def test_a_node_without_kube_proxy_carries_the_services(carried: Cluster) -> None:
    name, own = WORKER
    rules = carried.node(name, "iptables-save", "-t", "nat")
    assert "KUBE-SVC-" not in rules
    assert "LBC-SVC-" in rules
    vip = address(carried, "web")
    assert carried.inside(name, *CURL, "http://%s/hostname" % vip).startswith("web-")
    # Each pod, that which asks included.
    seen = {answer for dummy in range(20) for answer in dial(carried, name, vip)}
    assert len(seen) == WEB["app_replicas"]  # by chance fewer: 2 ** -19
    assert carried.client(*CURL, "http://%s:%d/hostname" % (own, NODE_PORT)).startswith("web-")
    # The API server, as pods know it.
    assert carried.inside(name, *CURL, "--insecure", "https://10.96.0.1/version").strip().startswith("{")
