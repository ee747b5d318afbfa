# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module and role `coredns_zone` on a real API server, with Deployments and addresses that the tests play."""

from __future__ import annotations

import contextlib
from typing import Any, Iterator

import pytest

from ansible_collections.homelab.loadbalancer.tests.api.api_server import ApiServer, Refused, writes
from ansible_collections.homelab.loadbalancer.tests.api.in_process import Cluster, repeated
from ansible_collections.homelab.loadbalancer.tests.api.plays import must_fail, role, shown
from ansible_collections.homelab.loadbalancer.tests.integration.lab import changes

SPACE = "kube-system"
CORE, APPS = "/api/v1/namespaces/" + SPACE, "/apis/apps/v1/namespaces/" + SPACE
COREFILE = ".:53 {\n    errors\n    kubernetes cluster.local in-addr.arpa ip6.arpa {\n    }\n    reload\n}\n"
LABELS = {"k8s-app": "kube-dns"}
MERGE = "application/merge-patch+json"
VIP, NODE = "192.0.2.53", "192.0.2.11"
RECORDS = [{"name": "web", "addresses": ["192.0.2.80"]}]
OURS = ("coredns-zone", "coredns-zone-trial")


class Lab:
    """The module, on a cluster with a CoreDNS as kubeadm installs it.

    broken -- Deployments whose pods never become ready
    """

    def __init__(self, api: ApiServer) -> None:
        self.api = api
        self.broken: set[str] = set()

    def __call__(self, *calls: dict[str, Any]) -> list[dict[str, Any]]:
        """The result of each call of the module, in this process. `check` runs a call in check mode."""
        options = {"records": RECORDS, "from_routes": False, "timeout": 20}
        return Cluster(self.api).action("coredns_zone", *calls, **options)

    def names(self) -> list[str]:
        """All objects of the role."""
        listed = self.api.kubectl("get", "configmap,deployment,service", "-n", SPACE, "-o", "name").out.split()
        return sorted(name for name in listed if name.split("/")[1] in OURS)

    def corefile(self) -> str:
        return str(self.api.get(CORE + "/configmaps/coredns")["data"]["Corefile"])

    def make_dns(self) -> None:
        container = {"name": "coredns", "image": "registry.k8s.io/coredns/coredns:v1.12.2"}
        volumes = [{"name": "config", "configMap": {"name": "coredns"}}]
        template = {"metadata": {"labels": LABELS}, "spec": {"containers": [container], "volumes": volumes}}
        spec = {"replicas": 2, "selector": {"matchLabels": LABELS}, "template": template}
        data = {"Corefile": COREFILE}
        self.api.ask("POST", CORE + "/configmaps", {"metadata": {"name": "coredns"}, "data": data})
        self.api.ask("POST", APPS + "/deployments", {"metadata": {"name": "coredns"}, "spec": spec})
        self.api.ask("POST", "/api/v1/nodes", {"metadata": {"name": "node1"}})
        addresses = [{"type": "InternalIP", "address": NODE}]
        self.api.ask("PATCH", "/api/v1/nodes/node1/status", {"status": {"addresses": addresses}}, MERGE)

    def remove_all(self) -> None:
        paths = [CORE + "/configmaps/coredns", APPS + "/deployments/coredns", "/api/v1/nodes/node1"]
        paths += [CORE + "/services/coredns-zone"]
        paths += ["%s/%s" % (kind, name) for kind in (CORE + "/configmaps", APPS + "/deployments") for name in OURS]
        for path in paths:
            with contextlib.suppress(Refused):
                self.api.ask("DELETE", path)

    def act(self) -> None:
        """Act as the controllers of Deployments and of load balancers."""
        for one in self.api.get(APPS + "/deployments")["items"]:
            name, wanted = one["metadata"]["name"], one["spec"]["replicas"]
            keys = ("replicas", "updatedReplicas", "readyReplicas", "availableReplicas")
            status = {**dict.fromkeys(keys, wanted), "observedGeneration": one["metadata"]["generation"]}
            if name not in self.broken and not status.items() <= (one.get("status") or {}).items():
                self.set_status("%s/deployments/%s" % (APPS, name), status)
        service = self.api.get(CORE + "/services/coredns-zone")
        if service and service["spec"]["type"] == "LoadBalancer" and not service["status"]["loadBalancer"]:
            self.set_status(CORE + "/services/coredns-zone", {"loadBalancer": {"ingress": [{"ip": VIP}]}})

    def set_status(self, path: str, status: dict[str, Any]) -> None:
        with contextlib.suppress(Refused):  # it was deleted in the meantime
            self.api.ask("PATCH", path + "/status", {"status": status}, MERGE)


@pytest.fixture
def lab(api: ApiServer, controllers: None) -> Iterator[Lab]:
    made = Lab(api)
    try:
        made.make_dns()
        with repeated(made.act):
            yield made
    finally:
        made.remove_all()


def objects(verb: str, *names: str) -> list[str]:
    return ["%s %s" % (verb, name.replace(" ", " %s/" % SPACE)) for name in names]


OWN = ("ConfigMap coredns-zone", "Deployment coredns-zone", "Service coredns-zone")


def test_lifecycle_in_the_coredns_of_the_cluster(lab: Lab) -> None:
    with lab.api.record() as asked:
        (predicted,) = lab({"check": True})
    assert writes(asked) == []
    made, again, more, gone, nothing = lab(
        {},
        {},
        {"records": [*RECORDS, {"name": "db", "addresses": ["192.0.2.81"]}]},
        {"state": "absent"},
        {"state": "absent"},
    )
    dns = objects("update", "ConfigMap coredns", "Deployment coredns")
    assert made["changes"] == predicted["changes"] == [*objects("create", "Service coredns-zone"), *dns]
    assert made["diff"] == predicted["diff"]
    assert made["servers"] == predicted["servers"] == [{"address": NODE, "port": 30053}]
    assert (again["changed"], again["changes"], again["diff"]) == (False, [], [])
    assert more["changes"] == dns
    assert gone["changes"] == [*dns, *objects("delete", "Service coredns-zone")]
    assert (nothing["changed"], nothing["servers"]) == (False, [])
    # The trial is removed, too.
    assert (lab.names(), lab.corefile()) == ([], COREFILE)


@pytest.mark.parametrize("mode", ["cluster", "deployment"])
def test_unchanged_zone_costs_reads_only(lab: Lab, mode: str) -> None:
    lab({"mode": mode})
    with lab.api.record() as asked:
        (again,) = lab({"mode": mode})
    assert not again["changed"]
    assert [one for one in asked if one.agent == "homelab.loadbalancer" and one.verb not in ("get", "list")] == []


def test_zone_moves_to_its_own_deployment_and_back(lab: Lab) -> None:
    own = {"mode": "deployment", "load_balancer": True}
    first, made, again, back = lab({}, own, own, {"load_balancer": True})
    assert first["changed"] and not again["changed"]
    dns = objects("update", "ConfigMap coredns", "Deployment coredns")
    created = objects("create", *OWN[:2])
    assert made["changes"] == [*created, *objects("update", OWN[2]), *dns]
    assert made["servers"] == [{"address": VIP, "port": 53}, {"address": NODE, "port": 30053}]
    assert sorted(back["changes"]) == sorted([*dns, *objects("update", OWN[2]), *objects("delete", *OWN[:2])])
    assert lab.names() == ["service/coredns-zone"] and "BEGIN homelab.loadbalancer" in lab.corefile()


@pytest.mark.parametrize("mode", ["cluster", "deployment"])
def test_refused_corefile_changes_nothing(lab: Lab, mode: str) -> None:
    lab.broken.add("coredns-zone-trial")
    with lab.api.record() as asked:
        (refused,) = lab({"mode": mode, "trial_timeout": 1})
    assert refused["failed"] and refused["changes"] == []
    assert refused["msg"].startswith("CoreDNS does not start with the new Corefile, so nothing was changed.")
    assert "Deployment kube-system/coredns-zone-trial: " in refused["msg"]
    assert all("coredns-zone-trial" in one.path for one in writes(asked))
    assert (lab.names(), lab.corefile()) == ([], COREFILE)


def test_taken_ports_and_foreign_objects_are_refused(lab: Lab, namespace: str) -> None:
    taken = {"metadata": {"name": "taken"}, "spec": {"type": "NodePort", "ports": [{"port": 80, "nodePort": 30054}]}}
    lab.api.ask("POST", "/api/v1/namespaces/%s/services" % namespace, taken)
    foreign = {"metadata": {"name": "coredns-zone"}, "data": {"Corefile": ""}}
    try:
        with lab.api.record() as asked:
            port, outside, name = lab(
                {"node_port": 30054},
                {"node_port": 80},
                {"records": [{"name": "web.example.org", "addresses": [VIP]}]},
            )
            lab.api.ask("POST", CORE + "/configmaps", foreign)
            (owned,) = lab({})
    finally:
        lab.api.ask("DELETE", "/api/v1/namespaces/%s/services/taken" % namespace)
    # The API server checks the range of a node port in a write, and not in a dry run.
    done = [one for one in writes(asked) if one.status < 300 and not one.path.endswith("-trial")]
    assert done == [] and outside["changes"] == []
    assert port["msg"].startswith("node_port 30054 is already that of Service %s/taken" % namespace)
    assert outside["msg"].startswith("Service kube-system/coredns-zone: ") and "valid range" in outside["msg"]
    assert name["msg"].startswith("records[0].name web.example.org is outside the zone k8s.local")
    assert owned["msg"].startswith("ConfigMap kube-system/coredns-zone is not of this role")


def test_remains_of_a_killed_trial_are_removed(lab: Lab) -> None:
    lab({})
    labels = {"app.kubernetes.io/managed-by": "homelab.loadbalancer"}
    lab.api.ask("POST", CORE + "/configmaps", {"metadata": {"name": "coredns-zone-trial", "labels": labels}})
    (again,) = lab({})
    assert again["changes"] == objects("delete", "ConfigMap coredns-zone-trial")
    assert lab.names() == ["service/coredns-zone"]


def test_role_serves_the_zone_and_tells_the_servers(lab: Lab) -> None:
    place = {"name": "homelab.loadbalancer.coredns_zone"}
    serve = {"ansible.builtin.import_role": place}
    ask = {"ansible.builtin.import_role": {**place, "tasks_from": "servers"}}
    expected = [{"address": NODE, "port": 30053}]
    check = {"ansible.builtin.assert": {"that": "coredns_zone_servers == %s" % expected}, "tags": ["configure"]}
    variables = {"coredns_zone_records": RECORDS, "coredns_zone_timeout": 20}
    hiding = must_fail(role("coredns_zone", coredns_zone_name="cluster.local"))
    with lab.api.record() as asked:
        said = lab.api.play([ask, check, hiding], "--diff", **variables).out
    assert changes(said) == 0 and "Corefile" not in said and writes(asked) == []
    (why,) = shown(said)
    assert why.startswith("coredns_zone_name cluster.local would hide names of the zone cluster.local")
    twice = [serve, check, serve, check]
    assert changes(lab.api.play(twice, "--tags", "configure", **variables).out) == 1
