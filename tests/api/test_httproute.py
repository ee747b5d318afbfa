# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module and role `httproute` on a real API server, with a controller that the tests play."""

from __future__ import annotations

import base64
import contextlib
import json
import re
from pathlib import Path
from typing import Any, Iterator

import pytest

from ansible_collections.homelab.loadbalancer.tests.api.api_server import ApiServer, writes
from ansible_collections.homelab.loadbalancer.tests.api.in_process import Cluster, repeated
from ansible_collections.homelab.loadbalancer.tests.api.plays import must_fail, play_of, role, shown
from ansible_collections.homelab.loadbalancer.tests.integration.lab import changes
from ansible_collections.homelab.loadbalancer.tests.unit.gateway.certificates import pair

API = "/apis/gateway.networking.k8s.io/v1"
VIP = "192.0.2.80"
HTTP = {"name": "http", "port": 80, "protocol": "HTTP", "allowedRoutes": {"namespaces": {"from": "All"}}}
MERGE = "application/merge-patch+json"


class Lab:
    """The module, with a Gateway and a Service in a namespace of the test's own."""

    def __init__(self, api: ApiServer, namespace: str) -> None:
        self.api, self.namespace = api, namespace

    def __call__(self, *calls: dict[str, Any], kubeconfig: Path | None = None) -> list[dict[str, Any]]:
        """The result of each call of the module, in this process. `check` runs a call in check mode."""
        options = {"part_of": self.namespace, "timeout": 20}
        return Cluster(self.api, kubeconfig).action("httproute", *calls, **options)

    def route(self, name: str, *backends: Any, **parts: Any) -> dict[str, Any]:
        return {
            "name": name,
            "namespace": self.namespace,
            "gateways": ["main"],
            "hostnames": [name + ".k8s.local"],
            "rules": [{"backends": list(backends) or ["web"]}],
            **parts,
        }

    def names(self) -> list[str]:
        listed = self.api.kubectl("get", "httproute,referencegrant", "-n", self.namespace, "-o", "name").out.split()
        return sorted(re.sub(r"[.].*/", "/", name) for name in listed)

    def make_gateway(self, *listeners: dict[str, Any]) -> None:
        meta = {"name": "main", "namespace": self.namespace}
        path = "%s/namespaces/%s/gateways/main" % (API, self.namespace)
        body = {"apiVersion": "gateway.networking.k8s.io/v1", "kind": "Gateway", "metadata": meta}
        self.api.apply(path, {**body, "spec": {"gatewayClassName": "test", "listeners": list(listeners)}})
        status = {"addresses": [{"type": "IPAddress", "value": VIP}], "conditions": [condition("Accepted")]}
        self.api.ask("PATCH", path + "/status", {"status": status}, MERGE)

    def make_service(self, name: str, namespace: str = "") -> None:
        path = "/api/v1/namespaces/%s/services" % (namespace or self.namespace)
        self.api.ask("POST", path, {"metadata": {"name": name}, "spec": {"ports": [{"port": 80}]}})

    @contextlib.contextmanager
    def controller(self) -> Iterator[None]:
        """Accepts all routes of the namespace, a moment after they were applied."""
        path = "%s/namespaces/%s/httproutes" % (API, self.namespace)

        def accept() -> None:
            for one in self.api.get(path)["items"]:
                works = [
                    {**condition(kind), "observedGeneration": one["metadata"]["generation"]} for kind in CONDITIONS
                ]
                parents = [
                    {"parentRef": ref, "controllerName": "example.org/test", "conditions": works}
                    for ref in one["spec"]["parentRefs"]
                ]
                if (one.get("status") or {}).get("parents") != parents:
                    with contextlib.suppress(Exception):  # it was deleted in the meantime
                        place = "%s/%s/status" % (path, one["metadata"]["name"])
                        self.api.ask("PATCH", place, {"status": {"parents": parents}}, MERGE)

        with repeated(accept):
            yield


CONDITIONS = ("Accepted", "ResolvedRefs")


def condition(kind: str) -> dict[str, Any]:
    return {
        "type": kind, "status": "True", "reason": kind, "message": "", "lastTransitionTime": "2026-01-01T00:00:00Z",
    }  # fmt: skip


@pytest.fixture
def lab(api: ApiServer, namespace: str) -> Lab:
    made = Lab(api, namespace)
    made.make_gateway(HTTP)
    made.make_service("web")
    return made


def test_lifecycle(lab: Lab) -> None:
    far = lab.api.new_namespace("far")
    lab.make_service("far", far)
    web, new = lab.route("web"), lab.route("new", {"service": "far", "namespace": far})
    with lab.api.record() as asked:
        (predicted,) = lab({"routes": [web, new], "check": True})
    assert writes(asked) == []
    with lab.controller():
        made, again, less, gone_check, gone, nothing = lab(
            {"routes": [web, new]},
            {"routes": [web, new]},
            {"routes": [{**web, "hostnames": ["www.k8s.local"]}]},
            {"state": "absent", "check": True},
            {"state": "absent"},
            {"state": "absent"},
        )
    grant = "ReferenceGrant %s/%s-from-%s" % (far, lab.namespace, lab.namespace)
    inside = "HTTPRoute %s/" % lab.namespace
    assert (
        made["changes"] == predicted["changes"] == ["create " + one for one in (grant, inside + "web", inside + "new")]
    )
    assert made["diff"] == predicted["diff"]
    assert made["hostnames"] == {"new.k8s.local": [VIP], "web.k8s.local": [VIP]}
    assert (again["changed"], again["changes"], again["diff"]) == (False, [], [])
    assert less["changes"][0] == "update %sweb" % inside
    assert set(less["changes"][1:]) == {"delete " + grant, "delete %snew" % inside}
    assert (less["diff"][0]["before"]["spec"], less["diff"][0]["after"]["spec"]) == (
        {"hostnames": ["web.k8s.local"]},
        {"hostnames": ["www.k8s.local"]},
    )
    assert gone["changes"] == gone_check["changes"] == ["delete %sweb" % inside]
    assert (nothing["changed"], nothing["hostnames"]) == (False, {})
    assert lab.names() == []


def test_unchanged_declaration_costs_reads_only(lab: Lab) -> None:
    rules = [
        {"backends": ["web"], "headers": {"X-Canary": "yes"}, "request_headers": {"set": {"A": "b"}}},
        {"paths": ["/a"], "methods": ["GET"], "redirect": {"hostname": "other.example", "prefix": "/"}},
        {"paths": ["/b"], "rewrite": {"path": "/c"}, "backends": [{"service": "web", "weight": 2}], "timeout": 5},
    ]
    routes = {"routes": [lab.route("web", rules=rules), lab.route("plain")]}
    with lab.controller():
        lab(routes)
        with lab.api.record() as asked:
            (again,) = lab(routes)
    assert not again["changed"]
    assert [one for one in asked if one.verb not in ("get", "list")] == []


def test_foreign_routes_are_kept(lab: Lab) -> None:
    path = "%s/namespaces/%s/httproutes/by-hand" % (API, lab.namespace)
    spec = {"parentRefs": [{"name": "main"}], "hostnames": ["by-hand.k8s.local"]}
    body = {"apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute", "metadata": {"name": "by-hand"}}
    lab.api.apply(path, {**body, "spec": spec})
    with lab.controller():
        kept, none, taken, removed = lab(
            {"routes": [lab.route("old")]},
            {"routes": [lab.route("web")], "remove_undeclared": False},
            {"routes": [lab.route("web"), lab.route("by-hand")]},
            {"routes": []},
        )
    assert kept["changed"] and none["changes"] == ["create HTTPRoute %s/web" % lab.namespace]
    assert "routes[1] is the HTTPRoute %s/by-hand, which is there and is not of this" % lab.namespace in taken["msg"]
    assert removed["changed"] and lab.names() == ["httproute/by-hand"]


def test_missing_gateways_and_services_are_refused_and_noted_in_check_mode(lab: Lab) -> None:
    wrong = [
        lab.route("lost", "wep", {"service": "web", "port": 81}),
        lab.route("none", gateways=["lob"]),
        lab.route("listener", gateways=[{"name": "main", "listener": "https"}]),
    ]
    with lab.api.record() as asked:
        refused, noted, bad, undefined = lab(
            {"routes": wrong},
            {"routes": wrong, "check": True},
            {"routes": [lab.route("web", hostnames=["web_1.k8s.local"])], "check": True},
            {},
        )
    assert writes(asked) == []
    full = "%s/" % lab.namespace
    for text in (
        "routes[0].rules[0].backends[0] is the Service %swep, which is not there" % full,
        "routes[0].rules[0].backends[1].port 81 is not one of the Service %sweb, which has 80" % full,
        "routes[1].gateways[0] is the Gateway %slob, which is not there" % full,
        "routes[2].gateways[0].listener https is not there: the Gateway %smain has http" % full,
    ):
        assert text in refused["msg"] and any(note.startswith(text) for note in noted["notes"])
    assert len(noted["changes"]) == 3
    assert bad["msg"].startswith("routes[0].hostnames[0] web_1.k8s.local is not a host name")
    assert undefined["msg"].startswith("routes is undefined or null: declare the routes")


def test_refused_route_leaves_all_others_unapplied(lab: Lab) -> None:
    # Only the API server knows that sixteen rules are allowed.
    many = lab.route("many", rules=[{"paths": ["/%d" % at], "backends": ["web"]} for at in range(17)])
    with lab.api.record() as asked:
        (refused,) = lab({"routes": [lab.route("web"), many]})
    assert writes(asked) == [] and lab.names() == []
    assert "nothing was changed, because the cluster refuses" in refused["msg"]
    assert "HTTPRoute %s/many: " % lab.namespace in refused["msg"]


def test_routes_without_a_controller_fail_before_removals(lab: Lab) -> None:
    with lab.controller():
        lab({"routes": [lab.route("old")]})
    (failed,) = lab({"routes": [lab.route("web")], "timeout": 1})
    assert failed["failed"] and failed["changes"] == ["create HTTPRoute %s/web" % lab.namespace]
    assert "the routes do not work after 1 s." in failed["msg"]
    assert f"HTTPRoute {lab.namespace}/web at the Gateway {lab.namespace}/main: no controller has said" in failed["msg"]
    assert lab.names() == ["httproute/old", "httproute/web"]


def test_host_names_without_a_certificate_are_noted(lab: Lab, tmp_path: Path) -> None:
    certificate, key = pair("web.k8s.local")
    data = {
        name: base64.b64encode(text.encode()).decode() for name, text in (("tls.crt", certificate), ("tls.key", key))
    }
    secret = {"metadata": {"name": "tls"}, "type": "kubernetes.io/tls", "data": data}
    lab.api.ask("POST", "/api/v1/namespaces/%s/secrets" % lab.namespace, secret)
    lab.make_gateway({**HTTP, "name": "https", "protocol": "HTTPS", "tls": {"certificateRefs": [{"name": "tls"}]}})
    routes = [lab.route("web"), lab.route("other")]
    (noted,) = lab({"routes": routes, "check": True})
    (note,) = noted["notes"]
    assert note.startswith("routes[1].hostnames[0] other.k8s.local is taken by the listener https of the Gateway main")
    # Routes work without the right to read Secrets.
    (blind,) = lab({"routes": routes, "check": True}, kubeconfig=without_secrets(lab, tmp_path))
    assert blind["notes"] == [
        "it was not checked whether the certificates of HTTPS listeners are for the host names: Secrets of the "
        "namespace %s may not be read" % lab.namespace
    ]
    assert len(blind["changes"]) == 2


def without_secrets(lab: Lab, folder: Path) -> Path:
    """A kubeconfig of an account that may do all that routes need, and not read Secrets."""
    name = lab.namespace + "-routes"
    rbac = "/apis/rbac.authorization.k8s.io/v1/"
    rules = [
        {"apiGroups": ["gateway.networking.k8s.io"], "resources": ["*"], "verbs": ["*"]},
        {"apiGroups": [""], "resources": ["services", "namespaces"], "verbs": ["get", "list"]},
    ]
    account = {"kind": "ServiceAccount", "name": "routes", "namespace": lab.namespace}
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": name}
    accounts = "/api/v1/namespaces/%s/serviceaccounts" % lab.namespace
    lab.api.ask("POST", accounts, {"metadata": {"name": "routes"}})
    lab.api.ask("POST", rbac + "clusterroles", {"metadata": {"name": name}, "rules": rules})
    binding = {"metadata": {"name": name}, "roleRef": role, "subjects": [account]}
    lab.api.ask("POST", rbac + "clusterrolebindings", binding)
    token = lab.api.ask("POST", accounts + "/routes/token", {"spec": {}})["status"]["token"]
    content = lab.api.kubeconfig_of("https://127.0.0.1:6443")
    content["users"][0]["user"] = {"token": token}
    path = folder / "routes.conf"
    path.write_text(json.dumps(content))
    return path


def test_role_publishes_the_addresses_of_host_names(lab: Lab) -> None:
    variables = {"httproute_part_of": lab.namespace, "httproute_timeout": 20}
    serve = {"ansible.builtin.import_role": {"name": "homelab.loadbalancer.httproute"}}
    declared = {"vars": {"httproute_routes": [lab.route("web")]}}
    check = {"ansible.builtin.assert": {"that": "httproute_hostnames == %s" % {"web.k8s.local": [VIP]}}}
    tasks: list[dict[str, Any]] = [{**serve, **declared}, {**check, "tags": ["configure"]}]
    undeclared = {"block": [must_fail(role("httproute"))], "tags": ["configure"]}
    # By the engine in the action's process, and by a module on the host.
    plays = [play_of("operator", [*tasks, undeclared]), play_of("node", tasks)]
    with lab.controller():
        said = lab.api.run_playbook(plays, "--tags", "configure", **variables).out
    assert changes(said) == 1
    (why,) = shown(said)
    assert why.startswith("httproute_routes is undefined or null: declare the routes, or write httproute_routes: []")
