# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The role `httproute` on a real cluster, with Traefik: what a client outside it gets by host name, path and header."""

from __future__ import annotations

import collections
import json
import re
from pathlib import Path
from typing import Any, Iterator

import pytest

from ansible_collections.homelab.loadbalancer.tests.cluster.cluster_lab import Cluster, changed, recap, web_app
from ansible_collections.homelab.loadbalancer.tests.integration.namespaces import wait_for

HERE, FAR = "httproute-test", "httproute-far"
GATEWAY = {"name": "lab", "namespace": HERE}
KINDS = "gateways.gateway.networking.k8s.io"


def app(name: str, namespace: str, *manifests: dict[str, Any]) -> dict[str, Any]:
    """One pod that answers HTTP with its name, which begins with the application's."""
    made = web_app(namespace, app_name=name, app_replicas=1, app_service_type="ClusterIP")
    return {**made, "app_manifests": [*made["app_manifests"], *manifests]}


IDLE = {
    "apiVersion": "gateway.networking.k8s.io/v1",
    "kind": "Gateway",
    "metadata": {"name": "idle", "namespace": HERE},
    "spec": {"gatewayClassName": "nobody", "listeners": [{"name": "http", "port": 80, "protocol": "HTTP"}]},
}
APPS = [app("web", HERE), app("new", FAR, IDLE)]
NEW = {"service": "new", "namespace": FAR}
# A controller of our own, in a namespace of its own.
CONTROLLER = {
    "role": "gateway",
    "gateway_class": HERE,
    "gateway_namespace": "httproute-gateway",
    "gateway_gateways": [
        {**GATEWAY, "listeners": [{"name": "http", "port": 80, "hostname": "*.k8s.local", "from": "all"}]}
    ],
}


def route(name: str, *rules: dict[str, Any], **parts: Any) -> dict[str, Any]:
    hostnames = [name + ".k8s.local"]
    return {
        "name": name,
        "namespace": HERE,
        "gateways": [GATEWAY],
        "hostnames": hostnames,
        "rules": list(rules),
        **parts,
    }


WEB = route("web", {"backends": ["web"]})
ROUTES = [
    WEB,
    route("header", {"backends": ["web"]}, {"headers": {"X-Canary": "yes"}, "backends": [NEW]}),
    route("split", {"backends": [{"service": "web", "weight": 90}, {**NEW, "weight": 10}]}),
    route("away", {"paths": ["/old"], "redirect": {"scheme": "https", "prefix": "/new", "status": 301}}),
    route("inner", {
        "paths": ["/api"],
        "rewrite": {"prefix": "/", "hostname": "web.internal"},
        "request_headers": {"set": {"X-From": "lab"}, "remove": ["X-Secret"]},
        "response_headers": {"set": {"X-Served-By": "lab"}},
        "backends": ["web"],
    }),
    route("near", {"backends": ["new"]}, namespace=FAR),
]  # fmt: skip


def httproute(routes: list[dict[str, Any]], **variables: Any) -> dict[str, Any]:
    """The role with a declaration of our own, which leaves those of others alone."""
    return {"role": "httproute", "httproute_routes": routes, "httproute_part_of": HERE, **variables}


def run(cluster: Cluster, routes: list[dict[str, Any]], *options: str, rc: int = 0, **variables: Any) -> str:
    """Run the role and return what it printed, in one line."""
    return re.sub(r"\s+", " ", cluster.roles(httproute(routes, **variables), options=options, rc=rc))


def names(cluster: Cluster) -> list[str]:
    """The routes and grants of both namespaces."""
    listed = [cluster.kubectl("get", "httproute,referencegrant", "-n", space, "-o", "name") for space in (HERE, FAR)]
    return sorted(name.split(".")[0] + "/" + name.split("/")[1] for name in "".join(listed).split())


class Client:
    """A host outside the cluster, which knows the Gateway's address."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        path = "jsonpath={.status.addresses[0].value}"
        self.address = wait_for(
            lambda: cluster.kubectl("get", "gateway", "lab", "-n", HERE, "-o", path), "the Gateway has an address"
        )

    def get(self, host: str, path: str = "/hostname", *options: str) -> str:
        """What curl prints; nothing when the answer is no success."""
        url = "http://%s%s" % (self.address, path)
        return self.cluster.client("curl", "-sSf", "--max-time", "5", "-H", "Host: " + host, *options, url, check=False)

    def served(self, host: str, by: str, *options: str) -> str:
        """Wait until pods of an application answer: a controller takes a moment for what it has accepted."""
        return wait_for(
            lambda: said if (said := self.get(host, "/hostname", *options)).startswith(by + "-") else "",
            "%s is served by %s" % (host, by),
        )


@pytest.fixture(scope="module")
def client(balanced: Cluster) -> Iterator[Client]:
    """A client of two applications and a Gateway, which has no routes."""

    def stands(*name: str) -> bool:
        return balanced.kubectl("get", *name, "--ignore-not-found") != ""

    kinds = stands("crd", KINDS)
    try:
        balanced.roles(APPS[0], CONTROLLER, APPS[1])
        yield Client(balanced)
    finally:
        # What the tests made by kubectl is of somebody else to the roles: they would keep it, and its namespace.
        for space in (HERE, FAR):
            balanced.kubectl("delete", "httproute,gateway,referencegrant", "--all", "-n", space)
        balanced.roles(
            {**CONTROLLER, "gateway_state": "absent", "gateway_remove_crds": not kinds},
            *({**entry, "app_state": "absent"} for entry in APPS),
        )
        assert not stands("namespace", HERE) and not stands("namespace", FAR)


@pytest.fixture(scope="module")
def routed(client: Client) -> Client:
    """The client, with all routes."""
    run(client.cluster, ROUTES)
    return client


def test_from_nothing_to_nothing(client: Client, tmp_path: Path) -> None:
    cluster = client.cluster
    predicted = run(cluster, [WEB], "--check", "--diff")
    assert changed(predicted)
    assert "+ kind: HTTPRoute" in predicted
    assert names(cluster) == []

    assert changed(run(cluster, [WEB]))
    client.served("web.k8s.local", "web")
    assert client.get("other.k8s.local") == ""

    # A second run, whose result the role for DNS can use.
    seen = tmp_path / "hostnames.json"
    keep = {
        "ansible.builtin.copy": {"content": "{{ httproute_hostnames | to_json }}", "dest": str(seen), "mode": "0600"},
        "delegate_to": "localhost",
        "changed_when": False,
    }
    role = httproute([WEB])
    listed = {"role": "homelab.loadbalancer.httproute", "vars": {key: role[key] for key in role if key != "role"}}
    done = cluster.play(
        json.dumps([{"hosts": "k8s_api", "gather_facts": False, "roles": [listed], "post_tasks": [keep]}])
    )
    assert set(recap(done.out).values()) == {0}, done.out + done.err
    assert json.loads(seen.read_text()) == {"web.k8s.local": [client.address]}

    assert changed(run(cluster, [WEB], httproute_state="absent"))
    assert names(cluster) == []
    wait_for(lambda: client.get("web.k8s.local") == "", "nothing is served any more")
    assert not changed(run(cluster, [WEB], httproute_state="absent"))


def test_headers_choose_the_service(routed: Client) -> None:
    routed.served("header.k8s.local", "web")
    routed.served("header.k8s.local", "new", "-H", "X-Canary: yes")
    assert routed.get("header.k8s.local", "/hostname", "-H", "X-Canary: no").startswith("web-")


def test_weights_split_requests(routed: Client) -> None:
    routed.served("split.k8s.local", "new")
    said = routed.get("split.k8s.local", "/hostname?n=[1-2000]", "-w", "\n").split()
    counted = collections.Counter(name.split("-")[0] for name in said)
    assert counted.keys() == {"web", "new"} and sum(counted.values()) == 2000
    # A controller that draws lots is 200 off by 70 or more less than once in a million runs: that is 5.2 deviations.
    assert abs(counted["new"] - 200) < 70


def test_a_redirect(routed: Client) -> None:
    def answer() -> str:
        return routed.get("away.k8s.local", "/old/page", "-o", "/dev/null", "-w", "%{http_code} %{redirect_url}")

    wait_for(lambda: answer() == "301 https://away.k8s.local/new/page", "the redirect is served")


def test_a_rewrite_and_headers(routed: Client) -> None:
    wait_for(lambda: routed.get("inner.k8s.local", "/api/hostname").startswith("web-"), "the prefix is taken off")
    assert routed.get("inner.k8s.local", "/hostname") == ""
    assert routed.get("inner.k8s.local", "/api/header?key=X-From") == "lab"
    assert routed.get("inner.k8s.local", "/api/header?key=X-Secret", "-H", "X-Secret: told") == ""
    assert "X-Served-By: lab" in routed.get("inner.k8s.local", "/api/hostname", "-i")


def test_services_and_gateways_of_other_namespaces(routed: Client) -> None:
    """A Service of another namespace was in two tests above; a route may itself be in another one than its Gateway."""
    routed.served("near.k8s.local", "new")
    assert "referencegrant/%s-from-%s" % (HERE, HERE) in names(routed.cluster)


def test_why_a_route_does_not_work(routed: Client) -> None:
    """A Service whose protocol nobody speaks, and a Gateway that nobody serves."""
    protocol = '[{"op": "%s", "path": "/spec/ports/0/appProtocol"%s}]'
    patch = ("patch", "service", "new", "-n", FAR, "--type=json", "-p")
    routed.cluster.kubectl(*patch, protocol % ("add", ', "value": "example.org/gopher"'))
    try:
        wrong = [
            route("gopher", {"backends": [NEW]}),
            route("idle", {"backends": ["web"]}, gateways=["idle"]),
        ]
        said = run(routed.cluster, [*ROUTES, *wrong], rc=2, httproute_timeout=15)
    finally:
        routed.cluster.kubectl(*patch, protocol % ("remove", ""))
    assert "the routes do not work after 15 s." in said
    assert "HTTPRoute httproute-test/gopher at the Gateway httproute-test/lab: ResolvedRefs is False" in said
    assert "example.org/gopher" in said
    assert "at the Gateway httproute-test/idle: no controller has said anything of it" in said
    assert "see that one for the GatewayClass nobody is installed and runs" in said
    routed.served("web.k8s.local", "web")
