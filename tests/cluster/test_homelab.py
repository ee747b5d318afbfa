# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What `playbooks/metallb.yml` gives a cluster, seen from a client outside it, and what it survives."""

from __future__ import annotations

import re
import time
from typing import Iterator

import pytest

from ansible_collections.homelab.loadbalancer.plugins.module_utils._common.command import run
from ansible_collections.homelab.loadbalancer.tests.cluster.cluster_lab import Cluster, recap, web_app
from ansible_collections.homelab.loadbalancer.tests.integration.namespaces import wait_for

NODES = ("control1", "worker1", "worker2")
VIP = "172.16.0.100"
ROUTED_VIP = "172.20.0.1"
NODE_PORT = 30080
WEB = web_app("homelab", app_ports=[{"port": 80, "target_port": 8080, "node_port": NODE_PORT}])
CURL = ("curl", "--silent", "--show-error", "--fail", "--connect-timeout", "1", "--max-time", "2")


@pytest.fixture(scope="module")
def homelab(balanced: Cluster) -> Iterator[Cluster]:
    """A cluster with an application that asks for a load balancer, and what the playbook gives it."""
    try:
        balanced.roles(WEB)
        yield balanced
    finally:
        balanced.roles({**WEB, "app_state": "absent"})


def answers(cluster: Cluster, address: str = VIP) -> str:
    """The name of the pod that answers the client, or an empty string."""
    return cluster.client(*CURL, "http://%s/hostname" % address, check=False)


def owners(cluster: Cluster, address: str = VIP) -> set[str]:
    """The MAC addresses that answer the client's question for an address."""
    said = cluster.node("client", "arping", "-b", "-c", "3", "-w", "3", "-I", "eth0", address, check=False)
    return set(re.findall(r"\[([0-9A-F:]{17})\]", said))


def announcer(cluster: Cluster) -> str:
    """The node whose MAC answers for the VIP; an empty string when it is not exactly one."""
    macs = {cluster.node(node, "cat", "/sys/class/net/eth0/address").strip().upper(): node for node in NODES}
    found = owners(cluster)
    return macs[found.pop()] if len(found) == 1 else ""


def test_node_ports_answer_on_every_node(homelab: Cluster) -> None:
    for number in (11, 12, 13):
        assert answers(homelab, "172.16.0.%d:%d" % (number, NODE_PORT)).startswith("web-")


def test_the_address_answers_from_one_node(homelab: Cluster) -> None:
    wait_for(lambda: answers(homelab).startswith("web-"), "the VIP")
    assert announcer(homelab) in NODES
    pods = {answers(homelab) for dummy in range(60)}
    assert len(pods) == 2  # by chance only one: 2 ** -59


def test_nodes_keep_to_their_own_cgroups(homelab: Cluster) -> None:
    """A path beginning with `/..` would be of the machine."""
    for node in NODES:
        assert "/.." not in homelab.node(node, "cat", "/proc/1/cgroup")


def test_second_run_changes_nothing(homelab: Cluster) -> None:
    output = homelab.playbook("metallb")
    changed = recap(output)
    assert set(changed) >= {*NODES, "operator", "client"}
    assert not any(changed.values()), output
    assert VIP in output


def test_the_other_proxy_mode(homelab: Cluster) -> None:
    """kube-proxy carries it by nftables just as well, beside firewalld's own rules."""

    def use(old: str, new: str) -> None:
        for node in NODES:
            homelab.node(node, "sed", "-i", "s/^PROXY_MODE=%s$/PROXY_MODE=%s/" % (old, new), "/etc/kubernetes/node.env")
            homelab.node(node, "systemctl", "restart", "kube-proxy")

    def tables(node: str) -> str:
        return homelab.node(node, "nft", "list", "tables")

    try:
        use("iptables", "nftables")
        wait_for(lambda: all("table ip kube-proxy" in tables(node) for node in NODES), "kube-proxy")
        wait_for(lambda: answers(homelab).startswith("web-"), "the VIP")
        assert "KUBE-SVC" not in homelab.node("worker1", "iptables-save", "-t", "nat")
    finally:
        use("nftables", "iptables")
    wait_for(lambda: answers(homelab).startswith("web-"), "the VIP")


def test_a_node_that_is_cut_off_loses_the_address(homelab: Cluster, capsys: pytest.CaptureFixture[str]) -> None:
    """The cable of the node that answers is pulled; how long the client waits is printed."""
    name = wait_for(lambda: announcer(homelab), "one announcer")
    assert name != "control1"
    left = next(node for node in ("worker1", "worker2") if node != name)
    # Pods of a node that is gone are found out by its lease; only the announcement is timed here.
    homelab.kubectl("-n", "homelab", "scale", "deployment/web", "--replicas=0")
    homelab.kubectl("cordon", name)
    homelab.kubectl("-n", "homelab", "scale", "deployment/web", "--replicas=1")
    homelab.kubectl("-n", "homelab", "rollout", "status", "deployment/web", "--timeout=60s")
    wait_for(lambda: answers(homelab), "the VIP")
    try:
        start = time.monotonic()
        run(["ip", "-n", "cluster-switch", "link", "set", name + ".eth0", "down"])
        wait_for(lambda: answers(homelab), "the VIP", limit=90)
        with capsys.disabled():
            print("the VIP answers %.1f s after its node was cut off" % (time.monotonic() - start))
        assert announcer(homelab) == left
    finally:
        run(["ip", "-n", "cluster-switch", "link", "set", name + ".eth0", "up"])
        homelab.kubectl("uncordon", name)
    homelab.kubectl("wait", "--for=condition=Ready", "node/" + name, "--timeout=60s")
    wait_for(lambda: announcer(homelab), "one announcer")


@pytest.fixture
def router(homelab: Cluster) -> Iterator[Cluster]:
    """BIRD on the clients' gateway, which takes routes from every node."""
    config = """
        router id 172.16.0.254;
        protocol device {}
        protocol kernel { ipv4 { export all; }; merge paths on; }
        protocol bgp nodes {
            local as 64513;
            neighbor range 172.16.0.0/24 as 64512;
            dynamic name "node";
            password "of the lab";
            ipv4 { import all; export none; };
        }
    """
    homelab.node("router", "tee", "/etc/bird/bird.conf", stdin=config)
    homelab.node("router", "systemctl", "restart", "bird")
    try:
        yield homelab
    finally:
        homelab.node("router", "systemctl", "stop", "bird")


def test_bgp(router: Cluster) -> None:
    """A real router learns the way to an address of no network of the lab, and spreads packets over the nodes."""
    peers = [
        {"name": "router", "my_asn": 64512, "peer_asn": 64513, "address": "172.16.0.254", "password": "of the lab"},
    ]
    routed = {
        "role": "metallb_pool",
        "metallb_pool_pools": [{"name": "routed", "addresses": ["172.20.0.0/24"], "avoid_buggy_ips": True}],
        "metallb_pool_l2_advertisements": [],
        "metallb_pool_bgp_advertisements": [{"name": "routed", "pools": ["routed"], "communities": ["64512:100"]}],
        "metallb_pool_bgp_peers": peers,
        "metallb_pool_allow_moves": True,
    }

    def routes() -> str:
        return router.inside("router", "ip", "route", "show", ROUTED_VIP, check=False)

    try:
        output = router.roles(routed)
        assert "of the lab" not in output
        wait_for(lambda: answers(router, ROUTED_VIP).startswith("web-"), "the VIP")
        wait_for(lambda: len(re.findall(r"via 172\.16\.0\.1[23] ", routes())) == 2, "both ways")
        assert not any(recap(router.roles(routed)).values())
        learned = router.node("router", "birdc", "show", "route", "for", ROUTED_VIP, "all")
        assert "(64512,100)" in learned
    finally:
        router.roles({"role": "metallb_pool", "metallb_pool_allow_moves": True})
    wait_for(lambda: "via" not in routes(), "the route's end")
    wait_for(lambda: answers(router).startswith("web-"), "the first VIP")
