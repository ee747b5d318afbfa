# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""node_inspect on a node of a test's own: process 1 of a PID namespace, with a network and a /run of its own."""

from __future__ import annotations

import json
import os
from functools import partial
from pathlib import Path
from typing import Any, Iterator

import pytest

from ansible_collections.homelab.loadbalancer.tests.integration.inspect.inspected import Node
from ansible_collections.homelab.loadbalancer.tests.integration.namespaces import finish_module, start_module, wait_for

# Addresses are there at once, without a look for duplicates. Links of node2 have the numbers of those of the node.
NODE = """
ip netns add pod; ip netns add node2; ip netns add pod2; ip netns add empty
no_dad='echo 0 > /proc/sys/net/ipv6/conf/default/accept_dad'
sh -c "$no_dad"; nsenter --net=/run/netns/pod sh -c "$no_dad"
ip link add br0 type bridge
ip link set br0 up
ip address add 10.0.0.1/24 dev br0
ip address add fd00:10::1/64 dev br0 nodad
ip link add cali1 index 19 type veth peer name eth0 index 2 netns pod
ip link set cali1 master br0 up
ip -n pod link set eth0 up
ip -n pod address add 10.0.0.2/32 dev eth0
ip -n pod route add 169.254.1.1 dev eth0 scope link
ip -n pod route add default via 169.254.1.1 dev eth0
ip -n pod neighbor add 169.254.1.1 lladdr ee:ee:ee:ee:ee:ee dev eth0 nud permanent
ip -n node2 link add cali1 index 19 type veth peer name eth0 index 2 netns pod2
ip link add left type veth peer name right
ip link add vx0 type vxlan id 42 group 239.1.1.1 dev br0 dstport 4789 local 10.0.0.1
ip route add 10.8.0.0/24 via 10.0.0.9 dev br0 metric 50
ip route add blackhole 172.17.2.0/26 proto 80
ip route add 10.9.0.0/24 via 10.0.0.9 dev br0 table 100
ip neighbor add 10.0.0.9 lladdr 02:00:00:00:00:09 dev br0 nud permanent
iptables-nft -t nat -N KUBE-SERVICES
iptables-nft -t nat -A PREROUTING -m comment --comment "kubernetes service portals" -j KUBE-SERVICES
iptables-nft -t nat -A KUBE-SERVICES -d 10.96.0.1/32 -p tcp -m tcp --dport 443 -j ACCEPT
ip6tables-nft -t nat -N LB-SERVICES
ip6tables-nft -t nat -A PREROUTING -j LB-SERVICES
iptables-legacy -A INPUT -s 192.0.2.1 -j DROP
nft add table inet mine
nft 'add chain inet mine input { type filter hook input priority 0; }'
nft add rule inet mine input tcp dport 22 accept
ipset create LB-VIP hash:ip,port
ipset add LB-VIP 192.168.10.100,tcp:80
"""


def is_up(node: Node, show: str) -> bool:
    said = node.sh(show)
    return "state UP" in said and "fe80::" in said


@pytest.fixture(scope="module")
def node() -> Iterator[Node]:
    made = Node()
    try:
        made.sh(NODE)
        # The kernel says of links that they are up, and gives them their own addresses, a little later.
        for link in ("ip address show dev br0", "ip address show dev cali1", "ip -n pod address show dev eth0"):
            wait_for(partial(is_up, made, link), link + " is up")
        yield made
    finally:
        made.end()


@pytest.fixture(scope="module")
def report(node: Node) -> dict[str, Any]:
    """The report of a check run."""
    return node.inspect()


def by_name(report: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The namespaces by name, the initial one as host."""
    return {"host" if each["host"] else each["name"]: each for each in report["namespaces"]}


def links(namespace: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {link["name"]: link for link in namespace["links"]}


def test_a_node_is_seen_as_it_is(node: Node) -> None:
    report = node.inspect(check_mode=False)
    spaces = by_name(report)
    assert list(spaces) == ["host", "empty", "node2", "pod", "pod2"]
    assert (report["kernel"], report["hostname"]) == (os.uname().release, os.uname().nodename)
    assert spaces["host"]["owner"] == {"kind": "host", "namespace": "", "name": "", "pid": 1}
    assert spaces["empty"]["owner"]["kind"] == "none"

    host, pod = links(spaces["host"]), links(spaces["pod"])
    assert host["br0"]["addresses"][:2] == ["10.0.0.1/24", "fd00:10::1/64"]
    assert (host["br0"]["kind"], host["br0"]["state"]) == ("bridge", "UP")
    assert host["br0"]["details"] == {"stp_state": 0, "vlan_filtering": 0}
    assert (host["cali1"]["kind"], host["cali1"]["master"]) == ("veth", "br0")
    assert host["vx0"]["details"] == {"id": 42, "local": "10.0.0.1", "group": "239.1.1.1", "link": "br0", "port": 4789}
    assert host["lo"]["kind"] == "loopback"
    assert pod["eth0"]["addresses"][0] == "10.0.0.2/32"


def test_routes_and_neighbours(report: dict[str, Any]) -> None:
    spaces = by_name(report)
    routes = {route["destination"]: route for route in spaces["host"]["routes"]}
    assert {"10.0.0.0/24", "fd00:10::/64", "fe80::/64"} <= set(routes)
    assert "127.0.0.0/8" not in routes
    assert routes["10.8.0.0/24"] == {
        "destination": "10.8.0.0/24",
        "gateway": "10.0.0.9",
        "device": "br0",
        "protocol": "boot",
        "scope": "global",
        "source": "",
        "metric": 50,
        "table": "main",
        "type": "unicast",
    }
    assert (routes["172.17.2.0/26"]["type"], routes["172.17.2.0/26"]["protocol"]) == ("blackhole", "80")
    assert routes["10.9.0.0/24"]["table"] == "100"
    assert {"address": "10.0.0.9", "device": "br0", "mac": "02:00:00:00:00:09", "state": "PERMANENT"} in spaces["host"][
        "neighbors"
    ]
    assert [neighbor["address"] for neighbor in spaces["pod"]["neighbors"]] == ["169.254.1.1"]
    assert [route["gateway"] for route in spaces["pod"]["routes"] if route["destination"] == "default"] == [
        "169.254.1.1"
    ]


def test_the_ends_of_veth_pairs(report: dict[str, Any]) -> None:
    spaces = by_name(report)
    peers = {
        (name, link["name"]): link["peer"] for name, space in spaces.items() for link in space["links"] if link["peer"]
    }
    number = {name: space["id"] for name, space in spaces.items()}
    assert peers == {
        ("host", "cali1"): {"namespace": number["pod"], "name": "eth0", "index": 2},
        ("pod", "eth0"): {"namespace": number["host"], "name": "cali1", "index": 19},
        ("node2", "cali1"): {"namespace": number["pod2"], "name": "eth0", "index": 2},
        ("pod2", "eth0"): {"namespace": number["node2"], "name": "cali1", "index": 19},
        ("host", "left"): {
            "namespace": number["host"],
            "name": "right",
            "index": links(spaces["host"])["right"]["index"],
        },
        ("host", "right"): {
            "namespace": number["host"],
            "name": "left",
            "index": links(spaces["host"])["left"]["index"],
        },
    }


def test_other_namespaces_are_not_entered_when_not_asked_for(node: Node) -> None:
    spaces = by_name(node.inspect(namespaces=False))
    assert list(spaces) == ["host", "empty", "node2", "pod", "pod2"]
    assert [name for name, space in spaces.items() if space["links"] or space["routes"]] == ["host"]
    host = links(spaces["host"])
    assert (host["cali1"]["peer"], host["left"]["peer"]["name"]) == (None, "right")


def test_packet_filters_by_owner(report: dict[str, Any]) -> None:
    firewall = report["firewall"]
    tables = [(t["variant"], t["family"], t["table"], t["rules"], t["owners"]) for t in firewall["iptables"]]
    assert tables == [
        ("nft", "ipv4", "nat", 2, {"kube-proxy": 2}),
        ("nft", "ipv6", "nat", 1, {"this project": 1}),
        ("legacy", "ipv4", "filter", 1, {"other": 1}),
    ]
    assert {(t["family"], t["table"], t["chains"], t["rules"], t["owner"]) for t in firewall["nftables"]} == {
        ("ip", "nat", 2, 2, "iptables"),
        ("ip6", "nat", 2, 1, "iptables"),
        ("inet", "mine", 1, 1, "other"),
    }
    assert firewall["ipset"] == [{"name": "LB-VIP", "type": "hash:ip,port", "entries": 1, "owner": "this project"}]
    assert firewall["ipvs"] == []


def test_a_namespace_without_a_name_is_its_oldest_process(node: Node) -> None:
    first = node.start("unshare", "--net", "sleep", "infinity")
    try:
        wait_for(lambda: node.sh("cat /proc/%d/comm" % first) == "sleep\n", "a process in a namespace of its own")
        node.start("nsenter", "--target", str(first), "--net", "tail", "-f", "/dev/null")
        node.sh("ip link add far type veth peer name near netns %d" % first)
        report = node.inspect()
        last = report["namespaces"][-1]
        assert (last["name"], last["owner"]) == (
            "",
            {"kind": "process", "namespace": "", "name": "sleep", "pid": first},
        )
        assert links(last)["near"]["peer"] == {
            "namespace": report["namespaces"][0]["id"],
            "name": "far",
            "index": links(report["namespaces"][0])["far"]["index"],
        }
    finally:
        node.sh("ip link delete far; kill %d; pkill -x tail" % first)


def test_without_tools_there_are_notes(node: Node, tmp_path: Path) -> None:
    for name in ("timeout", "sh"):
        (tmp_path / name).symlink_to(Path("/usr/bin") / name)
    # No tool is left in the folders that are looked in besides PATH.
    hide = 'for at in /usr/local/bin /usr/local/sbin /usr/sbin; do mount -t tmpfs none $at; done; PATH=$0 exec "$@"'
    report = node.inspect("unshare", "--mount", "sh", "-ec", hide, str(tmp_path))
    assert [note.split(": ")[0] for note in report["notes"]] == [
        "no runtime of the CRI runs here (there is none of /run/containerd/containerd.sock, "
        "/run/k3s/containerd/containerd.sock, /run/crio/crio.sock)",
        "ip is not installed",
        "iptables-nft-save is not installed",
        "ip6tables-nft-save is not installed",
        "iptables-legacy-save is not installed",
        "nft is not installed",
        "ipset is not installed",
    ]
    assert report["notes"][4].endswith("the legacy ipv4 tables filter are not in the report")
    assert list(by_name(report)) == ["host", "empty", "node2", "pod", "pod2"]
    assert [space["links"] for space in report["namespaces"]] == [[]] * 5
    assert report["firewall"] == {"iptables": [], "nftables": [], "ipset": [], "ipvs": []}


def test_inspection_leaves_a_bare_node_bare() -> None:
    bare = Node()
    try:
        report = bare.inspect(check_mode=False)
        assert bare.sh("cat /proc/net/ip_tables_names /proc/net/ip6_tables_names; nft list ruleset; ipset save") == ""
        assert bare.sh("find /run -type f") == ""
    finally:
        bare.end()
    assert [link["name"] for link in report["namespaces"][0]["links"]] == ["lo"]
    assert len(report["namespaces"]) == 1
    assert report["firewall"] == {"iptables": [], "nftables": [], "ipset": [], "ipvs": []}
    assert len(report["notes"]) == 1 and report["notes"][0].startswith("no runtime of the CRI runs here (")


@pytest.fixture
def runtime(node: Node) -> Iterator[Node]:
    """The node as if containerd ran on it."""
    node.sh("touch /run/containerd/containerd.sock")
    yield node
    node.sh("rm /run/containerd/containerd.sock")


@pytest.fixture
def pause(node: Node) -> Iterator[int]:
    """The process of a pod's sandbox."""
    pid = node.start("nsenter", "--net=/run/netns/pod", "sleep", "infinity")
    wait_for(lambda: node.sh("cat /proc/%d/comm" % pid) == "sleep\n", "a process in the pod's namespace")
    yield pid
    node.sh("kill %d" % pid)


def tool(folder: Path, name: str, **answers: str) -> list[str]:
    """A tool that answers by the word of its command line; what a module's command line begins with to find it."""
    cases = "".join("*' %s '*) cat %s;;\n" % (word.replace("_", " "), folder / (name + word)) for word in answers)
    for word, text in answers.items():
        (folder / (name + word)).write_text(text)
    script = '#!/bin/sh\necho "$*" >> %s\ncase " $* " in\n%s*) echo "unknown: $*" >&2; exit 1;;\nesac\n'
    (folder / name).write_text(script % (folder / (name + ".log"), cases))
    (folder / name).chmod(0o755)
    return ["env", "PATH=%s:%s" % (folder, os.environ["PATH"])]


LABELS = {
    "io.kubernetes.container.name": "speaker",
    "io.kubernetes.pod.name": "speaker-n7prq",
    "io.kubernetes.pod.namespace": "metallb-system",
}
SPEAKER: dict[str, Any] = {
    "id": "6a9e197a4b8a5",
    "name": "speaker",
    "image": "quay.io/metallb/speaker:v0.15.2",
    "state": "Running",
    "pod": "speaker-n7prq",
    "namespace": "metallb-system",
    "pid": 1,
}


def test_pods_by_crictl(runtime: Node, pause: int, tmp_path: Path) -> None:
    container = {
        "id": SPEAKER["id"],
        "metadata": {"name": "speaker"},
        "image": {"image": "sha256:1eeb60bd"},
        "state": "CONTAINER_RUNNING",
        "labels": LABELS,
    }
    pod = {"name": "pod-é", "namespace": "metallb-system"}
    before = tool(
        tmp_path,
        "crictl",
        ps=json.dumps({"containers": [container]}),
        pods=json.dumps({"items": [{"id": "d04db", "metadata": pod, "state": "SANDBOX_READY"}]}),
        inspect=json.dumps({"status": {"id": SPEAKER["id"]}, "info": {"pid": 1}}),
        inspectp=json.dumps({"status": {"id": "d04db"}, "info": {"pid": pause}}),
        images=json.dumps({"images": [{"id": "sha256:1eeb60bd", "repoTags": [SPEAKER["image"]], "size": "140"}]}),
    )
    report = runtime.inspect(*before)
    assert report["notes"] == []
    assert report["containers"] == [SPEAKER]
    assert report["images"] == [{"id": "sha256:1eeb60bd", "names": [SPEAKER["image"]], "size": 140}]
    # The container is on the host's network: that stays the host's.
    assert by_name(report)["host"]["owner"]["kind"] == "host"
    assert by_name(report)["pod"]["owner"] == {
        "kind": "pod",
        "namespace": "metallb-system",
        "name": "pod-é",
        "pid": pause,
    }
    asked = (tmp_path / "crictl.log").read_text().splitlines()
    common = "--timeout=10s --runtime-endpoint=unix:///run/containerd/containerd.sock "
    assert [line[len(common) :].split()[0] for line in asked] == ["ps", "pods", "inspect", "inspectp", "images"]
    assert {line[: len(common)] for line in asked} == {common}


def test_pods_by_ctr(runtime: Node, pause: int, tmp_path: Path) -> None:
    info = {"ID": SPEAKER["id"], "Image": SPEAKER["image"], "Labels": {**LABELS, "io.cri-containerd.kind": "container"}}
    before = tool(
        tmp_path,
        "ctr",
        containers_list=SPEAKER["id"] + "\n",
        tasks_list="TASK PID STATUS\n%s %d RUNNING\n" % (SPEAKER["id"], pause),
        containers_info=json.dumps(info),
        images_list="REF TYPE DIGEST SIZE PLATFORMS LABELS \n%s t sha256:12 1.5 MiB linux/amd64 - \n"
        % SPEAKER["image"],
    )
    report = runtime.inspect(*before)
    assert report["notes"] == ["crictl is not installed: containers were read by ctr"]
    assert report["containers"] == [{**SPEAKER, "pid": pause}]
    assert report["images"] == [{"id": "sha256:12", "names": [SPEAKER["image"]], "size": 1572864}]
    assert by_name(report)["pod"]["owner"] == {
        "kind": "pod",
        "namespace": "metallb-system",
        "name": "speaker-n7prq",
        "pid": pause,
    }


def test_a_runtime_that_does_not_answer_is_a_note(runtime: Node, tmp_path: Path) -> None:
    before = tool(tmp_path, "crictl", ps="")
    (tmp_path / "crictl").write_text("#!/bin/sh\nsleep 600 & wait\n")
    report = runtime.inspect(*before, timeout=1)
    assert report["notes"] == ["crictl did not answer within 1 s: containers and images are not in the report"]
    assert (report["containers"], report["images"]) == ([], [])
    assert by_name(report)["pod"]["links"]


def test_no_tool_is_installed_for_a_runtime(runtime: Node) -> None:
    assert runtime.inspect()["notes"] == ["crictl is not installed: containers and images are not in the report"]


def test_bad_options_are_refused() -> None:
    result = finish_module(start_module("node_inspect", timeout=0))
    assert result["msg"] == "timeout 0 is too short: write 1 second at least"


def test_inspection_needs_root() -> None:
    result = finish_module(start_module("node_inspect", inside=["unshare", "--user"]))
    assert result["msg"] == "looking into network namespaces needs root on the node (become: true)"
