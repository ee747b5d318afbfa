# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""`playbooks/inspect.yml` sees a cluster as it is, and leaves no trace on it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ansible_collections.homelab.loadbalancer.tests.cluster.cluster_lab import NODES, Cluster, recap, wait_for

# The state that an inspection might change by accident: tables, namespaces, links, rules. kube-proxy changes its own
# chains with the cluster, late on a busy machine.
STATE = """
cat /proc/net/ip_tables_names /proc/net/ip6_tables_names
ls /run/netns
ip -o link | sed 's/ qlen.*//'
ip route; ip -6 route | grep -v expires
nft list ruleset | sed -E '/^\tchain KUBE-/,/^\t}/d; s/packets [0-9]+ bytes [0-9]+//'
"""


def look(cluster: Cluster, folder: Path) -> dict[str, Any]:
    """The documents that the playbook writes, by the names of their files."""
    hosts = "kubernetes:k8s_api"
    output = cluster.playbook("inspect", inspect_hosts=hosts, inspect_folder=str(folder))
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


def test_what_it_sees(web: Cluster, tmp_path: Path) -> None:
    before = settled(web)
    seen = look(web, tmp_path / "seen")
    assert state(web) == before
    assert set(seen) == {*NODES, "cluster"}
    cluster = seen["cluster"]
    assert [node["name"] for node in cluster["nodes"]] == sorted(NODES)
    pods = {pod["name"]: pod for pod in cluster["pods"] if pod["namespace"] == "web"}
    assert len(pods) == 2
    [service] = [one for one in cluster["services"] if one["namespace"] == "web"]
    assert service["endpoints"] == sorted(pod["ip"] + ":8080" for pod in pods.values())
    for name, pod in pods.items():
        check_pod(seen[pod["node"]], name, pod["ip"])
    page = (tmp_path / "seen/index.html").read_text()
    for name in (*NODES, *pods, "10.244."):
        assert name in page

    # Check mode sees the same of all hosts, and the nodes are seen when the API server is not.
    folder = tmp_path / "check"
    output = web.playbook("inspect", "--check", inspect_folder=str(folder), k8s_kubeconfig="/nowhere")
    assert not any(recap(output).values())
    assert "/nowhere" in json.loads((folder / "cluster.json").read_text())["notes"][0]
    assert "/nowhere" in (folder / "index.html").read_text()
    checked = {node: json.loads((folder / (node + ".json")).read_text()) for node in (*NODES, "client")}
    assert owners(checked) == owners(seen)


def owners(seen: dict[str, Any]) -> list[list[str]]:
    """The owners of each node's network namespaces."""
    return [sorted(space["owner"]["name"] for space in seen[node]["namespaces"]) for node in NODES]


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
    tables = [table for table in report["firewall"]["iptables"] if table["table"] == "nat"]
    assert any(table["owners"].get("kube-proxy") for table in tables)
