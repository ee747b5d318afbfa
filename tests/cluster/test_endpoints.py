# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The roles `endpoints` and `cluster_services` on a real cluster: the hosts that answer for a Service."""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.parse
from pathlib import Path
from typing import Any, Iterator

import pytest

from ansible_collections.homelab.loadbalancer.tests.cluster.cluster_lab import NODE_PORT, Cluster, changed, wait_for

NAMESPACE = "web"
CLIENT = "172.16.0.21"
CLIENT_PORT = 8099
WORKER = ("worker2", "172.16.0.13")
CARRIED = [NAMESPACE, "default"]
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
# Somebody else's Service, without a selector.
BY_HAND = {
    "apiVersion": "v1",
    "kind": "Service",
    "metadata": {"name": "chosen", "namespace": NAMESPACE},
    "spec": {"ports": [{"name": "http", "port": 80}]},
}
CURL = ("curl", "--silent", "--show-error", "--fail", "--connect-timeout", "2", "--max-time", "4")


@pytest.fixture
def outside(cluster: Cluster, tmp_path: Path) -> Iterator[None]:
    """A web server on the client, outside the cluster."""
    (tmp_path / "hostname").write_text("the client")
    server = [sys.executable, "-m", "http.server", str(CLIENT_PORT), "--bind", CLIENT, "--directory", str(tmp_path)]
    running = subprocess.Popen([*cluster.network("client"), *server])
    try:
        yield
    finally:
        running.terminate()
        running.wait()


def address(cluster: Cluster, name: str) -> str:
    return cluster.kubectl("get", "service", name, "-n", NAMESPACE, "-o", "jsonpath={.spec.clusterIP}")


def pod(cluster: Cluster, node: str) -> str:
    """The address of the pod of a node."""
    pods = cluster.objects("pods", "-n", NAMESPACE, "--field-selector", "spec.nodeName=" + node)
    return str(pods[0]["status"]["podIP"])


def dial(cluster: Cluster, node: str, host: str) -> list[str]:
    """The names that answer when the pod of a node connects to an address and asks for the host's name."""
    query = {"host": host, "port": 80, "request": "hostname", "protocol": "http", "tries": 1}
    url = "http://%s:8080/dial?%s" % (pod(cluster, node), urllib.parse.urlencode(query))
    said = json.loads(cluster.inside(node, *CURL[:-1], "20", url, check=False) or "{}")
    return list(said.get("responses") or [])


def made(cluster: Cluster) -> list[str]:
    """The objects that the role has made."""
    label = "homelab.loadbalancer/role=endpoints"
    return cluster.kubectl("get", "services,endpointslices", "-A", "-l", label, "-o", "name").split()


@pytest.mark.usefixtures("outside")
def test_who_answers_behind_a_service(web: Cluster) -> None:
    """The lifecycle of the objects is in tests/api/test_endpoints.py."""
    web.apply(BY_HAND)
    try:
        assert changed(web.roles({"role": "endpoints", "endpoints_services": [OUTSIDE, CHOSEN]}))
        wait_for(lambda: dial(web, "worker1", address(web, "outside")) == ["the client"], "the host outside")
        wait_for(lambda: "web-" in "".join(dial(web, "worker2", address(web, "chosen"))), "the pods by their labels")
        assert changed(web.roles({"role": "endpoints", "endpoints_state": "absent"}))
        assert made(web) == []
        assert address(web, "chosen")  # is not ours
    finally:
        web.kubectl("delete", "service", "chosen", "-n", NAMESPACE)


def carry(cluster: Cluster, **variables: Any) -> str:
    """Run the playbook for the node and return what it printed."""
    chosen: dict[str, Any] = {
        "lb_hosts": WORKER[0],
        "lb_pod_cidr": ["10.244.0.0/16"],
        "cluster_services_namespaces": CARRIED,
    }
    return cluster.playbook("cluster_services", **chosen, **variables)


@pytest.fixture
def carried(web: Cluster) -> Iterator[Cluster]:
    """The cluster, in which one node carries the Services by our rules and has no kube-proxy.

    The lifecycle of the role is in tests/integration/cluster_services.
    """
    name = WORKER[0]
    try:
        assert changed(carry(web))
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
    # Each pod, the asking one included.
    seen = {answer for dummy in range(20) for answer in dial(carried, name, vip)}
    assert len(seen) == 2  # by chance fewer: 2 ** -19
    assert carried.client(*CURL, "http://%s:%d/hostname" % (own, NODE_PORT)).startswith("web-")
    # The API server, as pods know it.
    assert carried.inside(name, *CURL, "--insecure", "https://10.96.0.1/version").strip().startswith("{")
