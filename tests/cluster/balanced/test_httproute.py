# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The role `httproute` on a real cluster, with Traefik: a client outside it is served by host name, path and header."""

from __future__ import annotations

import collections
from typing import Any, Iterator

import pytest

from ansible_collections.homelab.loadbalancer.tests.cluster.balanced.gateways import NAME, VIP, Gateways
from ansible_collections.homelab.loadbalancer.tests.cluster.cluster_lab import (
    PATIENCE,
    Cluster,
    changed,
    flat,
    role_task,
    wait_for,
    web_objects,
)

HERE, FAR = "httproute-test", "httproute-far"
GATEWAY = {"name": "public", "namespace": NAME}


IDLE = {
    "apiVersion": "gateway.networking.k8s.io/v1",
    "kind": "Gateway",
    "metadata": {"name": "idle", "namespace": HERE},
    "spec": {"gatewayClassName": "nobody", "listeners": [{"name": "http", "port": 80, "protocol": "HTTP"}]},
}
NEW = {"service": "new", "namespace": FAR}


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
    """The role with a declaration of its own, which leaves others alone."""
    return {"role": "httproute", "httproute_routes": routes, "httproute_part_of": HERE, **variables}


def names(cluster: Cluster) -> list[str]:
    """The routes and grants of both namespaces."""
    listed = [cluster.kubectl("get", "httproute,referencegrant", "-n", space, "-o", "name") for space in (HERE, FAR)]
    return sorted(name.split(".")[0] + "/" + name.split("/")[1] for name in "".join(listed).split())


@pytest.fixture(scope="module")
def routed(gateways: Gateways) -> Iterator[Gateways]:
    """A client of two applications with all routes. Nothing is served when the routes are absent again."""
    cluster = gateways.cluster
    cluster.apply(*web_objects(HERE, replicas=1), *web_objects(FAR, "new", replicas=1), IDLE)
    for space, name in ((HERE, "web"), (FAR, "new")):
        cluster.kubectl("rollout", "status", "deployment/" + name, "-n", space, PATIENCE)
    try:
        assert changed(cluster.roles(httproute(ROUTES)))
        yield gateways
        assert changed(cluster.roles(httproute(ROUTES, httproute_state="absent")))
        assert names(cluster) == []
        wait_for(lambda: gateways.get("web.k8s.local") == "", "nothing is served any more")
    finally:
        cluster.kubectl("delete", "namespace", HERE, FAR)


def test_declared_host_names_are_served(routed: Gateways) -> None:
    routed.served("web.k8s.local", "web")
    assert routed.get("other.k8s.local") == ""


def test_second_run_changes_nothing_and_returns_host_names(routed: Gateways) -> None:
    """The run itself compares the names, which the role for DNS can use."""
    same = {"that": "httproute_hostnames['web.k8s.local'] == ['%s']" % VIP}
    assert not changed(routed.cluster.tasks(role_task(httproute(ROUTES)), {"ansible.builtin.assert": same}))


def test_headers_choose_the_service(routed: Gateways) -> None:
    routed.served("header.k8s.local", "web")
    routed.served("header.k8s.local", "new", "-H", "X-Canary: yes")
    assert routed.get("header.k8s.local", "/hostname", "-H", "X-Canary: no").startswith("web-")


def test_weights_split_requests(routed: Gateways) -> None:
    routed.served("split.k8s.local", "new")
    said = routed.get("split.k8s.local", "/hostname?n=[1-2000]", "-w", "\n").split()
    counted = collections.Counter(name.split("-")[0] for name in said)
    assert counted.keys() == {"web", "new"} and sum(counted.values()) == 2000
    # A controller that draws lots is 200 off by 70 or more less than once in a million runs: that is 5.2 deviations.
    assert abs(counted["new"] - 200) < 70


def test_a_redirect(routed: Gateways) -> None:
    def answer() -> str:
        return routed.get("away.k8s.local", "/old/page", "-o", "/dev/null", "-w", "%{http_code} %{redirect_url}")

    wait_for(lambda: answer() == "301 https://away.k8s.local/new/page", "the redirect is served")


def test_a_rewrite_and_headers(routed: Gateways) -> None:
    wait_for(lambda: routed.get("inner.k8s.local", "/api/hostname").startswith("web-"), "the prefix is taken off")
    assert routed.get("inner.k8s.local", "/hostname") == ""
    assert routed.get("inner.k8s.local", "/api/header?key=X-From") == "lab"
    assert routed.get("inner.k8s.local", "/api/header?key=X-Secret", "-H", "X-Secret: told") == ""
    assert "X-Served-By: lab" in routed.get("inner.k8s.local", "/api/hostname", "-i")


def test_services_and_gateways_of_other_namespaces(routed: Gateways) -> None:
    """A Service of another namespace was in two tests above; a route may itself be in another one than its Gateway."""
    routed.served("near.k8s.local", "new")
    assert "referencegrant/%s-from-%s" % (HERE, HERE) in names(routed.cluster)


def test_why_a_route_does_not_work(routed: Gateways) -> None:
    """A Service of an unknown protocol, and a Gateway without a controller."""
    protocol = '[{"op": "%s", "path": "/spec/ports/0/appProtocol"%s}]'
    patch = ("patch", "service", "new", "-n", FAR, "--type=json", "-p")
    routed.cluster.kubectl(*patch, protocol % ("add", ', "value": "example.org/gopher"'))
    try:
        wrong = [
            route("gopher", {"backends": [NEW]}),
            route("idle", {"backends": ["web"]}, gateways=["idle"]),
        ]
        said = flat(routed.cluster.roles(httproute([*ROUTES, *wrong], httproute_timeout=15), rc=2))
    finally:
        routed.cluster.kubectl(*patch, protocol % ("remove", ""))
    assert "the routes do not work after 15 s." in said
    assert "HTTPRoute httproute-test/gopher at the Gateway gateway-test/public: ResolvedRefs is False" in said
    assert "example.org/gopher" in said
    assert "at the Gateway httproute-test/idle: no controller has said anything of it" in said
    assert "see that one for the GatewayClass nobody is installed and runs" in said
    routed.served("web.k8s.local", "web")
