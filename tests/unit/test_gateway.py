# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What Gateways may be declared, the objects of them, and the record by which an upgrade knows what to remove."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest
import yaml
from ansible.errors import AnsibleFilterError

from ansible_collections.homelab.loadbalancer.plugins.filter.gateway_files import gateway_files
from ansible_collections.homelab.loadbalancer.plugins.filter.gateway_manifest import gateway_manifest
from ansible_collections.homelab.loadbalancer.plugins.filter.gateway_plan import gateway_plan
from ansible_collections.homelab.loadbalancer.plugins.filter.gateway_removal import gateway_removal

HTTP = {"name": "http", "port": 80}
HTTPS = {"name": "https", "port": 443, "protocol": "HTTPS", "tls": {"secret": "web"}}
PUBLIC = {"name": "public", "listeners": [HTTP]}
TRAEFIK = {"controller": "traefik", "version": "3.6.12", "gateway_class": "edge", "namespace": "edge"}
LABELS = {"app.kubernetes.io/managed-by": "homelab.loadbalancer", "app.kubernetes.io/part-of": "gateway"}
RECORD = "homelab-loadbalancer-gateway"


def obj(kind: str, name: str, namespace: str = "", version: str = "v1", **fields: Any) -> dict[str, Any]:
    metadata = {"name": name, "namespace": namespace} if namespace else {"name": name}
    return {"apiVersion": version, "kind": kind, "metadata": metadata, **fields}


def listener(**changes: Any) -> dict[str, Any]:
    """A Gateway with one listener, HTTP on port 80 but for the changes."""
    return {"name": "public", "listeners": [{**HTTP, **changes}]}


def found(kind: str, *resources: dict[str, Any]) -> dict[str, Any]:
    return {"kind": kind, "resources": list(resources), "api_found": True}


def made(plan: dict[str, Any], kind: str) -> list[dict[str, Any]]:
    return [entry for entry in plan["apply"] if entry["kind"] == kind]


def one(plan: dict[str, Any], kind: str) -> dict[str, Any]:
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
def test_what_is_refused(gateways: list[Any], message: str) -> None:
    with pytest.raises(AnsibleFilterError, match=message):
        gateway_files(gateways, "traefik", "edge")


@pytest.mark.parametrize("port", [8081, 9113])
def test_ports_of_nginx_itself(port: int) -> None:
    with pytest.raises(AnsibleFilterError, match=r"port %d cannot be served: nginx" % port):
        gateway_files([listener(port=port)])
    assert gateway_files([listener(port=port)], "traefik") == []


def test_what_nginx_gives_each_gateway() -> None:
    """An address and a port of its own."""
    gateways = [{**PUBLIC, "address": "192.0.2.1"}, {"name": "web", "listeners": [{**HTTPS, "port": 80}]}]
    gateways[1]["address"] = "192.0.2.2"
    assert gateway_files(gateways) == []


def test_a_gateway() -> None:
    routes = {"from": "selector", "selector": {"matchLabels": {"routes": "public"}}}
    entry = {
        "name": "web",
        "namespace": "apps",
        "listeners": [HTTP, {**HTTPS, "hostname": "*.example.org", **routes}],
        "address": ["192.0.2.1", "2001:db8::1"],
        "labels": {"tier": "edge"},
        "annotations": {"example.org/note": 1},
    }
    plan = gateway_plan([entry], manifests=manifest())
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
    assert plan["expected"] == {"apps/web": ["192.0.2.1", "2001:db8::1"]}
    assert [service["metadata"] for service in plan["services"]] == [{"name": "web-nginx", "namespace": "apps"}]


def test_traefik() -> None:
    gateways = [{"name": "public", "listeners": [HTTP, HTTPS], "address": "192.0.2.1"}, {**PUBLIC, "name": "more"}]
    plan = gateway_plan(gateways, **TRAEFIK)
    assert [entry["kind"] for entry in plan["apply"]][:2] == ["Namespace", "ConfigMap"]
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
    assert plan["services"][0]["metadata"] == {"name": "traefik", "namespace": "edge"}


def test_traefik_needs_no_manifest() -> None:
    with pytest.raises(AnsibleFilterError, match="gateway_manifests has a Deployment default/x"):
        gateway_plan([PUBLIC], **TRAEFIK, manifests=[obj("Deployment", "x", "default")])


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
    plan = gateway_plan([PUBLIC], gateway_class="edge", manifests=manifest())
    assert one(plan, "GatewayClass")["metadata"]["name"] == "edge"
    (container,) = one(plan, "Deployment")["spec"]["template"]["spec"]["containers"]
    assert container["args"] == ["controller", "--gatewayclass=edge", "--health-port=8081"]
    assert one(plan, "Gateway")["spec"]["gatewayClassName"] == "edge"


def test_a_manifest_that_is_not_the_controllers() -> None:
    with pytest.raises(AnsibleFilterError, match=r"has no Namespace edge: set gateway_namespace .*, nginx-gateway"):
        gateway_plan([PUBLIC], namespace="edge", manifests=manifest())
    with pytest.raises(AnsibleFilterError, match="gateway_manifests has no GatewayClass"):
        gateway_plan([PUBLIC], manifests=manifest()[:1])


def test_the_job_that_makes_certificates_runs_until_they_are_there() -> None:
    """It is on record either way: a second run changes nothing."""
    secrets = [obj("Secret", name, "nginx-gateway") for name in ("agent-tls", "server-tls")]
    fresh = gateway_plan([PUBLIC], manifests=manifest())
    half = gateway_plan([PUBLIC], manifests=manifest(), looked_up=[found("Secret", secrets[0])])
    later = gateway_plan([PUBLIC], manifests=manifest(), looked_up=[found("Secret", *secrets), recorded(fresh)])
    assert (len(made(fresh, "Job")), len(made(half, "Job")), len(made(later, "Job"))) == (1, 1, 0)
    assert one(later, "ConfigMap") == one(fresh, "ConfigMap")
    assert later["remove"] == []


def recorded(plan: dict[str, Any]) -> dict[str, Any]:
    """What a cluster has on record after the plan."""
    (record,) = plan["settle"] or made(plan, "ConfigMap")
    return found("ConfigMap", record)


def names(objects: list[dict[str, Any]]) -> list[tuple[str, str]]:
    return [(entry["kind"], entry["metadata"]["name"]) for entry in objects]


def test_what_is_declared_no_more_goes_and_is_on_record_until_then() -> None:
    before = gateway_plan([PUBLIC, {**PUBLIC, "name": "old"}], **TRAEFIK)
    now = gateway_plan([PUBLIC], **TRAEFIK, looked_up=[recorded(before)])
    assert names(now["remove"]) == [("Gateway", "old")]
    assert one(now, "ConfigMap")["data"]["objects"].endswith("Gateway edge old\n")
    assert "Gateway edge old" not in now["settle"][0]["data"]["objects"]
    later = gateway_plan([PUBLIC], **TRAEFIK, looked_up=[recorded(now)])
    assert (later["remove"], later["settle"]) == ([], [])


def test_a_removal_takes_all_but_the_kinds() -> None:
    kinds = gateway_manifest([{"source": "kinds"}], {"kinds": yaml.safe_dump(obj("CustomResourceDefinition", "kind"))})
    plan = gateway_plan([PUBLIC], **TRAEFIK)
    removed = gateway_removal([recorded(plan)])["remove"]
    assert names(removed) == names(plan["apply"])
    assert names(gateway_removal([recorded(plan), found("CustomResourceDefinition", *kinds)], True)["remove"]) == [
        ("CustomResourceDefinition", "kind"),
        *names(removed),
    ]
    assert gateway_removal([found("ConfigMap")]) == {"remove": [], "faults": []}


def test_kinds_do_not_go_with_routes_of_others() -> None:
    plan = gateway_plan([PUBLIC], **TRAEFIK)
    own, other = obj("Gateway", "public", "edge"), obj("HTTPRoute", "web", "apps")
    looked_up = [recorded(plan), found("Gateway", own), found("HTTPRoute", other)]
    (fault,) = gateway_removal(looked_up, True)["faults"]
    assert "would remove HTTPRoute apps/web, which the role gateway did not make" in fault


def test_a_namespace_of_somebody_else_stays() -> None:
    """It is neither applied nor removed, but the record in it is."""
    plan = gateway_plan([PUBLIC], **TRAEFIK, looked_up=[found("Namespace", obj("Namespace", "edge"))])
    assert made(plan, "Namespace") == []
    removed = names(gateway_removal([recorded(plan)])["remove"])
    assert removed[0] == ("ConfigMap", RECORD)
    assert ("Namespace", "edge") not in removed
    ours = obj("Namespace", "edge")
    ours["metadata"]["labels"] = LABELS
    assert made(gateway_plan([PUBLIC], **TRAEFIK, looked_up=[found("Namespace", ours)]), "Namespace")


def test_a_secret_that_is_not_there() -> None:
    gateways = [{"name": "public", "listeners": [HTTPS]}]
    (said,) = gateway_plan(gateways, **TRAEFIK)["missing"]
    assert said.startswith("gateway_gateways[0].listeners[0].tls.secret web is not in the cluster: make it by kubectl")
    other = obj("Secret", "web", "edge", type="Opaque")
    (said,) = gateway_plan(gateways, **TRAEFIK, looked_up=[found("Secret", other)])["missing"]
    assert "is of the type Opaque, and not kubernetes.io/tls" in said
    right = obj("Secret", "web", "edge", type="kubernetes.io/tls")
    assert gateway_plan(gateways, **TRAEFIK, looked_up=[found("Secret", right)])["missing"] == []


def test_a_manifest_is_checked() -> None:
    text = yaml.safe_dump_all([obj("Namespace", "n", status={}), None])
    checksum = hashlib.sha256(text.encode()).hexdigest()
    (entry,) = gateway_manifest([{"source": "https://x", "checksum": checksum}], {"https://x": text})
    assert entry == {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "n", "labels": LABELS}}
    assert gateway_manifest([{"source": "file"}], {"file": text}) == [entry]
    with pytest.raises(AnsibleFilterError, match=r"gateway_manifests\[0\] f has the SHA-256 %s, and not 0" % checksum):
        gateway_manifest([{"source": "f", "checksum": "0"}], {"f": text})
    with pytest.raises(AnsibleFilterError, match=r"gateway_crds\[0\]\.checksum is missing: no checksum of https://x"):
        gateway_manifest([{"source": "https://x"}], {"https://x": text}, "gateway_crds")
    with pytest.raises(AnsibleFilterError, match=r"gateway_manifests\[0\] f is no YAML"):
        gateway_manifest([{"source": "f"}], {"f": "a: b: c"})
    with pytest.raises(AnsibleFilterError, match=r"gateway_manifests\[0\]\[0\]\.kind is missing"):
        gateway_manifest([{"source": "f"}], {"f": "apiVersion: v1"})
