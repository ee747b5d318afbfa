# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""`playbooks/metallb.yml`: a Service answers a client outside the cluster, also after failures and by BGP."""

from __future__ import annotations

import re
import time
from typing import Iterator

import pytest

from ansible_collections.homelab.loadbalancer.plugins.module_utils._common.command import run
from ansible_collections.homelab.loadbalancer.tests.cluster.cluster_lab import (
    ADDRESSES,
    NODE_PORT,
    NODES,
    PATIENCE,
    Cluster,
    recap,
    wait_for,
)

VIP = "172.16.0.100"
ROUTED_VIP = "172.20.0.1"
CURL = ("curl", "--silent", "--show-error", "--fail", "--connect-timeout", "1", "--max-time", "2")


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


def test_node_ports_answer_on_every_node(balanced: Cluster) -> None:
    for address in ADDRESSES:
        assert answers(balanced, "%s:%d" % (address, NODE_PORT)).startswith("web-")


def test_the_address_answers_from_one_node(balanced: Cluster) -> None:
    wait_for(lambda: answers(balanced).startswith("web-"), "the VIP")
    assert announcer(balanced) in NODES
    pods = {answers(balanced) for dummy in range(60)}
    assert len(pods) == 2  # by chance only one: 2 ** -59


def test_nodes_keep_to_their_own_cgroups(balanced: Cluster) -> None:
    """A path that begins with `/..` would belong to the machine."""
    for node in NODES:
        assert "/.." not in balanced.node(node, "cat", "/proc/1/cgroup")


def test_second_run_changes_nothing(balanced: Cluster) -> None:
    output = balanced.playbook("metallb")
    changed = recap(output)
    assert set(changed) >= {*NODES, "operator", "client"}
    assert not any(changed.values()), output
    assert VIP in output


def test_the_other_proxy_mode(balanced: Cluster) -> None:
    """kube-proxy carries the Service by nftables as well, beside firewalld's own rules."""

    def use(old: str, new: str) -> None:
        for node in NODES:
            balanced.node(
                node, "sed", "-i", "s/^PROXY_MODE=%s$/PROXY_MODE=%s/" % (old, new), "/etc/kubernetes/node.env"
            )
            balanced.node(node, "systemctl", "restart", "kube-proxy")

    def tables(node: str) -> str:
        return balanced.node(node, "nft", "list", "tables")

    try:
        use("iptables", "nftables")
        wait_for(lambda: all("table ip kube-proxy" in tables(node) for node in NODES), "kube-proxy")
        wait_for(lambda: answers(balanced).startswith("web-"), "the VIP")
        assert "KUBE-SVC" not in balanced.node("worker1", "iptables-save", "-t", "nat")
    finally:
        use("nftables", "iptables")
    wait_for(lambda: answers(balanced).startswith("web-"), "the VIP")


def test_a_node_that_is_cut_off_loses_the_address(balanced: Cluster, capsys: pytest.CaptureFixture[str]) -> None:
    """The cable of the node that answers is pulled; how long the client waits is printed."""
    name = wait_for(lambda: announcer(balanced), "one announcer")
    assert name != "control1"
    left = next(node for node in ("worker1", "worker2") if node != name)
    # Pods of a node that is gone are found out by its lease; only the announcement is timed here.
    balanced.kubectl("-n", "web", "scale", "deployment/web", "--replicas=0")
    balanced.kubectl("cordon", name)
    balanced.kubectl("-n", "web", "scale", "deployment/web", "--replicas=1")
    balanced.kubectl("-n", "web", "rollout", "status", "deployment/web", PATIENCE)
    wait_for(lambda: answers(balanced), "the VIP")
    try:
        start = time.monotonic()
        run(["ip", "-n", "cluster-switch", "link", "set", name + ".eth0", "down"])
        wait_for(lambda: answers(balanced), "the VIP")
        with capsys.disabled():
            print("the VIP answers %.1f s after its node was cut off" % (time.monotonic() - start))
        assert announcer(balanced) == left
    finally:
        run(["ip", "-n", "cluster-switch", "link", "set", name + ".eth0", "up"])
        balanced.kubectl("uncordon", name)
        balanced.kubectl("-n", "web", "scale", "deployment/web", "--replicas=2")
    balanced.kubectl("wait", "--for=condition=Ready", "node/" + name, PATIENCE)
    balanced.kubectl("-n", "web", "rollout", "status", "deployment/web", PATIENCE)
    wait_for(lambda: announcer(balanced), "one announcer")


@pytest.fixture
def router(balanced: Cluster) -> Iterator[Cluster]:
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
    balanced.node("router", "tee", "/etc/bird/bird.conf", stdin=config)
    balanced.node("router", "systemctl", "restart", "bird")
    try:
        yield balanced
    finally:
        balanced.node("router", "systemctl", "stop", "bird")


def test_bgp(router: Cluster) -> None:
    """A real router learns a route to an address outside the lab's networks, and spreads packets over the nodes."""
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
        learned = router.node("router", "birdc", "show", "route", "for", ROUTED_VIP, "all")
        assert "(64512,100)" in learned
    finally:
        router.roles({"role": "metallb_pool", "metallb_pool_allow_moves": True})
    wait_for(lambda: "via" not in routes(), "the route is gone")
    wait_for(lambda: answers(router).startswith("web-"), "the first VIP")
