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

from ansible_collections.homelab.loadbalancer.tests.cluster.cluster_lab import (
    NODES,
    Cluster,
    flat,
    recap,
    wait_for,
)


def service(name: str, **spec: Any) -> dict[str, Any]:
    annotations = spec.pop("annotations", {})
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "namespace": "web", "annotations": annotations},
        "spec": {"type": "LoadBalancer", "selector": {"app": "none"}, "ports": [{"port": 80}], **spec},
    }


class Outside:
    """The verification of a cluster from outside, and the file with its checks."""

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
        return flat(done.out), json.loads(self.file.read_text())


@pytest.fixture(scope="module")
def metallb(balanced: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Outside:
    """A cluster with MetalLB and its pool."""
    return Outside(balanced, tmp_path_factory.mktemp("outside"))


def found(checks: list[dict[str, str]], kind: str, subject: str = "") -> dict[str, str]:
    (check,) = [one for one in checks if one["kind"] == kind and subject in one["subject"]]
    return check


def test_without_metallb_it_stays_pending(web: Cluster) -> None:
    # By default it fails; a check run only says so.
    for options, rc in (((), 2), (("--check", "--diff"), 0)):
        role = {"role": "external_access", "external_access_services": ["web/web"]}
        told = flat(web.roles(role, hosts="k8s_api:clients", options=options, rc=rc))
        assert "│ fault │ pending" in told
        assert "API, web/web: pending; no pod of MetalLB is found" in told
        assert "install MetalLB with the role metallb" in told


def proved(outside: Outside) -> bool:
    """Whether all is as it should be, and the MAC address that answers is that of the node that is named.

    While the address is handed over no node or two may announce it, and after it MetalLB may name the one of before.
    """
    said, checks = outside.look()
    announced = re.fullmatch(r"(\S+), announced by (\S+)", found(checks, "address", "web/web")["found"])
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
    # While the speakers find each other, they may hand the address over.
    wait_for(lambda: proved(metallb), "all is proved", limit=240)


@pytest.fixture
def faulty(metallb: Outside) -> Iterator[list[str]]:
    """Services that do not work, each for another reason. MetalLB has given addresses, or said why it gives none."""
    objects = [
        service("greedy", annotations={"metallb.io/loadBalancerIPs": "10.9.9.9"}),
        service("other-pool", annotations={"metallb.io/address-pool": "gold"}),
        service("empty"),
        service("wrong-port", selector={"app.kubernetes.io/name": "web"}, ports=[{"port": 25565, "targetPort": 9999}]),
        service("other-class", loadBalancerClass="example.org/other"),
    ]
    names = [str(entry["metadata"]["name"]) for entry in objects]
    cluster = metallb.cluster

    def refused(name: str) -> str:
        about = "involvedObject.name=%s,type=Warning" % name
        return cluster.kubectl("get", "events", "-n", "web", "--field-selector", about, "-o", "name")

    cluster.apply(*objects)
    try:
        wait_for(lambda: refused("greedy") and refused("other-pool"), "the events that say why")
        wait_for(lambda: all(cluster.address("web", name) for name in ("empty", "wrong-port")), "addresses")
        yield ["web/" + name for name in names]
    finally:
        cluster.kubectl("delete", "service", "-n", "web", *names)


def test_why_services_do_not_answer(metallb: Outside, faulty: list[str]) -> None:
    said, checks = metallb.look(external_access_services=faulty, external_access_wait=2)
    faults = {check["sentence"] for check in checks if check["cause"]}

    def told(subject: str) -> str:
        return " ".join(fault for fault in faults if subject in fault)

    refusal = 'MetalLB refuses what it asks for: ["10.9.9.9"] is not allowed in config'
    assert refusal in told("API, web/greedy")
    assert 'unknown pool "gold"' in told("API, web/other-pool")
    assert "it has no endpoint that is ready, and MetalLB announces only Services that have one" in said
    empty = metallb.cluster.address("web", "empty")
    assert found(checks, "neighbor", empty)["found"] == "nobody answers"
    assert [one for one in checks if "no program of its pods listens on targetPort 9999" in one["cause"]]
    other = found(checks, "address", "other-class")
    assert (other["result"], other["found"][:8], other["cause"]) == ("unknown", "pending:", "")


def test_closed_ports_are_found_and_named(metallb: Outside) -> None:
    closed = (("worker1", "udp"), ("worker2", "tcp"))
    for node, protocol in closed:
        assert metallb.cluster.speakers_let_in(node, protocol) == 1
        metallb.cluster.node(node, "firewall-cmd", "--remove-port=7946/%s" % protocol)
    try:
        for node, protocol in closed:
            assert metallb.cluster.speakers_let_in(node, protocol) == 0
        faults = [check["sentence"] for check in metallb.look()[1] if check["cause"] and check["kind"] == "memberlist"]
        for node, protocol in closed:
            others = ", ".join(name for name in NODES if name != node)
            (fault,) = [one for one in faults if one.startswith("%s, %s 7946 of %s: " % (others, protocol, node))]
            assert ": a firewall says no" in fault
            assert fault.endswith("open 7946/tcp and 7946/udp on %s, for instance with the role firewalld_ports" % node)
    finally:
        for node, protocol in closed:
            metallb.cluster.node(node, "firewall-cmd", "--add-port=7946/%s" % protocol)
        metallb.cluster.restart_speakers()
