# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""HTTP routes in a cluster: what is applied and removed, what is refused, and whether they work."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.homelab.loadbalancer.plugins.filter.httproute_plan import httproute_plan
from ansible_collections.homelab.loadbalancer.plugins.module_utils import _httproute_cluster
from ansible_collections.homelab.loadbalancer.plugins.module_utils._hostnames import meet
from ansible_collections.homelab.loadbalancer.plugins.module_utils._httproute_cluster import hostnames
from ansible_collections.homelab.loadbalancer.plugins.module_utils._httproute_listeners import selects
from ansible_collections.homelab.loadbalancer.plugins.module_utils._httproute_status import pending
from ansible_collections.homelab.loadbalancer.tests.unit.certificates import certificate

HTTP = {"name": "http", "port": 80, "protocol": "HTTP"}
HTTPS = {"name": "https", "port": 443, "protocol": "HTTPS"}
OURS = {"app.kubernetes.io/managed-by": "homelab.loadbalancer", "app.kubernetes.io/part-of": "routes"}
VIP = "172.16.0.100"


def thing(name: str, namespace: str = "default", **rest: Any) -> dict[str, Any]:
    metadata = {"name": name, **({"namespace": namespace} if namespace else {}), **rest.pop("metadata", {})}
    return {"metadata": metadata, **rest}


def gateway(*listeners: dict[str, Any], **status: Any) -> dict[str, Any]:
    """A Gateway `main` that works."""
    works = {
        "addresses": [{"type": "IPAddress", "value": VIP}],
        "conditions": [{"type": "Accepted", "status": "True"}],
        **status,
    }
    return thing("main", spec={"gatewayClassName": "traefik", "listeners": list(listeners or [HTTP])}, status=works)


def service(name: str, namespace: str = "default", port: int = 80, protocol: str = "TCP") -> dict[str, Any]:
    return thing(name, namespace, spec={"ports": [{"port": port, "protocol": protocol}]})


def cluster(*listeners: dict[str, Any], **kinds: Any) -> dict[str, Any]:
    return {
        "Gateway": [gateway(*listeners)],
        "Service": [service("web")],
        "Namespace": [thing("default", ""), thing("shop", "", metadata={"labels": {"team": "red"}})],
        **kinds,
    }


def read(kinds: dict[str, Any]) -> Any:
    """The same as the filters hand it on."""
    return _httproute_cluster.by_name([{"kind": kind, "resources": found} for kind, found in kinds.items()])


def route(name: str = "web", **parts: Any) -> dict[str, Any]:
    return {"name": name, "gateways": ["main"], "rules": [{"backends": ["web"]}], **parts}


def plan(declared: list[dict[str, Any]], have: dict[str, Any], **more: Any) -> _httproute_cluster.Plan:
    return _httproute_cluster.plan(declared, read(have), "routes", **more)


def names(objects: list[dict[str, Any]]) -> list[str]:
    return ["%s %s/%s" % (obj["kind"], obj["metadata"]["namespace"], obj["metadata"]["name"]) for obj in objects]


def test_a_route_that_the_cluster_can_serve() -> None:
    made = plan([route(hostnames=["web.k8s.local"])], cluster())
    assert names(made.apply) == ["HTTPRoute default/web"]
    assert made.apply[0]["metadata"]["labels"] == OURS
    assert (made.remove, made.faults, made.unmet, made.notes) == ([], [], [], [])


TLS = {**HTTPS, "hostname": "*.k8s.local", "tls": {"certificateRefs": [{"name": "wild"}]}}


def secret(text: str, name: str = "wild", space: str = "default") -> dict[str, Any]:
    return thing(name, space, data={"tls.crt": base64.b64encode(text.encode()).decode()})


@pytest.mark.parametrize(
    ("listener", "secrets", "noted"),
    [
        (TLS, [secret(certificate("*.k8s.local"))], ["a.b.k8s.local"]),
        (TLS, [secret(certificate("web.k8s.local"))], ["a.b.k8s.local"]),
        (TLS, [secret(certificate("a.b.k8s.local"))], ["web.k8s.local"]),
        (TLS, [secret(certificate("*.k8s.local", "*.b.k8s.local"))], []),
        # Whoever issues them later, or makes something else of them.
        (TLS, [], []),
        (TLS, [secret("")], []),
        (TLS, [secret("no certificate")], []),
        (TLS, [secret(certificate("*.k8s.local"), space="other")], []),
        # Any of a listener's certificates will do.
        (
            {**TLS, "tls": {"certificateRefs": [{"name": "wild"}, {"name": "deep", "namespace": "shop"}]}},
            [secret(certificate("*.k8s.local")), secret(certificate("a.b.k8s.local"), "deep", "shop")],
            [],
        ),
        ({**TLS, "hostname": "*.b.k8s.local"}, [secret(certificate("*.b.k8s.local"))], []),
    ],
)
def test_host_names_that_no_certificate_is_for_are_noted(listener: Any, secrets: Any, noted: list[str]) -> None:
    declared = [route(hostnames=["web.k8s.local", "a.b.k8s.local"])]
    looked_up = [
        {"kind": kind, "resources": found, "api_found": True} for kind, found in cluster(HTTP, listener).items()
    ]
    found = [{"resources": [one]} for one in secrets]
    notes = httproute_plan(declared, looked_up, certificates=found)["notes"]
    assert [note.split()[1] for note in notes] == noted
    assert all("is taken by the listener https of the Gateway main, whose certificate is for " in one for one in notes)


def test_services_of_other_namespaces_are_granted() -> None:
    backends = [{"service": name, "namespace": "shop"} for name in ("new", "old")]
    rules = [{"backends": [backends[0], "web"]}, {"paths": ["/old"], "backends": backends}]
    have = cluster(Service=[service("web"), service("new", "shop"), service("old", "shop")])
    made = plan([route(rules=rules)], have)
    assert names(made.apply) == ["ReferenceGrant shop/routes-from-default", "HTTPRoute default/web"]
    assert made.apply[0]["spec"] == {
        "from": [{"group": "gateway.networking.k8s.io", "kind": "HTTPRoute", "namespace": "default"}],
        "to": [{"group": "", "kind": "Service", "name": "new"}, {"group": "", "kind": "Service", "name": "old"}],
    }
    assert made.unmet == []


def test_what_is_declared_no_more_is_removed_and_nothing_else() -> None:
    def live(name: str, labels: dict[str, str]) -> dict[str, Any]:
        return thing(name, metadata={"labels": labels})

    other = {**OURS, "app.kubernetes.io/part-of": "others"}
    have = cluster(
        HTTPRoute=[live("web", OURS), live("old", OURS), live("theirs", other), live("by-hand", {})],
        ReferenceGrant=[live("routes-from-shop", OURS), live("theirs", other)],
    )
    made = plan([route()], have)
    assert sorted(names(made.remove)) == ["HTTPRoute default/old", "ReferenceGrant default/routes-from-shop"]
    assert made.faults == []
    assert len(plan([], have).remove) == 3
    for name in ("theirs", "by-hand"):
        (fault,) = plan([route(), route(name)], have).faults
        assert fault.startswith(
            "httproute_routes[1] is the HTTPRoute default/%s, which is there and is not of this" % name
        )


def test_a_cluster_without_the_gateway_api() -> None:
    lacking = {"Service": [service("web")], "Gateway": []}
    (fault,) = plan([route()], lacking, missing=["HTTPRoute", "Gateway"]).unmet
    assert fault.startswith("the cluster does not know HTTPRoute, Gateway: install the Gateway API")
    assert plan([], lacking, missing=["HTTPRoute"]).unmet == []


def from_namespaces(source: str, **selector: Any) -> dict[str, Any]:
    return {**HTTP, "allowedRoutes": {"namespaces": {"from": source, "selector": selector}}}


@pytest.mark.parametrize(
    ("declared", "have", "message"),
    [
        (route(gateways=["other"]), cluster(),
         "httproute_routes[0].gateways[0] is the Gateway default/other, which is not there: make it by the role "
         "gateway, or name one that is (default/main)"),
        (route(gateways=[{"name": "main", "listener": "https"}]), cluster(),
         "httproute_routes[0].gateways[0].listener https is not there: the Gateway default/main has http"),
        (route(), cluster({**HTTP, "protocol": "TLS"}),
         "httproute_routes[0].gateways[0] is the Gateway default/main, which takes no HTTPRoutes: name a listener"),
        (route(), cluster({**HTTP, "allowedRoutes": {"kinds": [{"kind": "GRPCRoute"}]}}),
         "httproute_routes[0].gateways[0] is the Gateway default/main, which takes no HTTPRoutes: name a listener"),
        (route(hostnames=["web.k8s.local", "web.example"]), cluster({**HTTP, "hostname": "*.k8s.local"}),
         "httproute_routes[0].hostnames[1] web.example is taken by no listener of its gateways"),
        (route(hostnames=["a.k8s.local"], gateways=[{"name": "main", "listener": name} for name in ("http", "https")]),
         cluster({**HTTP, "hostname": "b.k8s.local"}, HTTPS),
         "httproute_routes[0].gateways[0] takes none of the hostnames of the route: the Gateway default/main has the "
         "listeners http for b.k8s.local"),
        (route(rules=[{"backends": ["wep"]}]), cluster(),
         "httproute_routes[0].rules[0].backends[0] is the Service default/wep, which is not there"),
        (route(rules=[{"backends": [{"service": "web", "port": 81}]}]), cluster(),
         "httproute_routes[0].rules[0].backends[0].port 81 is not one of the Service default/web, which has 80"),
        (route(), cluster(Service=[service("web", protocol="UDP")]),
         "httproute_routes[0].rules[0].backends[0].port 80 is not one of the Service default/web, which has no tcp "
         "port"),
        (route(rules=[{"redirect": {"scheme": "https"}}]), cluster(HTTP, HTTPS),
         "httproute_routes[0].rules[0].redirect leads requests at the listener https of "
         "httproute_routes[0].gateways[0] back to it"),
    ],
)  # fmt: skip
def test_what_the_cluster_cannot_serve(declared: dict[str, Any], have: dict[str, Any], message: str) -> None:
    (fault,) = plan([declared], have).unmet
    assert fault.startswith(message)


@pytest.mark.parametrize(
    ("listener", "taken"),
    [
        (HTTP, False),
        (from_namespaces("All"), True),
        (from_namespaces("Same"), False),
        (from_namespaces("None"), False),
        (from_namespaces("Selector", matchLabels={"team": "red"}), True),
        (from_namespaces("Selector", matchLabels={"team": "blue"}), False),
    ],
)
def test_routes_of_other_namespaces(listener: dict[str, Any], taken: bool) -> None:
    declared = route(namespace="shop", gateways=[{"name": "main", "namespace": "default"}])
    unmet = plan([declared], cluster(listener, Service=[service("web", "shop")])).unmet
    assert unmet == [] if taken else "which takes no routes of the namespace shop" in unmet[0]


def test_a_redirect_of_the_other_listener() -> None:
    only_http = [{"name": "main", "listener": "http"}]
    declared = [
        route(gateways=only_http, rules=[{"redirect": {"scheme": "https"}}]),
        route("elsewhere", rules=[{"redirect": {"scheme": "https", "hostname": "other.example"}}]),
        route("proxied", rules=[{"headers": {"X-Forwarded-Proto": "http"}, "redirect": {"scheme": "https"}}]),
    ]
    assert plan(declared, cluster(HTTP, HTTPS)).unmet == []


@pytest.mark.parametrize(
    ("known", "notes"),
    [
        (["HTTPRouteMethodMatching"],
         ["httproute_routes[0].rules[0].timeout may have no effect: the GatewayClass traefik does not list "
          "HTTPRouteRequestTimeout"]),
        (["HTTPRouteMethodMatching", "HTTPRouteRequestTimeout"], []),
        ([], []),
    ],
)  # fmt: skip
def test_what_the_controller_does_not_know_is_said(known: list[str], notes: list[str]) -> None:
    status = {"supportedFeatures": [{"name": name} for name in known]}
    have = cluster(GatewayClass=[thing("traefik", "", status=status)])
    assert plan([route(rules=[{"methods": ["GET"], "backends": ["web"], "timeout": 9}])], have).notes == notes


@pytest.mark.parametrize(
    ("selector", "labels", "taken"),
    [
        ({}, {}, True),
        ({"matchLabels": {"a": "b"}}, {"a": "b", "c": "d"}, True),
        ({"matchLabels": {"a": "b"}}, {}, False),
        ({"matchExpressions": [{"key": "a", "operator": "In", "values": ["b"]}]}, {"a": "b"}, True),
        ({"matchExpressions": [{"key": "a", "operator": "In", "values": ["b"]}]}, {"a": "c"}, False),
        ({"matchExpressions": [{"key": "a", "operator": "NotIn", "values": ["b"]}]}, {}, True),
        ({"matchExpressions": [{"key": "a", "operator": "NotIn", "values": ["b"]}]}, {"a": "b"}, False),
        ({"matchExpressions": [{"key": "a", "operator": "Exists"}]}, {"a": ""}, True),
        ({"matchExpressions": [{"key": "a", "operator": "Exists"}]}, {}, False),
        ({"matchExpressions": [{"key": "a", "operator": "DoesNotExist"}]}, {}, True),
        ({"matchExpressions": [{"key": "a", "operator": "DoesNotExist"}]}, {"a": ""}, False),
    ],
)
def test_label_selectors(selector: dict[str, Any], labels: dict[str, str], taken: bool) -> None:
    assert selects(selector, labels) is taken


@pytest.mark.parametrize(
    ("first", "second", "both"),
    [
        ("", "", ""),
        ("", "a.b", "a.b"),
        ("*.b", "a.b", "a.b"),
        ("*.b", "c.a.b", "c.a.b"),
        ("*.b", "*.a.b", "*.a.b"),
        ("*.b", "b", None),
        ("*.b", "ab", None),
        ("a.b", "c.b", None),
    ],
)
def test_host_names_meet(first: str, second: str, both: str | None) -> None:
    assert meet(first, second) == meet(second, first) == both


HOSTS = ["a", "b", "a.b", "b.b", "c.a.b", "b.a", "a.a.b"]


@given(st.sampled_from(["", "*.b", "*.a.b", "*.a", *HOSTS]), st.sampled_from(["", "*.b", "*.a.b", "*.a", *HOSTS]))
def test_what_meets_is_what_both_take(one: str, other: str) -> None:
    """By enumeration of the hosts that each stands for."""

    def takes(pattern: str | None, host: str) -> bool:
        if pattern is None:
            return False
        return pattern in ("", host) or (pattern.startswith("*.") and host.endswith(pattern[1:]))

    both = meet(one, other)
    assert [takes(both, host) for host in HOSTS] == [takes(one, host) and takes(other, host) for host in HOSTS]


@pytest.mark.parametrize(
    ("names_of_route", "listeners", "found"),
    [
        (["web.k8s.local"], [HTTP, HTTPS], {"web.k8s.local": [VIP]}),
        ([], [{**HTTP, "hostname": "a.b"}, HTTPS], {"a.b": [VIP]}),
        (["*.b"], [{**HTTP, "hostname": "a.b"}], {"a.b": [VIP]}),
        (["a.b", "c.d"], [{**HTTP, "hostname": "*.b"}], {"a.b": [VIP]}),
        (["a.b"], [{**HTTP, "protocol": "TLS"}], {}),
    ],
)
def test_where_host_names_are_served(names_of_route: list[str], listeners: Any, found: dict[str, list[str]]) -> None:
    assert hostnames([route(hostnames=names_of_route)], read(cluster(*listeners))) == found


def test_addresses_of_several_gateways() -> None:
    second = {**gateway(addresses=[{"value": "172.16.0.90"}, {"type": "Hostname", "value": "lb.example"}])}
    second["metadata"] = {"name": "second", "namespace": "default"}
    declared = [route(gateways=["main", "second"], hostnames=["a.b"]), route("more", hostnames=["a.b", "c.d"])]
    have = cluster(Gateway=[gateway(), second])
    assert hostnames(declared, read(have)) == {"a.b": [VIP, "172.16.0.90"], "c.d": [VIP]}
    assert hostnames(declared, read(cluster(Gateway=[]))) == {}


def condition(kind: str, status: str = "True", reason: str = "", generation: int = 3, message: str = "") -> Any:
    return {
        "type": kind, "status": status, "reason": reason or kind, "observedGeneration": generation, "message": message,
    }  # fmt: skip


def reported(*conditions: Any, **parent: Any) -> dict[str, Any]:
    return {"parentRef": {"name": "main", **parent}, "conditions": list(conditions)}


def report(*parents: dict[str, Any], **kinds: Any) -> list[str]:
    live = thing("web", metadata={"generation": 3}, status={"parents": list(parents)})
    return pending([route()], read(cluster(**{"HTTPRoute": [live], **kinds})))


WORKS = (condition("Accepted"), condition("ResolvedRefs"))


@pytest.mark.parametrize(
    "parents",
    [
        [reported(*WORKS)],
        [reported(*WORKS, namespace="default")],
        # A controller that speaks of each listener, one of which does not take the host name.
        [
            reported(condition("Accepted", "False"), *WORKS[1:], sectionName="https"),
            reported(*WORKS, sectionName="http"),
        ],
        [{**reported(), "parentRef": {"name": "other"}}, reported(*WORKS)],
    ],
)
def test_a_route_that_works(parents: list[dict[str, Any]]) -> None:
    assert report(*parents) == []


@pytest.mark.parametrize(
    ("parents", "kinds", "lines"),
    [
        ([], {}, ["no controller has said anything of it"]),
        ([reported(*WORKS, namespace="shop")], {}, ["no controller has said anything of it"]),
        ([], {"Gateway": [gateway(conditions=[])]},
         ["no controller has said anything of it",
          "  no controller has taken the Gateway: see that one for the GatewayClass traefik is installed and runs"]),
        ([reported(condition("Accepted", generation=2), WORKS[1])], {},
         ["Accepted is Unknown (Pending): its controller has not seen the change yet"]),
        ([reported(WORKS[0])], {}, ["ResolvedRefs is Unknown (Pending): its controller has not seen the change yet"]),
        ([reported(WORKS[0], condition("ResolvedRefs", "False", "BackendNotFound", message="no\nService \x1b[31m"))],
         {},
         ["ResolvedRefs is False (BackendNotFound): no Service \\x1b[31m",
          "  a Service, its port or its endpoints are not there: make them, or name another one"]),
        ([reported(condition("Accepted", "False", "NoMatchingParent"), WORKS[1])],
         {"Gateway": [gateway(listeners=[{"name": "https", "conditions": [
             condition("ResolvedRefs", "False", "InvalidCertificateRef", message="no Secret")]}])]},
         ["Accepted is False (NoMatchingParent)",
          "  the listener is not there, or does not work, for instance for want of a certificate",
          "  its listener https: ResolvedRefs is False (InvalidCertificateRef): no Secret"]),
        ([], {"Gateway": []}, ["no controller has said anything of it", "  the Gateway is not there any more"]),
    ],
)  # fmt: skip
def test_why_a_route_does_not_work(parents: Any, kinds: dict[str, Any], lines: list[str]) -> None:
    head = "HTTPRoute default/web at the Gateway default/main: "
    assert report(*parents, **kinds) == [head + lines[0], *lines[1:]]


def test_a_route_that_somebody_removed() -> None:
    assert report(HTTPRoute=[]) == ["HTTPRoute default/web: somebody has removed it"]


def test_a_long_message_is_cut() -> None:
    (line, *dummy) = report(reported(condition("Accepted", "False", message="x" * 5000), WORKS[1]))
    assert len(line) < 600 and line.endswith(" ...")
