# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The role `external_access` on a real cluster, from no load balancer to a VIP that answers outside."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, Iterator

import pytest

from ansible_collections.homelab.loadbalancer.tests.cluster.cluster_lab import Cluster, recap, web_app
from ansible_collections.homelab.loadbalancer.tests.integration.namespaces import wait_for

NODES = ("control1", "worker1", "worker2")


def service(name: str, **spec: Any) -> dict[str, Any]:
    annotations = spec.pop("annotations", {})
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "namespace": "outside", "annotations": annotations},
        "spec": {"type": "LoadBalancer", "selector": {"app": "none"}, "ports": [{"port": 80}], **spec},
    }


class Outside:
    """The verification of a cluster, in which an application runs."""

    def __init__(self, cluster: Cluster, folder: Path) -> None:
        self.cluster = cluster
        self.file = folder / "checks.json"

    def look(self, **variables: Any) -> tuple[str, list[dict[str, str]]]:
        """What the role prints, and its checks."""
        keep = {
            "ansible.builtin.copy": {"content": "{{ external_access_checks | to_json }}", "dest": str(self.file)},
            "when": "inventory_hostname in groups['k8s_api']",
            "changed_when": False,
            "check_mode": False,
            "diff": False,
        }
        seen = {
            "hosts": "k8s_api:kubernetes:clients",
            "gather_facts": False,
            "roles": [{"role": "homelab.loadbalancer.external_access"}],
            "vars": {"external_access_fail": False, **variables},
            "tasks": [keep],
        }
        done = self.cluster.play(json.dumps([seen]))
        print(done.out)  # shown when a test fails that has waited for another report
        assert done.rc == 0, done.out + done.err
        assert set(recap(done.out).values()) == {0}
        return re.sub(r"\s+", " ", done.out), json.loads(self.file.read_text())

    def faults(self, kind: str = "", **variables: Any) -> list[str]:
        checks = self.look(**variables)[1]
        return [check["sentence"] for check in checks if check["cause"] and kind in check["kind"]]

    def apply(self, *objects: dict[str, Any], state: str = "present") -> None:
        variables = {"k8s_objects_definitions": list(objects), "k8s_objects_state": state}
        self.cluster.roles({"role": "k8s_objects", **variables})


@pytest.fixture(scope="module")
def outside(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Outside]:
    """Two pods that answer, behind a Service of the type LoadBalancer. No MetalLB yet."""
    made = Outside(cluster, tmp_path_factory.mktemp("outside"))
    app = web_app("outside")
    try:
        cluster.roles(app)
        yield made
    finally:
        cluster.roles({**app, "app_state": "absent"})


@pytest.fixture(scope="module")
def metallb(outside: Outside, balanced: Cluster) -> Iterator[Outside]:
    """The same with MetalLB and its pool. The nodes' firewalls know nothing of it."""
    ports = {"role": "firewalld_ports"}
    balanced.roles({**ports, "firewalld_ports_state": "absent"}, hosts="kubernetes")
    try:
        yield outside
    finally:
        balanced.roles(ports, hosts="kubernetes")
        restart_speakers(balanced)


def restart_speakers(cluster: Cluster) -> None:
    """They look for each other when they start, and otherwise only within six minutes."""
    for verb in ("restart", "status"):
        cluster.kubectl("-n", "metallb-system", "rollout", verb, "daemonset/speaker")


def found(checks: list[dict[str, str]], kind: str, subject: str = "") -> dict[str, str]:
    (check,) = [one for one in checks if one["kind"] == kind and subject in one["subject"]]
    return check


def test_without_metallb_it_stays_pending(outside: Outside) -> None:
    said, checks = outside.look(external_access_services=["outside/web"])
    assert [(one["result"], one["found"]) for one in checks] == [("fault", "pending")]
    assert "API, outside/web: pending; no pod of MetalLB is found" in said
    # By default it fails; a check run only says so.
    for options, rc in (((), 2), (("--check", "--diff"), 0)):
        told = outside.cluster.roles({"role": "external_access"}, hosts="k8s_api:clients", options=options, rc=rc)
        assert "install MetalLB with the role metallb" in re.sub(r"\s+", " ", told)


def test_a_closed_port_is_found_and_named(metallb: Outside) -> None:
    for node in NODES:
        metallb.cluster.node(node, "firewall-cmd", "--add-port=7946/tcp", "--add-port=7946/udp")
    try:
        assert metallb.faults("memberlist") == []
        for protocol in ("tcp", "udp"):
            assert metallb.cluster.speakers_let_in("worker2", protocol) == 1
            metallb.cluster.node("worker2", "firewall-cmd", "--remove-port=7946/%s" % protocol)
            assert metallb.cluster.speakers_let_in("worker2", protocol) == 0
            (fault,) = metallb.faults("memberlist")
            assert fault.startswith("control1, worker1, %s 7946 of worker2: a firewall says no" % protocol)
            assert fault.endswith("open 7946/tcp and 7946/udp on worker2, for instance with the role firewalld_ports")
            metallb.cluster.node("worker2", "firewall-cmd", "--add-port=7946/%s" % protocol)
    finally:
        for node in NODES:
            metallb.cluster.node(node, "firewall-cmd", "--remove-port=7946/tcp", "--remove-port=7946/udp")


def proved(outside: Outside) -> bool:
    """Whether all is as it should be, and the MAC address that answers is that of the node that is named.

    While the address is handed over no node or two may announce it, and after it MetalLB may name the one of before.
    """
    said, checks = outside.look()
    announced = re.fullmatch(r"(\S+), announced by (\S+)", found(checks, "address", "outside/web")["found"])
    if not announced or [one for one in checks if one["result"] == "fault"]:
        return False
    vip, named = announced.groups()
    neighbor = found(checks, "neighbor", vip)["found"]
    answers = re.match(r"one MAC: ([0-9a-f:]{17}) \((\S+)\)", neighbor)
    if not answers or found(checks, "memberlist", "tcp 7946 between speakers")["found"] != "6 of 6 open":
        return False
    mac, node = answers.groups()
    assert outside.cluster.node(node, "cat", "/sys/class/net/eth0/address").strip() == mac
    assert ("not %s, which MetalLB's status still names" % named in neighbor) == (node != named)
    assert found(checks, "http", vip)["found"].startswith("HTTP 200, ")
    return "│ proved" in said


def test_with_metallb_and_open_ports_all_is_proved(metallb: Outside) -> None:
    metallb.cluster.roles({"role": "firewalld_ports"}, hosts="kubernetes")
    try:
        restart_speakers(metallb.cluster)
        # While they do, they may still hand the address over.
        wait_for(lambda: proved(metallb), "all is proved", limit=240)
    finally:
        metallb.cluster.roles({"role": "firewalld_ports", "firewalld_ports_state": "absent"}, hosts="kubernetes")


def test_why_services_are_pending(metallb: Outside) -> None:
    objects = [
        service("greedy", annotations={"metallb.io/loadBalancerIPs": "10.9.9.9"}),
        service("other-pool", annotations={"metallb.io/address-pool": "gold"}),
    ]
    names = ["outside/" + entry["metadata"]["name"] for entry in objects]
    reasons = (
        'MetalLB refuses what it asks for: ["10.9.9.9"] is not allowed in config',
        'unknown pool "gold"',
    )

    def told() -> bool:
        faults = [one for one in metallb.faults(external_access_services=names) if one.startswith("API, outside/")]
        return len(faults) == 2 and all(reason in fault for reason, fault in zip(reasons, faults))

    metallb.apply(*objects)
    try:
        wait_for(told, "the reasons, which MetalLB tells by events")
    finally:
        metallb.apply(*objects, state="absent")


def test_a_service_without_endpoints(metallb: Outside) -> None:
    metallb.apply(service("empty"))
    address = ("get", "service", "empty", "-n", "outside", "-o", "jsonpath={.status.loadBalancer.ingress[0].ip}")
    try:
        wait_for(lambda: metallb.cluster.kubectl(*address), "an address")
        said, checks = metallb.look(external_access_services=["outside/empty"], external_access_wait=0)
        assert found(checks, "neighbor")["found"] == "nobody answers"
        assert "it has no endpoint that is ready, and MetalLB announces only Services that have one" in said
    finally:
        metallb.apply(service("empty"), state="absent")


def test_a_wrong_target_port_and_the_class_of_another_controller(metallb: Outside) -> None:
    objects = [
        service("wrong-port", selector={"app.kubernetes.io/name": "web"}, ports=[{"port": 25565, "targetPort": 9999}]),
        service("other-class", loadBalancerClass="example.org/other"),
    ]
    names = ["outside/" + entry["metadata"]["name"] for entry in objects]

    def told() -> list[dict[str, str]]:
        checks = metallb.look(external_access_services=names, external_access_wait=0)[1]
        return [check for check in checks if "no program of its pods listens on targetPort 9999" in check["cause"]]

    metallb.apply(*objects)
    try:
        wait_for(told, "the reset of a pod, of which the slice and the address are not there at once")
        checks = metallb.look(external_access_services=names, external_access_wait=0)[1]
        other = found(checks, "address", "other-class")
        assert (other["result"], other["found"][:8], other["cause"]) == ("unknown", "pending:", "")
    finally:
        metallb.apply(*objects, state="absent")
