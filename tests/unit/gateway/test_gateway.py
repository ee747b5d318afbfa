# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Declared Gateways, their objects, and the record by which an upgrade removes old objects."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.homelab.loadbalancer.plugins.module_utils._common.errors import InputError
from ansible_collections.homelab.loadbalancer.plugins.plugin_utils._gateway.plan import queries
from ansible_collections.homelab.loadbalancer.plugins.plugin_utils._k8s.model import Apply, Outcome, Plan, Remove, Until
from ansible_collections.homelab.loadbalancer.tests.unit.gateway.plans import (
    TRAEFIK,
    applied,
    given,
    going,
    parsed,
    planned,
    removed,
    settled,
    waiting,
)

HTTP = {"name": "http", "port": 80}
HTTPS = {"name": "https", "port": 443, "protocol": "HTTPS", "tls": {"secret": "web"}}
PUBLIC = {"name": "public", "listeners": [HTTP]}
LABELS = {"app.kubernetes.io/managed-by": "homelab.loadbalancer", "app.kubernetes.io/part-of": "gateway"}
RECORD = "homelab-loadbalancer-gateway"


def obj(kind: str, name: str, namespace: str = "", version: str = "v1", **fields: Any) -> dict[str, Any]:
    metadata = {"name": name, "namespace": namespace} if namespace else {"name": name}
    return {"apiVersion": version, "kind": kind, "metadata": metadata, **fields}


def listener(**changes: Any) -> dict[str, Any]:
    """A Gateway with one listener. Without changes it is HTTP on port 80."""
    return {"name": "public", "listeners": [{**HTTP, **changes}]}


def found(kind: str, *resources: dict[str, Any]) -> dict[str, Any]:
    return {"kind": kind, "resources": list(resources), "api_found": True}


def made(plan: Plan, kind: str) -> list[dict[str, Any]]:
    return [entry for entry in applied(plan) if entry["kind"] == kind]


def one(plan: Plan, kind: str) -> dict[str, Any]:
    (entry,) = made(plan, kind)
    return entry


@pytest.mark.parametrize(
    ("gateways", "message"),
    [
        ([], r"gateway_gateways is empty: declare a Gateway"),
        ([{"name": "Web", "listeners": [HTTP]}], r"gateway_gateways\[0\]\.name Web is not a name"),
        ([{"name": "web", "listeners": []}], r"\[0\]\.listeners is empty"),
        ([{"name": "web"}], r"gateway_gateways\[0\]\.listeners is missing"),
        ([PUBLIC, PUBLIC], r"\[1\] edge/public is declared twice, by gateway_gateways\[0\] as well"),
        ([{**PUBLIC, "adress": "192.0.2.1"}], r"\[0\]\.adress is not a known key"),
        ([{**PUBLIC, "address": "192.0.2.300"}], r"\[0\]\.address 192\.0\.2\.300 is not an IP address"),
        ([{**PUBLIC, "address": ["192.0.2.1", "192.0.2.2"]}], r"two addresses of one family"),
        ([listener(port=0)], r"listeners\[0\]\.port 0 is not a port from 1 to 65535"),
        ([listener(port=9000)], r"\.port 9000 cannot be served: traefik answers the kubelet there"),
        ([listener(protocol="TCP")], r"\.protocol TCP is neither HTTP nor HTTPS"),
        ([listener(hostname="no_name")], r"\.hostname no_name is not a host name"),
        ([listener(hostname="*")], r"\.hostname \* is not a host name"),
        ([listener(hostname="192.0.2.1")], r"\.hostname 192\.0\.2\.1 is an IP address"),
        ([listener(tls={"secret": "web"})], r"\.tls belongs to HTTPS"),
        ([listener(protocol="HTTPS")], r"\.tls is missing: HTTPS needs"),
        ([listener(protocol="HTTPS", tls={"key_file": "k"})], r"\.tls\.certificate_file is missing"),
        ([listener(protocol="HTTPS", tls={"secret": "web", "key_file": "k"})], r"names a secret and files"),
        ([listener(**{"from": "none"})], r"\.from none is none of all, same, selector"),
        ([listener(**{"from": "selector"})], r"selector and from: selector belong together"),
        ([listener(selector={"matchLabels": {"a": "b"}})], r"selector and from: selector belong together"),
        (
            [{"name": "web", "listeners": [HTTP, {"name": "other", "port": 80}]}],
            r"listeners\[1\]\.port 80 of any host is served by gateway_gateways\[0\]\.listeners\[0\]\.port, too",
        ),
        ([{"name": "web", "listeners": [HTTP, {"name": "http", "port": 81}]}], r"http is the name of gateway_gat"),
        (
            [{"name": "web", "listeners": [HTTP, {**HTTPS, "port": 80, "hostname": "a.example"}]}],
            r"listeners\[1\]\.port 80 cannot be served: it is HTTPS there and HTTP by gateway_gateways\[0\]\.listeners",
        ),
        (
            [PUBLIC, {"name": "web", "listeners": [{**HTTPS, "port": 80}]}],
            r"\[1\]\.listeners\[0\]\.port 80 cannot be served: Traefik serves all Gateways by the same ports",
        ),
        (
            [{**PUBLIC, "address": "192.0.2.1"}, {"name": "web", "listeners": [HTTP], "address": "192.0.2.2"}],
            r"\[1\]\.address 192\.0\.2\.2 is not that of gateway_gateways\[0\]: Traefik has one address",
        ),
    ],
)
def test_invalid_gateways_are_refused(gateways: list[Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        parsed(gateways, **TRAEFIK)


@pytest.mark.parametrize("port", [8081, 9113])
def test_ports_of_nginx_itself(port: int) -> None:
    with pytest.raises(InputError, match=r"port %d cannot be served: nginx" % port):
        parsed([listener(port=port)])
    assert parsed([listener(port=port)], controller="traefik")


def test_nginx_gateways_get_their_own_proxy() -> None:
    """An address and a port of its own."""
    gateways = [{**PUBLIC, "address": "192.0.2.1"}, {"name": "web", "listeners": [{**HTTPS, "port": 80}]}]
    gateways[1]["address"] = "192.0.2.2"
    assert len(parsed(gateways)) == 2


def test_gateway_is_created() -> None:
    routes = {"from": "selector", "selector": {"matchLabels": {"routes": "public"}}}
    entry = {
        "name": "web",
        "namespace": "apps",
        "listeners": [HTTP, {**HTTPS, "hostname": "*.example.org", **routes}],
        "address": ["192.0.2.1", "2001:db8::1"],
        "labels": {"tier": "edge"},
        "annotations": {"example.org/note": 1},
    }
    plan = planned([entry], manifest_objects=manifest())
    assert one(plan, "Gateway") == {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "Gateway",
        "metadata": {
            "name": "web",
            "namespace": "apps",
            "labels": {"tier": "edge", **LABELS},
            "annotations": {"example.org/note": "1"},
        },
        "spec": {
            "gatewayClassName": "nginx",
            "infrastructure": {"annotations": {"metallb.io/loadBalancerIPs": "192.0.2.1,2001:db8::1"}},
            "listeners": [
                {"name": "http", "port": 80, "protocol": "HTTP", "allowedRoutes": {"namespaces": {"from": "Same"}}},
                {
                    "name": "https",
                    "port": 443,
                    "protocol": "HTTPS",
                    "hostname": "*.example.org",
                    "tls": {"mode": "Terminate", "certificateRefs": [{"kind": "Secret", "name": "web"}]},
                    "allowedRoutes": {
                        "namespaces": {"from": "Selector", "selector": {"matchLabels": {"routes": "public"}}}
                    },
                },
            ],
        },
    }
    assert [service["metadata"] for service in waiting(plan).explain] == [{"name": "web-nginx", "namespace": "apps"}]


def test_traefik() -> None:
    gateways = [{"name": "public", "listeners": [HTTP, HTTPS], "address": "192.0.2.1"}, {**PUBLIC, "name": "more"}]
    plan = planned(gateways, **TRAEFIK)
    assert [entry["kind"] for entry in applied(plan)][:2] == ["Namespace", "ConfigMap"]
    service, pod = one(plan, "Service"), one(plan, "Deployment")["spec"]["template"]
    assert service["metadata"]["annotations"] == {"metallb.io/loadBalancerIPs": "192.0.2.1"}
    assert [(port["port"], port["targetPort"]) for port in service["spec"]["ports"]] == [(80, 80), (443, 443)]
    assert service["spec"]["selector"].items() <= pod["metadata"]["labels"].items()
    (container,) = pod["spec"]["containers"]
    assert container["image"] == "docker.io/library/traefik:v3.6.12"
    assert {"--entrypoints.port80.address=:80", "--entrypoints.port443.address=:443"} <= set(container["args"])
    # It serves the class by its label, and no other one.
    label = one(plan, "GatewayClass")["metadata"]["labels"]["app.kubernetes.io/instance"]
    assert "--providers.kubernetesgateway.labelselector=app.kubernetes.io/instance=" + label in container["args"]
    verbs = {verb for rule in one(plan, "ClusterRole")["rules"] for verb in rule["verbs"]}
    assert verbs == {"get", "list", "watch", "update"}
    for gateway in made(plan, "Gateway"):
        assert "infrastructure" not in gateway["spec"]
    assert waiting(plan).explain[0]["metadata"] == {"name": "traefik", "namespace": "edge"}


def test_traefik_needs_no_manifest() -> None:
    with pytest.raises(InputError, match="gateway_manifests has a Deployment default/x"):
        planned([PUBLIC], **TRAEFIK, manifest_objects=[obj("Deployment", "x", "default")])


def manifest() -> list[dict[str, Any]]:
    """A small NGINX Gateway Fabric."""
    container = {"name": "nginx-gateway", "args": ["controller", "--gatewayclass=nginx", "--health-port=8081"]}
    return [
        obj("Namespace", "nginx-gateway"),
        obj(
            "Deployment",
            "nginx-gateway",
            "nginx-gateway",
            "apps/v1",
            spec={"template": {"spec": {"containers": [container]}}},
        ),
        obj("Job", "nginx-gateway-cert-generator", "nginx-gateway", "batch/v1"),
        obj("GatewayClass", "nginx", version="gateway.networking.k8s.io/v1"),
    ]


def test_the_class_of_nginx_has_the_wanted_name() -> None:
    plan = planned([PUBLIC], **{"class": "edge"}, manifest_objects=manifest())
    assert one(plan, "GatewayClass")["metadata"]["name"] == "edge"
    (container,) = one(plan, "Deployment")["spec"]["template"]["spec"]["containers"]
    assert container["args"] == ["controller", "--gatewayclass=edge", "--health-port=8081"]
    assert one(plan, "Gateway")["spec"]["gatewayClassName"] == "edge"


def test_manifest_of_another_controller_is_refused() -> None:
    with pytest.raises(InputError, match=r"has no Namespace edge: set gateway_namespace .*, nginx-gateway"):
        planned([PUBLIC], namespace="edge", manifest_objects=manifest())
    with pytest.raises(InputError, match="gateway_manifests has no GatewayClass"):
        planned([PUBLIC], manifest_objects=manifest()[:1])


def test_certificate_job_runs_until_the_secrets_exist() -> None:
    """It is on record either way: a second run changes nothing."""
    secrets = [obj("Secret", name, "nginx-gateway") for name in ("agent-tls", "server-tls")]
    fresh = planned([PUBLIC], manifest_objects=manifest())
    half = planned([PUBLIC], manifest_objects=manifest(), found=[found("Secret", secrets[0])])
    later = planned([PUBLIC], manifest_objects=manifest(), found=[found("Secret", *secrets), recorded(fresh)])
    assert (len(made(fresh, "Job")), len(made(half, "Job")), len(made(later, "Job"))) == (1, 1, 0)
    assert one(later, "ConfigMap") == one(fresh, "ConfigMap")
    assert going(later) == []


def recorded(plan: Plan) -> dict[str, Any]:
    """The record in the cluster after the plan."""
    (record,) = settled(plan) or made(plan, "ConfigMap")
    return found("ConfigMap", record)


def names(objects: list[dict[str, Any]]) -> list[tuple[str, str]]:
    return [(entry["kind"], entry["metadata"]["name"]) for entry in objects]


def test_undeclared_objects_are_on_record_until_they_are_removed() -> None:
    before = planned([PUBLIC, {**PUBLIC, "name": "old"}], **TRAEFIK)
    now = planned([PUBLIC], **TRAEFIK, found=[recorded(before)])
    assert names(going(now)) == [("Gateway", "old")]
    assert one(now, "ConfigMap")["data"]["objects"].endswith("Gateway edge old\n")
    assert "Gateway edge old" not in settled(now)[0]["data"]["objects"]
    later = planned([PUBLIC], **TRAEFIK, found=[recorded(now)])
    assert (going(later), settled(later)) == ([], [])


def test_removal_keeps_only_the_kinds() -> None:
    kind = obj("CustomResourceDefinition", "kind", version="apiextensions.k8s.io/v1")
    plan = planned([PUBLIC], **TRAEFIK)
    gone = going(removed([recorded(plan)]))
    assert names(gone) == names(applied(plan))
    both = removed([recorded(plan), found("CustomResourceDefinition", kind)], remove_crds=True)
    assert names(going(both)) == [("CustomResourceDefinition", "kind"), *names(gone)]
    nothing = removed([found("ConfigMap")])
    assert (nothing.steps, nothing.refusals) == ([], [])


def test_removal_names_the_objects_that_stay() -> None:
    assert list(removed().notes) == [
        "The kinds of the Gateway API and all routes stay. gateway_remove_crds: true removes the kinds."
    ]
    assert list(removed(remove_crds=True).notes) == ["Nothing stays."]
    assert removed().result == {"addresses": {}}


def test_kinds_stay_while_foreign_routes_exist() -> None:
    plan = planned([PUBLIC], **TRAEFIK)
    own, other = obj("Gateway", "public", "edge"), obj("HTTPRoute", "web", "apps")
    answers = [recorded(plan), found("Gateway", own), found("HTTPRoute", other)]
    (fault,) = removed(answers, remove_crds=True).refusals
    assert fault.startswith("gateway_remove_crds would remove HTTPRoute apps/web, which the role gateway did not make")


def test_foreign_namespace_is_kept() -> None:
    """It is neither applied nor removed, but the record in it is."""
    plan = planned([PUBLIC], **TRAEFIK, found=[found("Namespace", obj("Namespace", "edge"))])
    assert made(plan, "Namespace") == []
    gone = names(going(removed([recorded(plan)])))
    assert gone[0] == ("ConfigMap", RECORD)
    assert ("Namespace", "edge") not in gone
    ours = obj("Namespace", "edge")
    ours["metadata"]["labels"] = LABELS
    assert made(planned([PUBLIC], **TRAEFIK, found=[found("Namespace", ours)]), "Namespace")


def test_missing_secret_is_refused() -> None:
    gateways = [{"name": "public", "listeners": [HTTPS]}]
    (said,) = planned(gateways, **TRAEFIK).unmet
    assert said.startswith("gateway_gateways[0].listeners[0].tls.secret web is not in the cluster: make it by kubectl")
    other = obj("Secret", "web", "edge", type="Opaque")
    (said,) = planned(gateways, **TRAEFIK, found=[found("Secret", other)]).unmet
    assert "is of the type Opaque, and not kubernetes.io/tls" in said
    right = obj("Secret", "web", "edge", type="kubernetes.io/tls")
    assert planned(gateways, **TRAEFIK, found=[found("Secret", right)]).unmet == []


def test_queries_are_limited_to_used_objects() -> None:
    """Only the Secrets that the plan depends on are read, without their data."""
    files = {"certificate_file": "a", "key_file": "b"}
    gateways = [{"name": "public", "listeners": [HTTPS, {**HTTPS, "name": "files", "port": 8443, "tls": files}]}]
    asked = queries(given(gateways=gateways, **TRAEFIK))
    assert [(query["kind"], query.get("namespace"), query["name"]) for query in asked] == [
        ("ConfigMap", "edge", RECORD),
        ("Namespace", None, "edge"),
        ("Secret", "edge", "web"),
    ]
    assert "data" in asked[-1]["hidden_fields"]
    secrets = [query["name"] for query in queries(given(gateways=[PUBLIC])) if query["kind"] == "Secret"]
    assert secrets == ["agent-tls", "server-tls"]
    kind = obj("CustomResourceDefinition", "kind", version="apiextensions.k8s.io/v1")
    assert queries(given(gateways=[PUBLIC], crd_objects=[kind]))[-1]["kind"] == "CustomResourceDefinition"
    assert [query["kind"] for query in queries(given(state="absent"))] == ["ConfigMap"]
    kinds = [query["kind"] for query in queries(given(state="absent", remove_crds=True))]
    assert {"CustomResourceDefinition", "HTTPRoute", "GRPCRoute"} < set(kinds)


def test_steps_are_in_order() -> None:
    """The record names all that is there at any moment: it loses names when their objects are gone."""
    kind = obj("CustomResourceDefinition", "kind", version="apiextensions.k8s.io/v1")
    before = planned([PUBLIC, {**PUBLIC, "name": "old"}], **TRAEFIK)
    now = planned([PUBLIC], [recorded(before)], crd_objects=[kind], take_over=True, **TRAEFIK)
    assert [type(step) for step in now.steps] == [Apply, Remove, Apply, Until]
    first = now.steps[0]
    assert isinstance(first, Apply)
    assert first.force
    assert names(list(first.objects))[:3] == [
        ("CustomResourceDefinition", "kind"),
        ("Namespace", "edge"),
        ("ConfigMap", RECORD),
    ]
    assert (now.timeout, waiting(now).failure) == (20, "not all Gateways work after 20 s.")


def test_the_wait_and_the_addresses() -> None:
    """They come from the last look at the Gateways."""
    plan = planned([PUBLIC], **TRAEFIK)
    nothing = [found("Gateway")]
    assert waiting(plan).missing(nothing) == ["Gateway edge/public is not in the cluster"]
    status = {
        "conditions": [{"type": "Programmed", "status": "True"}],
        "addresses": [{"type": "IPAddress", "value": "192.0.2.1"}],
    }
    working = [found("Gateway", obj("Gateway", "public", "edge", status=status), obj("Gateway", "other", "edge"))]
    assert waiting(plan).missing(working) == []
    assert callable(plan.result)
    assert plan.result(Outcome(seen=[nothing])) == {"addresses": {}}
    assert plan.result(Outcome(seen=[working])) == {"addresses": {"edge/public": ["192.0.2.1"]}}


def test_a_declaration_is_checked_without_the_cluster() -> None:
    """This needs neither manifests nor keys, in any state."""
    options = given(gateways=[PUBLIC], state="absent", validate_only=True, certificates={"a": "b"})
    assert queries(options) == []
    with pytest.raises(InputError, match=r"gateway_gateways is empty: .*by gateway_state: absent"):
        queries({**options, "gateways": []})
    made = planned([PUBLIC], validate_only=True, certificates={"a": "b"})
    assert (list(made.steps), made.result) == ([], {"certificates": {"a": "b"}})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"class": ""}, "gateway_class  is not a DNS label"),
        ({"namespace": "a_b"}, "gateway_namespace a_b is not a DNS label"),
        ({"replicas": 0}, "gateway_replicas 0 is not a number from 1 to 1000"),
    ],
)
def test_invalid_controller_options_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        queries(given(gateways=[PUBLIC], **options))


def test_messages_name_options_as_the_user_wrote_them() -> None:
    with pytest.raises(InputError, match=r"^gateways\[0\]\.listeners is missing"):
        parsed([{"name": "public"}], prefix="")
    with pytest.raises(InputError, match=r"^gateways is empty: .*by state: absent"):
        parsed([], prefix="")
