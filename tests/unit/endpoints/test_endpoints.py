# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Endpoints of Services without a selector: what may be declared, and what it means in a cluster."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.homelab.loadbalancer.plugins.module_utils._common.errors import InputError
from ansible_collections.homelab.loadbalancer.plugins.plugin_utils._endpoints import plan as planner
from ansible_collections.homelab.loadbalancer.plugins.plugin_utils._endpoints.objects import (
    LABELS,
    MAX_ENDPOINTS,
    SLICE_MANAGED_BY,
)
from ansible_collections.homelab.loadbalancer.plugins.plugin_utils._k8s.model import Apply, Plan, Remove

ENTRY = "endpoints_services[0]"
DB: dict[str, Any] = {"name": "db", "addresses": ["172.16.0.30"], "ports": [{"port": 5432}]}


def entry(**changes: Any) -> dict[str, Any]:
    """The entry DB with changes; what is None is left out."""
    return {key: value for key, value in {**DB, **changes}.items() if value is not None}


def thing(kind: str, name: str, labels: dict[str, str] | None = None, **rest: Any) -> dict[str, Any]:
    metadata = {"name": name, "namespace": "default", "uid": name, "labels": labels or {}, **rest.pop("metadata", {})}
    return {"kind": kind, "metadata": metadata, **rest}


def service(name: str = "db", ours: bool = False, **spec: Any) -> dict[str, Any]:
    content = {"clusterIPs": ["10.96.0.7"], "ports": [{"port": 5432, "protocol": "TCP"}], **spec}
    return thing("Service", name, LABELS if ours else {}, spec=content)


def endpoint_slice(name: str, of: str = "db", ours: bool = True, manager: str = "somebody") -> dict[str, Any]:
    labels = {"kubernetes.io/service-name": of, SLICE_MANAGED_BY: manager}
    return thing("EndpointSlice", name, {**labels, **(LABELS if ours else {})})


def pod(name: str, *addresses: str, ready: str = "True", phase: str = "Running", **metadata: Any) -> dict[str, Any]:
    return thing(
        "Pod",
        name,
        metadata={"labels": {"app": "db", "tier": "one"}, **metadata},
        spec={"nodeName": "worker1"},
        status={
            "phase": phase,
            "podIPs": [{"ip": address} for address in addresses],
            "conditions": [{"type": "Ready", "status": ready}],
        },
    )


def options(declared: Any, **others: Any) -> dict[str, Any]:
    """The options of the module, as the role gives them."""
    return {"state": "present", "services": declared, "prefix": "endpoints_", **others}


def plan(declared: Any, *objects: dict[str, Any], **others: Any) -> Plan:
    kinds = [query["kind"] for query in planner.queries(options(declared, **others))]
    found = [{"kind": kind, "resources": [one for one in objects if one["kind"] == kind]} for kind in kinds]
    return planner.plan(options(declared, **others), found)


def applied(made: Plan) -> list[Any]:
    """The objects that a plan applies."""
    [step] = [step for step in made.steps if isinstance(step, Apply)]
    return list(step.objects)


def removed(made: Plan) -> list[Any]:
    """The objects that a plan removes."""
    [step] = [step for step in made.steps if isinstance(step, Remove)]
    return list(step.objects)


def names(objects: list[dict[str, Any]]) -> list[str]:
    return ["%s %s" % (one["kind"], one["metadata"]["name"]) for one in objects]


def test_a_host_outside_the_cluster() -> None:
    made = plan([DB], service())
    assert applied(made) == [
        {
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": {
                "name": "db-ipv4-1",
                "namespace": "default",
                "labels": {
                    "app.kubernetes.io/managed-by": "homelab.loadbalancer",
                    "homelab.loadbalancer/role": "endpoints",
                    "kubernetes.io/service-name": "db",
                    "endpointslice.kubernetes.io/managed-by": "homelab.loadbalancer",
                },
            },
            "addressType": "IPv4",
            "ports": [{"name": "", "port": 5432, "protocol": "TCP"}],
            "endpoints": [{"addresses": ["172.16.0.30"], "conditions": {"ready": True}}],
        }
    ]
    assert removed(made) == []
    assert (made.refusals, made.unmet, made.notes) == ([], [], [])


def test_managed_service_is_created() -> None:
    ports = [{"name": "sql", "port": 5432}, {"name": "dns", "port": 53, "target_port": 5353, "protocol": "udp"}]
    declared = [entry(manage_service=True, addresses=["172.16.0.30", "fd00::30"], ports=ports)]
    first, *slices = applied(plan(declared))
    assert first["spec"] == {
        "ports": [
            {"name": "sql", "port": 5432, "protocol": "TCP", "targetPort": 5432},
            {"name": "dns", "port": 53, "protocol": "UDP", "targetPort": 5353},
        ],
        "ipFamilyPolicy": "RequireDualStack",
    }
    assert [one["addressType"] for one in slices] == ["IPv4", "IPv6"]
    assert slices[0]["ports"][1] == {"name": "dns", "port": 5353, "protocol": "UDP"}
    (only_ipv6, *dummy) = applied(plan([entry(manage_service=True, addresses=["fd00::30"])]))
    assert only_ipv6["spec"]["ipFamilies"] == ["IPv6"]


@given(st.lists(st.ip_addresses().map(str), unique=True, max_size=250).filter(lambda them: not any(map(odd, them))))
def test_every_address_is_in_one_slice_of_its_family(addresses: list[str]) -> None:
    made = plan([entry(addresses=addresses)], service())
    placed = []
    for one in applied(made):
        assert 0 < len(one["endpoints"]) <= MAX_ENDPOINTS
        for endpoint in one["endpoints"]:
            assert (":" in endpoint["addresses"][0]) == (one["addressType"] == "IPv6")
            placed += endpoint["addresses"]
    assert sorted(placed) == sorted(addresses)
    assert len(set(names(applied(made)))) == len(applied(made))
    assert bool(made.notes) == (addresses == [])


def odd(address: str) -> bool:
    """Whether no endpoint may have this address, or it may be spelt in two ways."""
    try:
        (made,) = applied(plan([entry(addresses=[address])], service()))
    except InputError:
        return True
    return bool(made["endpoints"][0]["addresses"] != [address])


def test_pods_by_their_labels() -> None:
    declared = [entry(addresses=None, selector={"app": "db"})]
    pods = [
        pod("b", "10.244.1.3", "fd00:244::3", ready="False"),
        pod("a", "10.244.1.2"),
        pod("leaving", "10.244.1.4", deletionTimestamp="2026-01-01T00:00:00Z"),
        pod("ended", "10.244.1.5", phase="Succeeded"),
        pod("coming"),
        pod("else", "10.244.1.6", labels={"app": "web"}),
        pod("far", "10.244.1.7", namespace="far"),
    ]
    made = plan(declared, service(), *pods)
    assert names(applied(made)) == ["EndpointSlice db-ipv4-1", "EndpointSlice db-ipv6-1"]
    found = {one["addresses"][0]: one for one in applied(made)[0]["endpoints"]}
    assert list(found) == ["10.244.1.2", "10.244.1.3", "10.244.1.4"]
    assert found["10.244.1.2"] == {
        "addresses": ["10.244.1.2"],
        "conditions": {"ready": True, "serving": True, "terminating": False},
        "nodeName": "worker1",
        "targetRef": {"kind": "Pod", "name": "a", "namespace": "default", "uid": "a"},
    }
    assert found["10.244.1.3"]["conditions"] == {"ready": False, "serving": False, "terminating": False}
    assert found["10.244.1.4"]["conditions"] == {"ready": False, "serving": True, "terminating": True}
    assert made.notes == []


@pytest.mark.parametrize("pods", [[], [pod("a", "10.244.1.2", ready="False")]])
def test_without_ready_pods_there_are_no_endpoints(pods: list[dict[str, Any]]) -> None:
    made = plan([entry(addresses=None, selector={"app": "db", "tier": "one"})], service(), *pods)
    assert made.notes == ["Service default/db has no ready endpoint: it refuses connections"]


def test_undeclared_objects_removed_others_kept() -> None:
    objects = [
        service(ours=True),
        service("old", ours=True),
        service("other", ports=[]),
        thing("Service", "web", {"app.kubernetes.io/managed-by": "homelab.loadbalancer"}, spec={}),
        endpoint_slice("db-ipv4-1"),
        endpoint_slice("db-ipv4-2"),
        endpoint_slice("old-ipv4-1", "old"),
        endpoint_slice("web-abcde", "web", ours=False),
    ]
    # Removed in the opposite order.
    gone = ["Service old", "EndpointSlice db-ipv4-2", "EndpointSlice old-ipv4-1"]
    assert names(removed(plan([entry(manage_service=True)], *objects))) == gone
    # A Service that the role made, and somebody else is to manage from now on.
    assert names(removed(plan([DB], *objects))) == gone
    everything = ["Service db", "Service old", "EndpointSlice db-ipv4-1", *gone[1:]]
    assert names(removed(plan([], *objects))) == everything


@pytest.mark.parametrize(
    ("changes", "objects", "fault"),
    [
        ({}, [service(selector={"app": "db"})],
         ": Service default/db has a selector, so Kubernetes manages its endpoints: remove the "
         "selector, or this entry"),
        ({"manage_service": True}, [service(ours=True, selector={"app": "db"})],
         ": Service default/db has a selector, so Kubernetes manages its endpoints: remove the "
         "selector, or this entry"),
        ({"manage_service": True}, [service()],
         ": Service default/db exists, and this role did not make it: leave manage_service out, or remove the Service"),
        ({}, [service(type="ExternalName")],
         ": Service default/db is of the type ExternalName, which has no endpoints: make it one of "
         "the type ClusterIP"),
        ({}, [service(ports=[{"name": "sql", "port": 5432}, {"name": "dns", "port": 53, "protocol": "UDP"}])],
         ".ports[0] 5432/tcp is no port of Service default/db, which has sql 5432/tcp, dns 53/udp: "
         "write it as there"),
        ({}, [service(), endpoint_slice("db-xyz", ours=False)],
         ": Service default/db already has endpoints in EndpointSlice db-xyz, which this role did not make: "
         "remove it"),
        ({}, [service(), endpoint_slice("db-xyz", ours=False, manager="endpointslicemirroring-controller.k8s.io")],
         ": Service default/db already has endpoints in EndpointSlice db-xyz, which this role did not make: "
         "remove the Endpoints of that name"),
        ({"addresses": ["10.96.0.9"]}, [service(), service("web", clusterIPs=["10.96.0.9"])],
         ".addresses[0] 10.96.0.9 is the cluster IP of Service default/web: name what stands behind "
         "it"),
    ],
)  # fmt: skip
def test_cluster_refuses(changes: dict[str, Any], objects: list[dict[str, Any]], fault: str) -> None:
    assert plan([entry(**changes)], *objects).refusals == [ENTRY + fault]


def test_missing_service_is_noted_in_check_mode() -> None:
    made = plan([DB])
    assert made.refusals == []
    assert made.unmet == [
        ENTRY + ": there is no Service default/db: create it without a selector, or set manage_service: true"
    ]
    assert plan([entry(manage_service=True)]).unmet == []


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"name": "Db"}, ".name Db is not a name"),
        ({"namespace": "a.b"}, ".namespace a.b is not a DNS label"),
        ({"selector": {"app": "db"}}, " needs one of addresses and selector, and not both"),
        ({"addresses": None}, " needs one of addresses and selector, and not both"),
        ({"addresses": None, "selector": {}}, ".selector is empty, and would choose every pod"),
        ({"addresses": None, "selector": {"app": "a b"}}, ".selector.app a b is not a label's value"),
        ({"addresses": ["10.0.0.300"]}, ".addresses[0] 10.0.0.300 is not an IP address"),
        ({"addresses": ["db.example.org"]}, ".addresses[0] db.example.org is not an IP address"),
        ({"addresses": ["127.0.0.1"]}, ".addresses[0] 127.0.0.1 is a loopback address"),
        ({"addresses": ["0.0.0.0"]}, ".addresses[0] 0.0.0.0 is the unspecified address"),
        ({"addresses": ["::1"]}, ".addresses[0] ::1 is the loopback address"),
        ({"addresses": ["169.254.0.1"]}, ".addresses[0] 169.254.0.1 is a link-local address"),
        ({"addresses": ["fe80::1"]}, ".addresses[0] fe80::1 is a link-local address"),
        ({"addresses": ["224.0.0.1"]}, ".addresses[0] 224.0.0.1 is a multicast address"),
        ({"addresses": ["fd00::1", "fd00:0::1"]},
         ".addresses[1] fd00:0::1 stands already in endpoints_services[0].addresses[0]"),
        ({"addresses": "10.0.0.1"}, ".addresses must be a list, not str"),
        ({"ports": []}, ".ports is empty: give at least one port"),
        ({"ports": [{"port": 0}]}, ".ports[0].port 0 is not a port from 1 to 65535"),
        ({"ports": [{"port": 1, "target_port": 70000}]}, ".ports[0].target_port 70000 is not a port"),
        ({"ports": [{"port": 1, "protocol": "icmp"}]}, ".ports[0].protocol icmp is not one of tcp"),
        ({"ports": [{"port": 1, "name": "a"}, {"port": 2}]}, ".ports[1].name is missing"),
        ({"ports": [{"port": 1, "name": "a"}, {"port": 2, "name": "a"}]},
         ".ports[1].name a is already that of endpoints_services[0].ports[0]"),
        ({"ports": [{"port": 1, "name": "a"}, {"port": 1, "name": "b"}]},
         ".ports[1].port 1 is already that of endpoints_services[0].ports[0]"),
        ({"manage_service": "maybe"}, ".manage_service maybe is neither true nor false"),
        ({"adresses": []}, ".adresses is not a known key"),
    ],
)  # fmt: skip
def test_invalid_services_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError) as caught:
        plan([entry(**changes)], service())
    assert str(caught.value).startswith(ENTRY + message)


def test_a_service_is_declared_once() -> None:
    assert plan([DB, entry(namespace="far")], service()).refusals == []
    with pytest.raises(InputError) as caught:
        plan([DB, DB])
    assert str(caught.value) == (
        "endpoints_services[1] declares Service default/db, which endpoints_services[0] has already: merge them"
    )


@pytest.mark.parametrize("options", [{"services": None}, {"services": "db"}])
def test_a_missing_declaration_is_refused_before_the_cluster_is_read(options: dict[str, Any]) -> None:
    with pytest.raises(InputError) as caught:
        planner.queries({"state": "present", "prefix": "endpoints_", **options})
    expected = {
        None: "endpoints_services is undefined or null: declare the Services, or write endpoints_services: [] to "
        "remove everything that this role made",
        "db": "endpoints_services must be a list, not str",
    }
    assert str(caught.value) == expected[options["services"]]


def test_absent_removes_all_that_was_made() -> None:
    made = plan(None, service(ours=True), endpoint_slice("db-ipv4-1"), service("other"), state="absent")
    assert applied(made) == []
    assert names(removed(made)) == ["Service db", "EndpointSlice db-ipv4-1"]


def test_pods_are_read_for_a_selector_alone() -> None:
    assert [query["kind"] for query in planner.queries(options([DB]))] == ["Service", "EndpointSlice"]
    chosen = entry(addresses=None, selector={"app": "db"})
    assert [query["kind"] for query in planner.queries(options([chosen]))] == ["Service", "EndpointSlice", "Pod"]
