# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The plan of HTTP routes: applied and removed objects, refusals, and addresses of host names."""

from __future__ import annotations

from typing import Any, Sequence

import pytest

from ansible_collections.homelab.loadbalancer.plugins.module_utils._common.errors import InputError
from ansible_collections.homelab.loadbalancer.plugins.plugin_utils._httproute import cluster as clusters
from ansible_collections.homelab.loadbalancer.plugins.plugin_utils._httproute import plan as planner
from ansible_collections.homelab.loadbalancer.plugins.plugin_utils._httproute.input import parse_routes
from ansible_collections.homelab.loadbalancer.plugins.plugin_utils._k8s.model import Apply, Outcome, Plan, Remove, Until
from ansible_collections.homelab.loadbalancer.tests.unit.httproute.objects import (
    HTTP,
    HTTPS,
    OURS,
    VIP,
    WORKS,
    answers,
    cluster,
    gateway,
    options,
    reported,
    route,
    service,
    thing,
)


def hostnames(declared: list[dict[str, Any]], kinds: dict[str, Any]) -> dict[str, list[str]]:
    return clusters.hostnames(parse_routes(declared), clusters.by_name(answers(kinds)))


def plan(declared: list[dict[str, Any]], have: dict[str, Any], unknown: Sequence[str] = (), **more: Any) -> Plan:
    return planner.plan(options(declared, **more), answers(have, unknown))


def applied(made: Plan) -> list[Any]:
    return [obj for step in made.steps if isinstance(step, Apply) for obj in step.objects]


def removed(made: Plan) -> list[Any]:
    return [obj for step in made.steps if isinstance(step, Remove) for obj in step.objects]


def names(objects: list[dict[str, Any]]) -> list[str]:
    return ["%s %s/%s" % (obj["kind"], obj["metadata"]["namespace"], obj["metadata"]["name"]) for obj in objects]


def test_servable_route_is_applied() -> None:
    made = plan([route(hostnames=["web.k8s.local"])], cluster())
    assert names(applied(made)) == ["HTTPRoute default/web"]
    assert applied(made)[0]["metadata"]["labels"] == OURS
    assert [type(step) for step in made.steps] == [Apply, Until]
    assert (made.refusals, made.unmet, made.notes, made.look) == ([], [], [], [])


def test_an_object_has_what_the_api_server_would_add() -> None:
    rules = [{"backends": ["web"]}, {"methods": ["GET"], "paths": ["/a"], "redirect": {"scheme": "https"}}]
    (made,) = applied(plan([route(rules=rules)], cluster()))
    gateway_ref = {"group": "gateway.networking.k8s.io", "kind": "Gateway", "name": "main", "namespace": "default"}
    assert made["spec"]["parentRefs"] == [gateway_ref]
    first, second = made["spec"]["rules"]
    assert first["matches"] == [{"path": {"type": "PathPrefix", "value": "/"}}]
    assert first["backendRefs"] == [{"group": "", "kind": "Service", "name": "web", "port": 80, "weight": 1}]
    assert second["matches"] == [{"path": {"type": "PathPrefix", "value": "/a"}, "method": "GET"}]
    assert "backendRefs" not in second


def test_services_of_other_namespaces_are_granted() -> None:
    backends = [{"service": name, "namespace": "shop"} for name in ("new", "old")]
    rules = [{"backends": [backends[0], "web"]}, {"paths": ["/old"], "backends": backends}]
    have = cluster(Service=[service("web"), service("new", "shop"), service("old", "shop")])
    made = plan([route(rules=rules)], have)
    assert names(applied(made)) == ["ReferenceGrant shop/routes-from-default", "HTTPRoute default/web"]
    assert applied(made)[0]["spec"] == {
        "from": [{"group": "gateway.networking.k8s.io", "kind": "HTTPRoute", "namespace": "default"}],
        "to": [{"group": "", "kind": "Service", "name": "new"}, {"group": "", "kind": "Service", "name": "old"}],
    }
    assert made.unmet == []


def test_undeclared_routes_removed_others_kept() -> None:
    def live(name: str, labels: dict[str, str]) -> dict[str, Any]:
        return thing(name, metadata={"labels": labels})

    other = {**OURS, "app.kubernetes.io/part-of": "others"}
    have = cluster(
        HTTPRoute=[live("web", OURS), live("old", OURS), live("theirs", other), live("by-hand", {})],
        ReferenceGrant=[live("routes-from-shop", OURS), live("theirs", other)],
    )
    made = plan([route()], have)
    assert sorted(names(removed(made))) == ["HTTPRoute default/old", "ReferenceGrant default/routes-from-shop"]
    assert made.refusals == []
    assert len(removed(plan([], have))) == 3
    for name in ("theirs", "by-hand"):
        (fault,) = plan([route(), route(name)], have).refusals
        assert fault.startswith(
            "httproute_routes[1] is the HTTPRoute default/%s, which is there and is not of this" % name
        )


def test_undeclared_routes_kept_with_remove_undeclared_false() -> None:
    have = cluster(HTTPRoute=[thing("old", metadata={"labels": OURS})])
    assert [type(step) for step in plan([route()], have).steps] == [Apply, Until, Remove]
    assert removed(plan([route()], have, remove_undeclared=False)) == []
    gone = plan([], have, state="absent", remove_undeclared=False)
    assert (names(removed(gone)), applied(gone)) == (["HTTPRoute default/old"], [])


@pytest.mark.parametrize("call", [planner.queries, lambda given: planner.plan(given, [])])
def test_invalid_declaration_is_refused(call: Any) -> None:
    with pytest.raises(InputError, match=r"^httproute_routes is undefined or null: declare the routes, or write"):
        call(options(None))
    with pytest.raises(InputError, match=r"^httproute_part_of Ours is not "):
        planner.plan(options([], part_of="Ours"), [])


def test_empty_declaration_reads_little() -> None:
    assert [query["kind"] for query in planner.queries(options(None, state="absent"))] == [
        "ReferenceGrant",
        "HTTPRoute",
    ]
    assert len(planner.queries(options([route()]))) == 6


def test_wait_names_missing_parts_and_returns_its_last_read() -> None:
    made = plan([route(hostnames=["web.k8s.local"])], cluster(Gateway=[gateway(addresses=[])]))
    until = made.steps[1]
    assert isinstance(until, Until) and until.failure == "the routes do not work after 60 s."
    live = thing("web", metadata={"generation": 3}, status={"parents": [reported(*WORKS)]})
    assert until.missing(answers(cluster(HTTPRoute=[]))) == ["HTTPRoute default/web: it was removed meanwhile"]
    seen = answers(cluster(HTTPRoute=[live]))
    assert until.missing(seen) == []
    assert callable(made.result)
    assert made.result(Outcome()) == {"hostnames": {"web.k8s.local": []}}
    assert made.result(Outcome(seen=[seen])) == {"hostnames": {"web.k8s.local": [VIP]}}


def test_cluster_without_the_gateway_api_is_refused() -> None:
    lacking = {"Service": [service("web")], "Gateway": []}
    (fault,) = plan([route()], lacking, unknown=["HTTPRoute", "Gateway"]).unmet
    assert fault.startswith("the cluster does not know HTTPRoute, Gateway: install the Gateway API")
    assert plan([], lacking, unknown=["HTTPRoute"]).unmet == []


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
def test_unservable_routes_are_refused(declared: dict[str, Any], have: dict[str, Any], message: str) -> None:
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


def test_redirects_without_a_loop_are_accepted() -> None:
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
def test_options_unknown_to_the_controller_are_noted(known: list[str], notes: list[str]) -> None:
    status = {"supportedFeatures": [{"name": name} for name in known]}
    have = cluster(GatewayClass=[thing("traefik", "", status=status)])
    assert plan([route(rules=[{"methods": ["GET"], "backends": ["web"], "timeout": 9}])], have).notes == notes


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
def test_host_names_have_the_addresses_of_their_gateways(
    names_of_route: list[str], listeners: Any, found: dict[str, list[str]]
) -> None:
    assert hostnames([route(hostnames=names_of_route)], cluster(*listeners)) == found


def test_addresses_of_several_gateways() -> None:
    second = {**gateway(addresses=[{"value": "172.16.0.90"}, {"type": "Hostname", "value": "lb.example"}])}
    second["metadata"] = {"name": "second", "namespace": "default"}
    declared = [route(gateways=["main", "second"], hostnames=["a.b"]), route("more", hostnames=["a.b", "c.d"])]
    have = cluster(Gateway=[gateway(), second])
    assert hostnames(declared, have) == {"a.b": [VIP, "172.16.0.90"], "c.d": [VIP]}
    assert hostnames(declared, cluster(Gateway=[])) == {}
