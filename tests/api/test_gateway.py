# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module and role `gateway` on a real API server: applied, removed, refused and kept objects.

Whether packets go through is for the tests of the whole cluster.
"""

from __future__ import annotations

import base64
import contextlib
import itertools
import json
import re
from pathlib import Path
from typing import Any, Iterator

import pytest
import yaml

from ansible_collections.homelab.loadbalancer.tests.api.api_server import ApiServer, Asked, Refused, writes
from ansible_collections.homelab.loadbalancer.tests.api.in_process import Cluster, repeated
from ansible_collections.homelab.loadbalancer.tests.api.plays import must_fail, role, show, shown
from ansible_collections.homelab.loadbalancer.tests.unit.gateway.certificates import pair

API = "/apis/gateway.networking.k8s.io/v1"
VIP, HOST = "192.0.2.80", "www.example.org"
HTTP = {"name": "http", "port": 80, "from": "all"}
PUBLIC = {"name": "public", "address": VIP, "listeners": [HTTP]}
NUMBERS = itertools.count()
OLD = {"name": "old", "listeners": [HTTP]}
WORKING = {
    "conditions": [
        {"type": kind, "status": "True", "reason": kind, "message": "", "lastTransitionTime": "2026-01-01T00:00:00Z"}
        for kind in ("Accepted", "Programmed")
    ],
    "addresses": [{"type": "IPAddress", "value": VIP}],
}


class Lab:
    """The module, with a class and a namespace of the test's own. Nothing is there yet, not even the namespace."""

    def __init__(self, api: ApiServer, name: str, folder: Path) -> None:
        self.api, self.name, self.folder = api, name, folder
        self.path = "%s/namespaces/%s/gateways" % (API, name)
        self.asked: list[Asked] = []  # of the API server, by the last calls

    def run(self, *calls: dict[str, Any]) -> list[dict[str, Any]]:
        """The results of calls of the action, in this process. `check` runs a call in check mode."""
        options = {"controller": "traefik", "class": self.name, "namespace": self.name, "manage_crds": False}
        with self.api.record() as self.asked:
            return Cluster(self.api).action("gateway", *calls, gateways=[PUBLIC], timeout=20, **options)

    @contextlib.contextmanager
    def controller(self) -> Iterator[None]:
        """Act as a controller that programs all Gateways."""

        def program() -> None:
            for name in ("public", "old"):
                found = self.api.get("%s/%s" % (self.path, name))
                if found and found.get("status", {}).get("addresses") != WORKING["addresses"]:
                    with contextlib.suppress(Refused):  # it was deleted in the meantime
                        self.merge("%s/%s/status" % (self.path, name), {"status": WORKING})

        with repeated(program):
            yield

    def merge(self, path: str, patch: dict[str, Any]) -> None:
        self.api.ask("PATCH", path, patch, "application/merge-patch+json")

    def record(self) -> str:
        path = "/api/v1/namespaces/%s/configmaps/homelab-loadbalancer-gateway" % self.name
        return str(self.api.get(path)["data"]["objects"])

    def https(self, hostname: str = HOST) -> dict[str, Any]:
        """A listener with a certificate and a key from files."""
        for path, text in zip((self.folder / "web.crt", self.folder / "web.key"), pair(HOST)):
            path.write_text(text)
        tls = {"certificate_file": str(self.folder / "web.crt"), "key_file": str(self.folder / "web.key")}
        return {"name": "https", "protocol": "HTTPS", "port": 443, "hostname": hostname, "tls": tls}


@pytest.fixture
def lab(api: ApiServer, controllers: None, tmp_path: Path) -> Lab:
    return Lab(api, "gateway-%d" % next(NUMBERS), tmp_path)


def test_lifecycle(lab: Lab) -> None:
    name, both = lab.name, [PUBLIC, OLD]
    (predicted,) = lab.run({"gateways": both, "check": True})
    assert writes(lab.asked) == []
    assert "create Gateway %s/public" % name in predicted["changes"]
    assert predicted["addresses"] == {}
    absent = {"state": "absent"}
    with lab.controller():
        made, again, fewer_predicted, fewer, fewer_again, gone_predicted, gone, gone_again = lab.run(
            {"gateways": both},
            {"gateways": both},
            {"check": True},
            {},
            {},
            {**absent, "check": True},
            absent,
            absent,
        )
    assert made["changes"] == predicted["changes"]
    assert made["addresses"] == again["addresses"] == {"%s/public" % name: [VIP], "%s/old" % name: [VIP]}
    record = "ConfigMap %s/homelab-loadbalancer-gateway" % name
    assert fewer["changes"] == fewer_predicted["changes"] == ["delete Gateway %s/old" % name, "update " + record]
    assert fewer["addresses"] == {"%s/public" % name: [VIP]}
    assert gone["changes"] == gone_predicted["changes"]
    assert (gone["changes"][0], gone["changes"][-1]) == ("delete Gateway %s/public" % name, "delete Namespace " + name)
    assert gone["addresses"] == {}
    assert gone["notes"] == ["The kinds of the Gateway API and all routes stay. remove_crds: true removes the kinds."]
    for done in (again, fewer_again, gone_again):
        assert (done["changes"], done["changed"]) == ([], False)
    assert lab.api.get("/api/v1/namespaces/" + name) is None


def test_unchanged_run_costs_reads_only(lab: Lab) -> None:
    manifest = lab.folder / "kinds.yaml"
    manifest.write_text(yaml.safe_dump_all(kind for kind in lab.api.kinds if "gateway" in kind["metadata"]["name"]))
    call = {"manage_crds": True, "crds": [{"source": str(manifest)}]}
    with lab.controller():
        lab.run(call)
        (again,) = lab.run(call)
    assert again["changes"] == []
    assert {one.verb for one in lab.asked} <= {"get", "list"}
    assert len(lab.asked) <= 15


def test_undeclared_object_stays_in_the_record_until_removed(lab: Lab) -> None:
    path = lab.path + "/old"
    with lab.controller():
        lab.run({"gateways": [PUBLIC, OLD]})
        lab.merge(path, {"metadata": {"finalizers": ["example.org/hold"]}})
        (held,) = lab.run({"timeout": 1})
        assert "Gateway %s/old is still there" % lab.name in held["msg"]
        assert "Gateway %s old\n" % lab.name in lab.record()
        lab.merge(path, {"metadata": {"finalizers": None}})
        (done,) = lab.run({})
    assert done["changed"]
    assert "old" not in lab.record()


def test_foreign_objects_are_refused_taken_over_and_kept(lab: Lab) -> None:
    """A Gateway of another manager, in a namespace that the module did not make."""
    lab.api.ask("POST", "/api/v1/namespaces", {"metadata": {"name": lab.name}})
    spec = {"gatewayClassName": "other", "listeners": [{"name": "http", "port": 8080, "protocol": "HTTP"}]}
    gateway = {"apiVersion": "gateway.networking.k8s.io/v1", "kind": "Gateway", "metadata": {"name": "public"}}
    lab.api.apply(lab.path + "/public", {**gateway, "spec": spec})
    (refused,) = lab.run({})
    assert "nothing was changed" in refused["msg"]
    assert 'with "somebody"' in refused["msg"]
    assert writes(lab.asked) == []
    with lab.controller():
        taken, gone = lab.run({"take_over": True}, {"state": "absent"})
    assert "update Gateway %s/public" % lab.name in taken["changes"]
    assert "delete ConfigMap %s/homelab-loadbalancer-gateway" % lab.name in gone["changes"]
    assert lab.api.get(lab.path + "/public") is None
    assert lab.api.get("/api/v1/namespaces/" + lab.name)["status"]["phase"] == "Active"


def test_failed_wait_is_explained(lab: Lab) -> None:
    (failed,) = lab.run({"timeout": 1})
    first, why, *more = failed["msg"].splitlines()
    assert first == "not all Gateways work after 1 s."
    assert why.startswith("Gateway %s/public: no controller has taken it up" % lab.name)
    assert any(line.startswith("Service %s/traefik: " % lab.name) for line in more)
    with lab.controller():
        later, other = lab.run({}, {"gateways": [{**PUBLIC, "address": "192.0.2.81"}], "timeout": 1})
    assert later["changes"] == []
    assert "Gateway %s/public: it has the address %s, and not 192.0.2.81" % (lab.name, VIP) in other["msg"]


def test_missing_secret_is_refused(lab: Lab) -> None:
    listener = {"name": "https", "protocol": "HTTPS", "port": 443, "tls": {"secret": "web"}}
    gateways = [{"name": "public", "listeners": [listener]}]
    refused, predicted = lab.run({"gateways": gateways}, {"gateways": gateways, "check": True})
    start = "gateways[0].listeners[0].tls.secret web is not in the cluster: make it by kubectl create secret"
    assert refused["msg"].startswith(start)
    assert predicted["notes"][0].startswith(start)
    assert writes(lab.asked) == []


def test_certificate_becomes_a_secret_whose_key_is_never_shown(lab: Lab) -> None:
    gateways = [{**PUBLIC, "listeners": [HTTP, lab.https()]}]
    other = [{**PUBLIC, "listeners": [lab.https("other.example.org")]}]
    calls = [{"gateways": gateways, "check": True}, {"gateways": gateways}, {"gateways": other}]
    with lab.controller():
        *dummy, refused = results = lab.run(*calls)
    secret = lab.api.get("/api/v1/namespaces/%s/secrets/public-https-tls" % lab.name)
    key = (lab.folder / "web.key").read_text()
    assert base64.b64decode(secret["data"]["tls.key"]).decode() == key
    for hidden in (secret["data"]["tls.key"], key.splitlines()[1]):
        assert hidden not in json.dumps(results)
    assert "web.crt is not for gateways[0].listeners[0].hostname other.example.org" in refused["msg"]


def test_declaration_is_checked_without_the_api_server(lab: Lab) -> None:
    check = {"validate_only": True, "kubeconfig": "/nonexistent"}
    gateways = [{"name": "public", "listeners": [lab.https()]}]
    done, refused = lab.run({**check, "gateways": gateways}, {**check, "gateways": [{"name": "public"}]})
    assert lab.asked == []
    certificate = lab.folder / "web.crt"
    assert done["certificates"] == {str(certificate): certificate.read_text()}
    assert (done["changed"], done["changes"]) == (False, [])
    assert refused["msg"] == "gateways[0].listeners is missing"


def test_kinds_are_kept_while_foreign_routes_exist(lab: Lab, namespace: str) -> None:
    group = lab.name + ".example.org"
    schema = {"openAPIV3Schema": {"type": "object"}}
    kind = {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": "things." + group},
        "spec": {
            "group": group,
            "names": {"kind": "Thing", "plural": "things", "singular": "thing"},
            "scope": "Namespaced",
            "versions": [{"name": "v1", "served": True, "storage": True, "schema": schema}],
        },
    }
    manifest = lab.folder / "kinds.yaml"
    manifest.write_text(yaml.safe_dump(kind))
    route = {"metadata": {"name": "web"}, "spec": {"parentRefs": [{"name": "public"}]}}
    route.update(apiVersion="gateway.networking.k8s.io/v1", kind="HTTPRoute")
    lab.api.ask("POST", "%s/namespaces/%s/httproutes" % (API, namespace), route)
    path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/things." + group
    with lab.controller():
        made, refused, gone = lab.run(
            {"manage_crds": True, "crds": [{"source": str(manifest)}]},
            {"state": "absent", "remove_crds": True},
            {"state": "absent"},
        )
    try:
        assert "create CustomResourceDefinition things." + group in made["changes"]
        said = "remove_crds would remove HTTPRoute %s/web, which the role gateway did not make" % namespace
        assert said in refused["msg"]
        assert gone["changed"]
        assert lab.api.get(path)
    finally:
        lab.api.ask("DELETE", path)


def stand_in(name: str) -> list[dict[str, Any]]:
    """A manifest like that of NGINX Gateway Fabric."""
    metadata = {"name": name, "namespace": name}
    pod = {"containers": [{"name": "nginx", "image": "none", "args": ["--gatewayclass=nginx"]}]}
    return [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}},
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": metadata,
            "spec": {
                "selector": {"matchLabels": {"app": name}},
                "template": {"metadata": {"labels": {"app": name}}, "spec": pod},
            },
        },
        {
            "apiVersion": "batch/v1",
            "kind": "Job",
            "metadata": metadata,
            "spec": {"template": {"spec": {**pod, "restartPolicy": "Never"}}},
        },
        {
            "apiVersion": "gateway.networking.k8s.io/v1",
            "kind": "GatewayClass",
            "metadata": {"name": "nginx"},
            "spec": {"controllerName": "example.org/stand-in"},
        },
    ]


def test_job_of_nginx_runs_once(lab: Lab) -> None:
    """It removes itself when it has made the Secrets, and is not made again."""
    manifest = lab.folder / "deploy.yaml"
    manifest.write_text(yaml.safe_dump_all(stand_in(lab.name)))
    nginx = {"controller": "nginx", "manifests": [{"source": str(manifest)}]}
    job = "/apis/batch/v1/namespaces/%s/jobs/%s" % (lab.name, lab.name)
    with lab.controller():
        (made,) = lab.run(nginx)
        lab.api.ask("DELETE", job + "?propagationPolicy=Background")
        for name in ("agent-tls", "server-tls"):
            lab.api.ask("POST", "/api/v1/namespaces/%s/secrets" % lab.name, {"metadata": {"name": name}})
        (again,) = lab.run(nginx)
    assert "create Job %s/%s" % (lab.name, lab.name) in made["changes"]
    assert again["changes"] == []
    assert lab.api.get(job) is None
    path = "/apis/apps/v1/namespaces/%s/deployments/%s" % (lab.name, lab.name)
    (container,) = lab.api.get(path)["spec"]["template"]["spec"]["containers"]
    assert container["args"] == ["--gatewayclass=" + lab.name]


def test_role_publishes_addresses_prints_notes_and_hides_keys(lab: Lab) -> None:
    tasks = [
        role("gateway", gateway_gateways=[{**PUBLIC, "listeners": [HTTP, lab.https()]}]),
        show("gateway_addresses"),
        must_fail(role("gateway", gateway_gateways=[{"name": "public"}])),
        role("gateway", gateway_state="absent"),
        show("gateway_addresses"),
    ]
    with lab.controller():
        done = lab.api.play(
            [{"block": tasks, "tags": ["configure"]}],
            *("--tags", "configure", "--diff", "-vvv"),
            gateway_controller="traefik",
            gateway_class=lab.name,
            gateway_namespace=lab.name,
            gateway_manage_crds="false",  # as `-e` has it
        )
    assert shown(done.out) == [{"%s/public" % lab.name: [VIP]}, "gateway_gateways[0].listeners is missing", {}]
    assert "gateway_remove_crds: true removes the kinds." in re.sub(r"\s+", " ", done.out)
    key = (lab.folder / "web.key").read_text()
    assert "Secret %s/public-https-tls" % lab.name in done.out
    for hidden in (key.splitlines()[1], base64.b64encode(key.encode()).decode()):
        assert hidden not in done.out + done.err
