# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the verification reads from the API: which Services have an address, who announces it, and why not."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.homelab.loadbalancer.plugins.plugin_utils._external_access import plan as planner
from ansible_collections.homelab.loadbalancer.tests.unit.cluster_objects import (
    EXCLUDED,
    NO_METALLB,
    NODES,
    VIP,
    cluster,
    endpoints,
    event,
    external_access_view,
    lost_node,
    nodes_excluded,
    only,
    pod,
    pool,
    refusal,
    route,
    service,
    thing,
    usual,
    workload,
)


def test_view_of_a_service_that_is_announced() -> None:
    view = external_access_view(cluster())
    assert only(view) == {
        "name": "default/web",
        "addresses": [VIP],
        "names": [],
        "aside": "",
        "ports": [{"port": 80, "protocol": "http", "declared": "80", "targets": [8080]}],
        "endpoints": 1,
        "endpoint_nodes": ["worker1"],
        "local": False,
        "source_ranges": [],
        "pool": "public",
        "protocols": ["layer2"],
        "announcers": ["worker1"],
        "pending": None,
        "unannounced": None,
    }
    assert view["metallb"] == {"installed": True, "controller": "", "class": ""}
    assert view["targets"]["client"] == [{"address": VIP, "port": 80, "protocol": "http", "path": "/", "host": ""}]
    assert view["targets"]["addresses"] == sorted([VIP, *NODES.values()])
    assert len(view["targets"]["node"]) == 6
    assert {"address": NODES["worker2"], "port": 7946, "protocol": "udp"} in view["targets"]["node"]


def test_unverifiable_ports_are_skipped() -> None:
    alone = cluster(Pod=[pod("speaker", "worker1")], Service=[service("web")])
    targets = external_access_view(alone)["targets"]
    assert targets == {"node": [], "client": [], "addresses": []}


@pytest.mark.parametrize(
    ("port", "protocol"),
    [
        ({"port": 80}, "http"),
        ({"port": 8080, "protocol": "TCP"}, "http"),
        ({"port": 80, "name": "https-web"}, "tcp"),
        ({"port": 80, "appProtocol": "https"}, "tcp"),
        ({"port": 443}, "tcp"),
        ({"port": 5432, "name": "httpd"}, "tcp"),
        ({"port": 3000, "name": "http"}, "http"),
        ({"port": 3000, "name": "http-web"}, "http"),
        ({"port": 3000, "appProtocol": "http"}, "http"),
        ({"port": 80, "protocol": "UDP"}, "udp"),
        ({"port": 53, "protocol": "SCTP"}, "sctp"),
    ],
)
def test_probe_is_chosen_by_port(port: dict[str, Any], protocol: str) -> None:
    entry = only(external_access_view(cluster(Service=[service("web", VIP, ports=[port])])))
    assert [(one["port"], one["protocol"]) for one in entry["ports"]] == [(port["port"], protocol)]


NO_ADDRESS = {"ServiceL2Status": [], "Event": [refusal("no available IPs")]}


@pytest.mark.parametrize(
    ("kinds", "cause", "remedy"),
    [
        (
            NO_METALLB,
            "no pod of MetalLB is found, and no other load balancer of the cluster has given it an address",
            "the role metallb",
        ),
        (
            {"Service": [service(loadBalancerClass="cloud")]},
            "its loadBalancerClass is cloud, which is another controller's than MetalLB",
            "look at that controller",
        ),
        (
            {"Pod": [pod("speaker", "worker1", "--lb-class=home")]},
            "it has no loadBalancerClass, MetalLB serves only the class home, and no other load balancer",
            "the loadBalancerClass home",
        ),
        (
            {"Pod": [pod("controller", "worker2", conditions=[])], "Node": [lost_node("worker2")]},
            "does not run: the node worker2 is NotReady (NodeStatusUnknown: Kubelet stopped posting node status.)",
            "",
        ),
        (
            {**NO_ADDRESS, "Service": [service(ipFamilies=["IPv6"])]},
            "public (172.16.0.100-172.16.0.101) has no IPv6 address, which the Service asks for",
            "",
        ),
        (
            {
                "Pod": [
                    pod(
                        "controller",
                        "worker1",
                        conditions=[],
                        containerStatuses=[{"state": {"waiting": {"reason": "ImagePullBackOff"}}}],
                    )
                ]
            },
            "MetalLB's controller, which gives out the addresses, does not run: ImagePullBackOff",
            "kubectl describe pod",
        ),
        ({"Pod": [pod("speaker", "worker1")]}, "does not run: there is no pod of it", ""),
        ({"IPAddressPool": []}, "there is no IPAddressPool", "role metallb_pool"),
        (NO_ADDRESS, "no pool has an address for it: public (172.16.0.100-172.16.0.101) is used up", "add addresses"),
        (
            {**NO_ADDRESS, "IPAddressPool": [pool(autoAssign=False)]},
            "public gives addresses only to those who ask for them",
            "",
        ),
        (
            {**NO_ADDRESS, "IPAddressPool": [pool(serviceAllocation={"namespaces": ["a", "b"]}), pool("second")]},
            "public is for the namespaces a, b; second (172.16.0.100-172.16.0.101) is used up",
            "",
        ),
        (
            {**NO_ADDRESS, "IPAddressPool": [pool(serviceAllocation={"serviceSelectors": [{}]})]},
            "is used up, or its selectors leave the Service out",
            "",
        ),
        (
            {**NO_ADDRESS, "Service": [service(annotations={"metallb.universe.tf/address-pool": "gold"})]},
            "public is not the pool that it asks for, gold",
            "",
        ),
        (
            {"Event": [refusal('["10.0.0.1"] is not allowed in config')]},
            'MetalLB refuses what it asks for: ["10.0.0.1"] is not allowed in config',
            "public (172.16.0.100-172.16.0.101)",
        ),
        ({"Event": [refusal('unknown pool "gold"')]}, 'refuses what it asks for: unknown pool "gold"', "public ("),
        (
            {"Event": [refusal("no available IPs"), refusal("port 80 is in use", at="2026-01-02T00:00:00Z")]},
            "MetalLB refuses it: port 80 is in use",
            "",
        ),
        (
            {"Event": [event("of another controller", source={"component": "x"}), event("Assigned IP", kind="Normal")]},
            "MetalLB has not said why",
            "the log of MetalLB's controller",
        ),
        ({"Event": [refusal("\x1b]0;evil\x07\nline")]}, "\\x1b]0;evil\\x07 line", ""),
    ],
)
def test_pending_service_is_explained(kinds: dict[str, Any], cause: str, remedy: str) -> None:
    entry = only(external_access_view(cluster(**{"Service": [service()], **kinds})))
    assert entry["addresses"] == []
    assert cause in entry["pending"]["cause"]
    assert remedy in entry["pending"]["remedy"]


@pytest.mark.parametrize(
    ("kinds", "cause"),
    [
        (NO_METALLB, "MetalLB gave it the address, and no pod of MetalLB is found any more"),
        ({"EndpointSlice": [endpoints(ready=False)]}, "it has no endpoint that is ready"),
        ({"L2Advertisement": [thing("x", spec={"ipAddressPools": ["other"]})]}, "no advertisement covers its pool"),
        (
            {"Pod": [pod("controller", "worker1"), pod("speaker", "worker2", conditions=[])]},
            "no speaker of MetalLB runs: Running, not ready on worker2",
        ),
        ({"Node": nodes_excluded()}, "all nodes with a speaker have the label " + EXCLUDED),
        (
            {
                "Service": [service("web", VIP, externalTrafficPolicy="Local")],
                "EndpointSlice": [endpoints("elsewhere")],
            },
            "none of its endpoints is on a node that announces addresses: control1, worker1, worker2",
        ),
        # Nothing speaks against it.
        ({}, None),
        ({"EndpointSlice": [endpoints(ready=None)]}, None),
        ({"L2Advertisement": [thing("x")]}, None),
        ({"L2Advertisement": [thing("x", spec={"ipAddressPoolSelectors": [{}]})]}, None),
        ({"L2Advertisement": [], "BGPAdvertisement": [thing("x", spec={})]}, None),
        ({"Node": nodes_excluded(), "Pod": [pod("speaker", "worker1", "--ignore-exclude-lb")]}, None),
        ({"Service": [service("web", VIP, externalTrafficPolicy="Local")]}, None),
    ],
)
def test_missing_announcement_is_explained(kinds: dict[str, Any], cause: str | None) -> None:
    found = only(external_access_view(cluster(**{"ServiceL2Status": [], **kinds})))["unannounced"]
    assert (found is None) == (cause is None)
    assert cause is None or cause in found["cause"]


FOREIGN = {"loadBalancerClass": "tailscale"}
OTHER = "its loadBalancerClass tailscale is not MetalLB's, but of another controller, whose matter it is"
STOPPED = "stopped: replicas of the Deployment default/web is 0"
SELECTED = {"selector": {"app": "web"}}


def named(hostname: str) -> dict[str, Any]:
    return {**service("web"), "status": {"loadBalancer": {"ingress": [{"hostname": hostname}]}}}


@pytest.mark.parametrize(
    ("kinds", "aside"),
    [
        ({"Service": [service(**FOREIGN)]}, OTHER),
        ({"Service": [service("web", "100.101.102.103", **FOREIGN)]}, OTHER),
        ({"Service": [service(**FOREIGN)], **NO_METALLB}, OTHER),
        ({"Service": [service(**FOREIGN)], "Pod": [pod("speaker", "worker1", "--lb-class=tailscale")]}, ""),
        ({"Service": [named("box.example.net")]}, "a name that another load balancer than MetalLB gave"),
        ({"Service": [service("web", VIP, **SELECTED)], "Deployment": [workload("Deployment", 0)]}, STOPPED),
        (
            {"Service": [service("web", VIP, **SELECTED)], "StatefulSet": [workload("StatefulSet", 0)]},
            "stopped: replicas of the StatefulSet default/web is 0",
        ),
        # Nobody declares it to be stopped.
        ({"Service": [service("web", VIP, **SELECTED)], "Deployment": [workload("Deployment", 2)]}, ""),
        ({"Service": [service("web", VIP, **SELECTED)], "Deployment": [workload("Deployment")]}, ""),
        ({"Service": [service("web", VIP, **SELECTED)], "Deployment": [workload("Deployment", 0, {"app": "x"})]}, ""),
        ({"Service": [service("web", VIP)], "Deployment": [workload("Deployment", 0)]}, ""),
        ({"Service": [service("web", VIP, **SELECTED)]}, ""),
    ],
)
def test_ignored_services_are_named(kinds: dict[str, Any], aside: str) -> None:
    view = external_access_view(cluster(**{"EndpointSlice": [], **kinds}))
    assert only(view)["aside"] == aside
    if aside:
        assert (view["targets"]["client"], view["targets"]["addresses"]) == ([], [])
        assert only(view)["unannounced"] is None


def test_pods_that_are_ready_are_not_stopped() -> None:
    found = cluster(Service=[service("web", VIP, **SELECTED)], Deployment=[workload("Deployment", 0)])
    assert only(external_access_view(found))["aside"] == ""


@pytest.mark.parametrize(
    ("routes", "asked"),
    [
        ([route("web.k8s.local")], False),
        ([route("*.k8s.local", type="PathPrefix", value="/app")], False),
        ([route(type="Exact", value="/app/page")], False),
        ([route("web.k8s.local", value="/other")], True),
        ([route("other.k8s.local")], True),
        ([route("web.k8s.local", service="gone")], True),
        ([], True),
    ],
)
def test_urls_of_stopped_services_are_skipped(routes: list[dict[str, Any]], asked: bool) -> None:
    url = "http://web.k8s.local/app/page?x=1"
    web = {"Service": [thing("web", "default", spec={"type": "ClusterIP", "ports": [{"port": 80}], **SELECTED})]}
    kinds = {**web, "Deployment": [workload("Deployment", 0)], "EndpointSlice": [], "HTTPRoute": routes}
    view = external_access_view(cluster(**kinds), urls=[url])
    assert (view["urls"], view["urls_aside"]) == (([url], {}) if asked else ([], {url: STOPPED}))
    assert len(view["targets"]["client"]) == int(asked)


def test_announcers_from_events() -> None:
    """MetalLB's own word counts more; without it the last event does."""
    said = 'announcing from node "%s" with protocol "%s"'
    events = [
        event(said % ("worker2", "layer2"), "Normal", "2026-01-02T00:00:00Z", reason="nodeAssigned"),
        event(said % ("control1", "layer2"), "Normal", "2026-01-01T00:00:00Z", reason="nodeAssigned"),
        event(said % ("worker1", "bgp"), "Normal", "2026-01-03T00:00:00Z", reason="nodeAssigned"),
    ]
    assert only(external_access_view(cluster(Event=events)))["announcers"] == ["worker1"]
    assert only(external_access_view(cluster(Event=events, ServiceL2Status=[])))["announcers"] == ["worker2"]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("web", "external_access_services[0] web is not in the cluster: write NAMESPACE/NAME of a Service"),
        ("default/kubernetes", "external_access_services[0] default/kubernetes is of the type ClusterIP"),
    ],
)
def test_unverifiable_services_are_named(name: str, message: str) -> None:
    view = external_access_view(cluster(), [name, "default/web"])
    (said,) = view["refused"]
    assert message in said
    assert only(view)["name"] == "default/web"


def test_urls_of_https() -> None:
    view = external_access_view(cluster(Service=[]), urls=["https://web.k8s.local/", "https://web:8443/a"], ca="PEM")
    assert view["ca"] == "PEM"
    assert view["targets"]["client"] == [
        {"host": "web.k8s.local", "port": 443, "protocol": "https", "path": "/"},
        {"host": "web", "port": 8443, "protocol": "https", "path": "/a"},
    ]


@pytest.mark.parametrize(
    ("url", "host", "port", "path"),
    [
        ("http://web.staging.k8s.local", "web.staging.k8s.local", 80, "/"),
        ("http://Web.k8s.local:8080/a/b?c=d#e", "web.k8s.local", 8080, "/a/b?c=d"),
        ("HTTP://web?c", "web", 80, "/?c"),
        ("http://172.16.0.100/", "172.16.0.100", 80, "/"),
        ("http://[fd00::100]:81/", "fd00::100", 81, "/"),
    ],
)
def test_urls_are_asked_last(url: str, host: str, port: int, path: str) -> None:
    view = external_access_view(cluster(), urls=[url, url])
    target = {"host": host, "port": port, "protocol": "http", "path": path}
    assert [one.get("address", "") for one in view["targets"]["client"]] == [VIP, ""]
    assert view["targets"]["client"][-1] == target
    assert (view["urls"], view["refused"]) == ([url], [])
    assert external_access_view(cluster(Service=[]), urls=[url])["targets"]["client"] == [target]


@pytest.mark.parametrize(
    "url",
    [
        "ftp://x",
        "https:///path",
        "http://user@web.k8s.local/",
        "http:///path",
        "web.k8s.local",
        "",
        "http://web:0/",
        "http://web:port/",
        "http://web:70000/",
        "http://[web/",
        "http://b\u00fccher.k8s.local/",
        "http://\u212a8s.local/",
        "http://web/a b",
        "http://web/\r\nX: y",
        "http://web/\x1b[2J",
        "http://we%62/",
    ],
)
def test_invalid_urls_are_refused(url: str) -> None:
    view = external_access_view(cluster(), urls=["http://web/", url])
    (said,) = view["refused"]
    assert said.startswith("external_access_urls[1] ")
    assert said.endswith(" is not a URL that can be asked: write it as http://NAME[:PORT][/PATH], or with https")
    assert said.isprintable()
    assert view["urls"] == ["http://web/"]


@pytest.mark.parametrize(
    ("kinds", "urls", "asked"),
    [
        ({}, (), False),
        ({"HTTPRoute": [route("web.k8s.local")]}, ("http://web.k8s.local/",), False),
        ({"Service": [service("web")]}, (), True),  # it has no address
        ({"ServiceL2Status": []}, (), True),  # nobody announces it
        ({"EndpointSlice": []}, (), True),
        ({"HTTPRoute": [route("web.k8s.local")], "EndpointSlice": []}, ("http://web.k8s.local/",), True),
    ],
)
def test_reasons_are_read_where_something_needs_one(kinds: dict[str, Any], urls: tuple[str, ...], asked: bool) -> None:
    options = {"services": (), "metallb_namespace": "metallb-system", **usual(urls=urls)}
    objects = cluster(**kinds)

    def answers(queries: Any) -> list[dict[str, Any]]:
        return [{"kind": one["kind"], "resources": objects.get(one["kind"], [])} for one in queries]

    found = answers(planner.queries(options))
    made = planner.plan(options, found)
    assert bool(made.look) is asked
    assert not planner.plan(options, [*found, *answers(planner.REASONS)]).look
