# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The Services of a cluster as `lb_services`: translation, omissions, and remarks on both."""

from __future__ import annotations

from typing import Any

import pytest
from ansible.errors import AnsibleFilterError
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.homelab.loadbalancer.plugins.filter.cluster_services import cluster_services
from ansible_collections.homelab.loadbalancer.plugins.module_utils._services.model import parse_services

NODES = ("worker1", "worker2")
VIP = "10.96.0.7"


def service(name: str = "web", status: Any = None, labels: Any = None, **spec: Any) -> dict[str, Any]:
    cluster_ips = spec.pop("clusterIPs", [VIP])
    content = {
        "clusterIP": cluster_ips[0],
        "clusterIPs": cluster_ips,
        "ports": [{"port": 80, "protocol": "TCP"}],
        "internalTrafficPolicy": "Cluster",
        **spec,
    }
    metadata = {"name": name, "namespace": "default", "labels": labels or {}}
    return {"metadata": metadata, "spec": content, "status": {"loadBalancer": {"ingress": status or []}}}


def endpoint(address: str, node: str = "worker1", **conditions: bool) -> dict[str, Any]:
    return {"addresses": [address], "conditions": conditions, "nodeName": node}


def endpoint_slice(*endpoints: dict[str, Any], of: str = "web", family: str = "IPv4", **port: Any) -> dict[str, Any]:
    metadata = {"name": of, "namespace": "default", "labels": {"kubernetes.io/service-name": of}}
    ports = [{"name": "", "port": 8080, "protocol": "TCP", **port}]
    return {"metadata": metadata, "addressType": family, "ports": ports, "endpoints": list(endpoints)}


TWO = endpoint_slice(endpoint("10.244.1.2", ready=True), endpoint("10.244.2.2", "worker2", ready=True))


def found(
    services: list[dict[str, Any]], slices: list[dict[str, Any]], node: str = "", **options: Any
) -> dict[str, Any]:
    nodes = [{"metadata": {"name": name}} for name in NODES]
    kinds = {"Service": services, "EndpointSlice": slices, "Node": nodes}
    looked_up = [{"kind": kind, "resources": resources} for kind, resources in kinds.items()]
    made = cluster_services(looked_up, node, **options)
    # Every result is a valid declaration for the data planes.
    parse_services(made["services"])
    return made


def ends(made: dict[str, Any]) -> dict[str, list[str]]:
    """By virtual address its endpoints' addresses."""
    return {one["address"]: [end["address"] for end in one["endpoints"]] for one in made["services"]}


def test_service_is_translated() -> None:
    made = found([service()], [TWO])
    assert made == {
        "services": [
            {
                "name": "default-web-10-96-0-7-80-tcp",
                "address": VIP,
                "port": 80,
                "protocol": "tcp",
                "endpoints": [{"address": "10.244.1.2", "port": 8080}, {"address": "10.244.2.2", "port": 8080}],
            }
        ],
        "remarks": [],
    }


def test_all_fields_are_translated() -> None:
    balanced = service(
        clusterIPs=[VIP, "fd00:96::7"],
        ports=[
            {"name": "http", "port": 80, "protocol": "TCP", "nodePort": 30080},
            {"name": "dns", "port": 53, "protocol": "UDP", "nodePort": 30053},
        ],
        externalIPs=["172.16.0.90"],
        loadBalancerSourceRanges=["172.16.0.5/24", "fd00:16::/64"],
        sessionAffinity="ClientIP",
        sessionAffinityConfig={"clientIP": {"timeoutSeconds": 60}},
        externalTrafficPolicy="Cluster",
        status=[{"ip": "172.16.0.100", "ipMode": "VIP"}, {"ip": "fd00:16::100"}],
    )
    slices = [
        endpoint_slice(endpoint("10.244.1.2"), name="http"),
        endpoint_slice(endpoint("10.244.1.3"), name="dns", port=5353, protocol="UDP"),
        endpoint_slice(endpoint("fd00:244::2"), name="http", family="IPv6"),
    ]
    made = found([balanced], slices)
    assert made["remarks"] == []
    seen = {(one["address"], one["protocol"], one["port"]): one for one in made["services"]}
    assert len(seen) == len(made["services"]) == 10
    http, dns = seen[VIP, "tcp", 80], seen[VIP, "udp", 53]
    assert http["endpoints"] == [{"address": "10.244.1.2", "port": 8080}]
    assert dns["endpoints"] == [{"address": "10.244.1.3", "port": 5353}]
    assert seen["fd00:96::7", "tcp", 80]["endpoints"] == [{"address": "fd00:244::2", "port": 8080}]
    assert seen["fd00:96::7", "udp", 53]["endpoints"] == []
    assert {one["session_affinity"]["timeout"] for one in made["services"]} == {60}
    # One entry a family and port has the node port, one that is open to everybody.
    node_ports = {key: one["node_port"] for key, one in seen.items() if "node_port" in one}
    assert node_ports == {
        (VIP, "tcp", 80): 30080,
        (VIP, "udp", 53): 30053,
        ("fd00:96::7", "tcp", 80): 30080,
        ("fd00:96::7", "udp", 53): 30053,
    }
    ranges = {key[0]: one["source_ranges"] for key, one in seen.items() if "source_ranges" in one}
    assert ranges == {"172.16.0.100": ["172.16.0.0/24"], "fd00:16::100": ["fd00:16::/64"]}


@pytest.mark.parametrize(
    ("endpoints", "chosen"),
    [
        ([endpoint("10.0.0.1", ready=True), endpoint("10.0.0.2", ready=False)], ["10.0.0.1"]),
        ([endpoint("10.0.0.1")], ["10.0.0.1"]),  # unknown is ready
        # Terminating endpoints serve while no other one is ready.
        ([endpoint("10.0.0.1", ready=True), endpoint("10.0.0.2", ready=False, serving=True, terminating=True)],
         ["10.0.0.1"]),
        ([endpoint("10.0.0.1", ready=False), endpoint("10.0.0.2", ready=False, serving=True, terminating=True)],
         ["10.0.0.2"]),
        ([endpoint("10.0.0.2", ready=False, serving=False, terminating=True)], []),
        ([], []),
        # Twice, while Kubernetes moves it from one slice to another.
        ([endpoint("10.0.0.1", ready=False), endpoint("10.0.0.1", ready=True)], ["10.0.0.1"]),
    ],
)  # fmt: skip
def test_endpoints_are_chosen_by_their_conditions(endpoints: list[dict[str, Any]], chosen: list[str]) -> None:
    assert ends(found([service()], [endpoint_slice(*endpoints)])) == {VIP: chosen}
    assert ends(found([service()], [endpoint_slice(one) for one in endpoints])) == {VIP: chosen}


def test_endpoints_of_other_ports_and_services_are_left_out() -> None:
    slices = [
        endpoint_slice(endpoint("10.0.0.1"), name="metrics"),
        endpoint_slice(endpoint("10.0.0.2"), protocol="UDP"),
        endpoint_slice(endpoint("10.0.0.3"), of="else"),
        endpoint_slice(endpoint("10.0.0.4"), port=None),
        endpoint_slice({"addresses": ["db.example.org"]}, family="FQDN"),
    ]
    assert ends(found([service()], slices)) == {VIP: []}


LOCAL = service(
    externalTrafficPolicy="Local",
    ports=[{"port": 80, "protocol": "TCP", "nodePort": 30080}],
    status=[{"ip": "172.16.0.100"}],
)


def test_external_traffic_to_endpoints_of_the_node() -> None:
    made = found([LOCAL], [TWO], "worker2")
    assert ends(made) == {VIP: ["10.244.1.2", "10.244.2.2"], "172.16.0.100": ["10.244.2.2"]}
    # The node port leads where connections from outside are to go.
    assert [one.get("node_port") for one in made["services"]] == [None, 30080]
    assert [remark.split(":")[1] for remark in made["remarks"]] == [" externalTrafficPolicy is Local"]


def test_external_traffic_to_a_node_without_endpoints() -> None:
    made = found([LOCAL], [endpoint_slice(endpoint("10.244.1.2"))], "worker2")
    assert ends(made) == {VIP: ["10.244.1.2"]}
    assert made["services"][0].get("node_port") is None
    assert made["remarks"][1:] == [
        "Service default/web: 172.16.0.100 is left out, for externalTrafficPolicy is Local and no endpoint is on this "
        "node",
        "Service default/web: node port 30080 is left out for IPv4: no address that is carried leads to the same "
        "endpoints",
    ]


def test_internal_traffic_to_endpoints_of_the_node() -> None:
    local = service(internalTrafficPolicy="Local")
    assert ends(found([local], [TWO], "worker2")) == {VIP: ["10.244.2.2"]}
    assert ends(found([local], [endpoint_slice(endpoint("10.244.1.2"))], "worker2")) == {VIP: []}


def test_traffic_policies_outside_the_cluster() -> None:
    made = found([{**LOCAL, "spec": {**LOCAL["spec"], "internalTrafficPolicy": "Local"}}], [TWO])
    assert set(map(len, ends(made).values())) == {2}
    assert made["remarks"] == [
        "Service default/web: %s is Local, and this host is no node: all endpoints get connections" % key
        for key in ("internalTrafficPolicy", "externalTrafficPolicy")
    ]


@pytest.mark.parametrize(
    ("left_out", "remark"),
    [
        (service(clusterIPs=["None"]), "it is left out, for it is headless: clients connect to its pods"),
        (service(clusterIPs=[""], type="ExternalName"), "it is left out, for it is but a name in DNS (ExternalName)"),
        (service(labels={"service.kubernetes.io/service-proxy-name": "mine"}),
         "it is left out, for the proxy mine carries it"),
    ],
)  # fmt: skip
def test_unsupported_services_are_left_out(left_out: dict[str, Any], remark: str) -> None:
    assert found([left_out], [TWO]) == {"services": [], "remarks": ["Service default/web: " + remark]}


@pytest.mark.parametrize(
    ("spec", "remark"),
    [
        ({"trafficDistribution": "PreferClose"},
         "trafficDistribution is PreferClose: near and far endpoints get connections alike"),
        ({"healthCheckNodePort": 31000}, "its healthCheckNodePort 31000 is not answered"),
        ({"externalIPs": ["fd00::1"]}, "fd00::1 is left out, for the Service is not of its family"),
        ({"status": [{"ip": "172.16.0.100"}], "loadBalancerSourceRanges": ["fd00::/64"]},
         "172.16.0.100 is left out, for none of its source ranges is of its family, and all could connect"),
        ({"status": [{"hostname": "lb.example.org"}]},
         "its load balancer lb.example.org is left out, for it is not of this cluster's hosts"),
        ({"status": [{"ip": "172.16.0.100", "ipMode": "Proxy"}]},
         "its load balancer 172.16.0.100 is left out, for it is not of this cluster's hosts"),
        ({"trafficDistribution": "\x1b]0;owned\x07"},
         "trafficDistribution is \\x1b]0;owned\\x07: near and far endpoints get connections alike"),
    ],
)  # fmt: skip
def test_untranslatable_fields_are_named(spec: dict[str, Any], remark: str) -> None:
    made = found([service(**spec)], [TWO])
    assert ends(made) == {VIP: ["10.244.1.2", "10.244.2.2"]}
    assert made["remarks"] == ["Service default/web: " + remark]


def test_address_claimed_by_two_services_is_given_to_one() -> None:
    other = service("zoo", clusterIPs=["10.96.0.8"], externalIPs=[VIP])
    made = found([other, service()], [TWO])
    assert list(ends(made)) == [VIP, "10.96.0.8"]
    assert made["remarks"] == ["Service default/zoo: %s port 80 is left out: Service default/web has it" % VIP]


def test_address_is_never_its_own_endpoint() -> None:
    made = found([service(externalIPs=["10.244.1.2"])], [TWO])
    assert ends(made)["10.244.1.2"] == ["10.244.2.2"]


def test_services_are_filtered() -> None:
    services = [LOCAL, service("other", clusterIPs=["10.96.0.8"])]
    assert set(ends(found(services, [TWO], carry=["cluster_ips"]))) == {VIP, "10.96.0.8"}
    assert list(ends(found(services, [TWO], carry=["load_balancer_ips"]))) == ["172.16.0.100"]
    assert found(services, [TWO], namespaces=["far"]) == {"services": [], "remarks": []}


def test_unknown_node_is_refused() -> None:
    with pytest.raises(AnsibleFilterError) as caught:
        found([], [], "worker9")
    assert str(caught.value).startswith("cluster_services_node worker9 is no node of the cluster, which has worker1, w")


@pytest.mark.parametrize(
    ("own", "message"),
    [
        ({"address": "010.96.0.7", "port": 80}, ""),
        ({"address": VIP, "port": 81}, ""),
        ({"address": VIP, "port": 80, "protocol": "udp"}, ""),
        ({"address": "10.0.0.1", "port": 80, "node_port": 30081}, ""),
        ("no mapping", ""),
        ({"address": VIP, "port": "80"}, "lb_services[1] has %s port 80/tcp, which default-web-" % VIP),
        (
            {"address": "10.0.0.1", "port": 80, "node_port": 30080},
            "lb_services[1] has node port 30080/tcp, which default",
        ),
    ],
)
def test_conflicts_with_the_hosts_own_services_are_refused(own: Any, message: str) -> None:
    services = [service(ports=[{"port": 80, "protocol": "TCP", "nodePort": 30080}])]
    other = {"name": "other", "address": "10.0.0.9", "port": 80}
    if not message:
        assert found(services, [TWO], beside=[other, own]) == found(services, [TWO])
        return
    with pytest.raises(AnsibleFilterError) as caught:
        found(services, [TWO], beside=[other, own])
    assert str(caught.value).startswith(message)


LABELS = st.from_regex(r"[a-z]([-a-z0-9]{0,61}[a-z0-9])?", fullmatch=True)


@given(LABELS, LABELS, st.ip_addresses(v=6, network="fd00::/8"), st.integers(1, 65535))
def test_all_services_have_valid_names(namespace: str, name: str, address: Any, port: int) -> None:
    made = service(name, clusterIPs=[str(address)], ports=[{"port": port, "protocol": "SCTP"}])
    made["metadata"]["namespace"] = namespace
    (entry,) = found([made], [])["services"]
    assert entry["name"].startswith(namespace[:12])


@pytest.mark.parametrize("option", ["namespaces", "carry"])
def test_a_text_for_a_list_is_refused(option: str) -> None:
    """An empty one would stand for all namespaces."""
    with pytest.raises(AnsibleFilterError, match="cluster_services_%s must be a list, not str" % option):
        cluster_services([], **{option: ""})
