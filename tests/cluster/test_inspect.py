# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What `playbooks/inspect.yml` sees of a cluster, and that it leaves no trace on it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Iterator

import pytest

from ansible_collections.homelab.loadbalancer.tests.cluster.cluster_lab import Cluster, recap, web_app
from ansible_collections.homelab.loadbalancer.tests.integration.namespaces import wait_for

NODES = ("control1", "worker1", "worker2")
# What an inspection could change without meaning to: tables, namespaces, links, rules. kube-proxy's own chains follow
# the cluster, late on a busy machine.
STATE = """
cat /proc/net/ip_tables_names /proc/net/ip6_tables_names
ls /run/netns
ip -o link | sed 's/ qlen.*//'
ip route; ip -6 route | grep -v expires
nft list ruleset | sed -E '/^\tchain KUBE-/,/^\t}/d; s/packets [0-9]+ bytes [0-9]+//'
"""


@pytest.fixture(scope="module")
def inspected(cluster: Cluster) -> Iterator[Cluster]:
    """Two pods, whose Service stays pending."""
    app = web_app("inspected")
    try:
        cluster.roles(app)
        yield cluster
    finally:
        cluster.roles({**app, "app_state": "absent"})


def look(cluster: Cluster, folder: Path, *options: str) -> dict[str, Any]:
    """The documents that the playbook writes, by the names of their files."""
    hosts = "kubernetes:k8s_api"
    output = cluster.playbook("inspect", *options, inspect_hosts=hosts, inspect_folder=str(folder))
    assert not any(recap(output).values()), output
    assert {oct(path.stat().st_mode)[-3:] for path in folder.iterdir()} == {"600"}
    return {path.stem: json.loads(path.read_text()) for path in folder.glob("*.json")}


def state(cluster: Cluster) -> list[str]:
    return [cluster.node(node, "sh", "-c", STATE) for node in NODES]


def settled(cluster: Cluster) -> list[str]:
    """The state, once pods of the tests before are gone and it stands still."""
    seen: list[list[str]] = []

    def still() -> bool:
        seen.append(state(cluster))
        leaving = [pod for pod in cluster.objects("pods", "-A") if "deletionTimestamp" in pod["metadata"]]
        return not leaving and seen[-3:] == [seen[-1]] * 3

    wait_for(still, "the nodes stand still")
    return seen[-1]


def test_what_it_sees(inspected: Cluster, tmp_path: Path) -> None:
    before = settled(inspected)
    seen = look(inspected, tmp_path / "seen")
    assert state(inspected) == before
    assert set(seen) == {*NODES, "cluster"}
    cluster = seen["cluster"]
    assert [node["name"] for node in cluster["nodes"]] == sorted(NODES)
    pods = {pod["name"]: pod for pod in cluster["pods"] if pod["namespace"] == "inspected"}
    assert len(pods) == 2
    [service] = [one for one in cluster["services"] if one["namespace"] == "inspected"]
    assert service["endpoints"] == sorted(pod["ip"] + ":8080" for pod in pods.values())
    for name, pod in pods.items():
        check_pod(seen[pod["node"]], name, pod["ip"])


def check_pod(report: dict[str, Any], name: str, address: str) -> None:
    """A pod's namespace has its address, and a link whose other end is one of the node's own."""
    [space] = [one for one in report["namespaces"] if one["owner"]["name"] == name]
    assert space["owner"]["kind"] == "pod"
    [link] = [one for one in space["links"] if one["name"] == "eth0"]
    assert address in [entry.split("/")[0] for entry in link["addresses"]]
    [host] = [one for one in report["namespaces"] if one["host"]]
    assert link["peer"]["namespace"] == host["id"]
    assert link["peer"]["name"] in [one["name"] for one in host["links"] if one["kind"] == "veth"]
    assert [one["state"] for one in report["containers"] if one["pod"] == name and one["name"] == "web"] == ["Running"]
    owners = [table["owners"] for table in report["firewall"]["iptables"] if table["table"] == "nat"]
    assert any(found.get("kube-proxy") for found in owners)


def test_the_page(inspected: Cluster, tmp_path: Path) -> None:
    look(inspected, tmp_path / "seen")
    page = (tmp_path / "seen/index.html").read_text()
    for name in (*NODES, "inspected", "10.244."):
        assert name in page


def test_check_mode_sees_the_same(inspected: Cluster, tmp_path: Path) -> None:
    def names(seen: dict[str, Any]) -> list[list[str]]:
        return [sorted(space["owner"]["name"] for space in seen[node]["namespaces"]) for node in NODES]

    wait_for(
        lambda: names(look(inspected, tmp_path / "run")) == names(look(inspected, tmp_path / "check", "--check")),
        "both see the same namespaces",
    )


def test_the_nodes_are_seen_when_the_api_server_is_not(inspected: Cluster, tmp_path: Path) -> None:
    folder = tmp_path / "seen"
    output = inspected.playbook("inspect", inspect_folder=str(folder), k8s_kubeconfig="/nowhere")
    assert not any(recap(output).values())
    assert "/nowhere" in json.loads((folder / "cluster.json").read_text())["notes"][0]
    assert "/nowhere" in (folder / "index.html").read_text()
    assert json.loads((folder / "worker1.json").read_text())["namespaces"]
