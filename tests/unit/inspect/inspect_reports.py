# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reports of inspections as the page takes them: of one host, of nodes like the workshop's, and of many nodes."""

from __future__ import annotations

from typing import Any, Dict, Sequence

Report = Dict[str, Any]
INITIAL = 4026531840
PODS = ("coredns-674b8bbfcf-csznq", "calico-apiserver-5c49f7b8cd-5thsd", "controller-58fdf44d87-tgp79",
        "nginx-gateway-6477c87c8-xq9vv", "web-7d9c5b8f6d-x2x7k", "whisker-5cd776c89c-tcqwl")  # fmt: skip
SPACES = ("kube-system", "calico-apiserver", "metallb-system", "nginx-gateway", "default", "calico-system")


def link(index: int, name: str, kind: str = "", addresses: Sequence[str] = (), **more: Any) -> Report:
    """A network link."""
    return {
        "index": index, "name": name, "kind": kind, "state": "up", "mtu": 1500, "mac": "52:54:00:00:00:%02x" % index,
        "master": "", "peer": None, "addresses": list(addresses), "details": {}, **more,
    }  # fmt: skip


def route(destination: str, device: str, gateway: str = "", **more: Any) -> Report:
    """A route."""
    return {
        "destination": destination, "gateway": gateway, "device": device, "protocol": "kernel", "scope": "link",
        "source": "", "metric": 100, "table": "main", "type": "unicast", **more,
    }  # fmt: skip


def loopback() -> Report:
    """The link that each namespace has."""
    return link(1, "lo", "", ["127.0.0.1/8", "::1/128"], state="unknown", mtu=65536)


def pod_space(number: int, address: str, host_end: str, host_index: int, owner: Report) -> Report:
    """The network namespace of a pod."""
    identity = 4026532000 + number
    peer = {"namespace": INITIAL, "name": host_end, "index": host_index}
    eth0 = link(2, "eth0", "veth", [address, "fe80::cd8:ecff:fe61:%x/64" % (number + 1)], peer=peer, mtu=1450)
    return {
        "id": identity, "name": "cni-%08x" % (number * 2654435761 % 2**32), "host": False, "owner": owner,
        "links": [loopback(), eth0],
        "routes": [route("default", "eth0", "169.254.1.1"), route("169.254.1.1", "eth0")],
        "neighbors": [{"address": "169.254.1.1", "device": "eth0", "mac": "ee:ee:ee:ee:ee:ee", "state": "reachable"}],
    }  # fmt: skip


def pod_owner(number: int) -> Report:
    """A pod that owns a namespace."""
    name = PODS[number % len(PODS)]
    name = name if number < len(PODS) else "%s%d" % (name[:-1], number)
    return {"kind": "pod", "namespace": SPACES[number % len(SPACES)], "name": name, "pid": 2000 + number}


def node(number: int, pods: int, bridge: bool = False) -> Report:
    """A node of a cluster: with Calico, whose pods are routed to, or with Flannel, where they hang at a bridge."""
    net = "10.244.%d" % number if bridge else "172.17.%d" % number
    links = [
        loopback(),
        link(2, "enp1s0", "", ["172.16.0.%d/24" % (10 + number), "fe80::5054:ff:fe00:2/64"]),
        link(3, "enp2s0", "", ["10.0.0.%d/24" % (10 + number)]),
    ]
    if bridge:
        links.append(link(4, "flannel.1", "vxlan", [net + ".0/32"], mtu=1450, details={"id": 1, "port": 8472}))
        links.append(link(5, "cni0", "bridge", [net + ".1/24"], mtu=1450))
    else:
        links.append(link(4, "vxlan.calico", "vxlan", [net + ".0/32"], mtu=1450, details={"id": 4096}))
    spaces = []
    for pod in range(pods):
        end = ("veth%08x" if bridge else "cali%011x") % (number * 7919 + pod * 104729 + 0x817BF63)
        peer = {"namespace": 4026532000 + pod, "name": "eth0", "index": 2}
        links.append(link(10 + pod, end, "veth", peer=peer, master="cni0" if bridge else "", mac="ee:ee:ee:ee:ee:ee"))
        address = "%s.%d/%d" % (net, pod + 10, 24 if bridge else 32)
        spaces.append(pod_space(pod, address, end, 10 + pod, pod_owner(pod)))
    initial = {
        "id": INITIAL, "name": "", "host": True, "owner": {"kind": "host", "namespace": "", "name": "", "pid": 1},
        "links": links,
        "routes": [
            route("default", "enp1s0", "172.16.0.254", protocol="static", scope="global"),
            route("172.16.0.0/24", "enp1s0", source="172.16.0.%d" % (10 + number)),
            *(route("%s.%d" % (net, pod + 10), links[-pods + pod]["name"], metric=None) for pod in range(pods)),
        ],
        "neighbors": [
            {"address": "172.16.0.254", "device": "enp1s0", "mac": "52:54:00:65:c6:68", "state": "reachable"},
        ],
    }  # fmt: skip
    return {
        "host": "worker%d" % number, "time": "2026-11-22T07:20:00Z", "kernel": "6.1.0-28-amd64",
        "hostname": "worker%d.home.local" % number, "notes": [], "namespaces": [initial, *spaces],
        "firewall": firewall(), "containers": containers(spaces), "images": images(),
    }  # fmt: skip


def firewall() -> Report:
    """A packet filter with rules of several owners."""
    return {
        "iptables": [
            {"variant": "nft", "family": "ipv4", "table": "nat", "chains": 34, "rules": 121,
             "owners": {"kube-proxy": 98, "calico": 20, "administrator": 3}},
            {"variant": "nft", "family": "ipv4", "table": "filter", "chains": 60, "rules": 240,
             "owners": {"kube-proxy": 20, "calico": 220}},
        ],
        "nftables": [{"family": "inet", "table": "firewalld", "chains": 40, "rules": 88, "owner": "firewalld"}],
        "ipset": [{"name": "cali40all-ipam-pools", "type": "hash:net", "entries": 1, "owner": "calico"}],
        "ipvs": [{"protocol": "tcp", "address": "10.254.10.128", "port": 80, "scheduler": "rr", "servers": 2,
                  "owner": "homelab"}],
    }  # fmt: skip


def containers(spaces: Sequence[Report]) -> list[Report]:
    """A container of each pod, and two that use the node's own network."""
    owners = [space["owner"] for space in spaces]
    own = [("kube-proxy-8xk2p", "kube-system", 900), ("speaker-n7prq", "metallb-system", 901)]
    both = [(owner["name"], owner["namespace"], owner["pid"]) for owner in owners] + own
    return [
        {"id": "%013x" % (pid * 7919), "name": pod.split("-")[0], "image": "quay.io/example/%s:v0.15.2" % pod[:8],
         "state": "running", "pod": pod, "namespace": namespace, "pid": pid}
        for pod, namespace, pid in both
    ]  # fmt: skip


def images() -> list[Report]:
    """Images of a node."""
    return [
        {"id": "879f2443aed05", "names": ["docker.io/calico/apiserver:v3.30.3"], "size": 118214321},
        {"id": "873ed75102791", "names": ["registry.k8s.io/pause:3.10"], "size": 742000},
    ]


def cluster(reports: Sequence[Report]) -> Report:
    """The report of the cluster of these nodes."""
    nodes = [
        {"name": report["hostname"], "ready": True, "addresses": ["172.16.0.%d" % (10 + number)], "version": "v1.33.5",
         "roles": ["control-plane"] if number == 1 else ["worker"]}
        for number, report in enumerate(reports, 1)
    ]  # fmt: skip
    pods = [
        {"namespace": space["owner"]["namespace"], "name": space["owner"]["name"], "phase": "Running", "ready": "1/1",
         "restarts": 2, "node": report["hostname"], "ip": space["links"][1]["addresses"][0].split("/")[0]}
        for report in reports for space in report["namespaces"][1:]
    ]  # fmt: skip
    return {
        "nodes": nodes, "pods": pods,
        "services": [
            {"namespace": "default", "name": "web", "type": "LoadBalancer", "cluster_ips": ["10.99.161.198"],
             "external_ips": ["172.16.0.100"], "ports": ["80/TCP"], "endpoints": ["172.17.1.14:8080"]},
            {"namespace": "default", "name": "kubernetes", "type": "ClusterIP", "cluster_ips": ["10.96.0.1"],
             "external_ips": [], "ports": ["443/TCP"], "endpoints": ["172.16.0.11:6443"]},
        ],
        "metallb": {
            "pools": [{"name": "public-pool", "addresses": ["172.16.0.100-172.16.0.149"]}],
            "leaders": [{"service": "default/web", "address": "172.16.0.100", "node": nodes[-1]["name"]}],
        },
        "events": [
            {"time": "2026-11-22T07:00:00Z", "namespace": "default", "object": "Service/web", "type": "Normal",
             "reason": "nodeAssigned", "message": 'announcing from node "worker1" with protocol "layer2"'},
        ],
        "notes": [],
    }  # fmt: skip


def plain() -> Report:
    """A host without Kubernetes: a router with a container at a bridge, and a namespace without an owner."""
    made = node(1, 0)
    made.update(host="router", hostname="router", containers=[], images=[])
    made["notes"] = ["crictl is not installed: containers are not listed"]
    first = made["namespaces"][0]
    first["links"] = [
        *first["links"][:3],
        link(4, "enp3s0", "", state="down"),
        link(5, "docker0", "bridge", ["172.18.0.1/16"]),
        link(6, "veth1a2b3c4", "veth", master="docker0", peer={"namespace": 4026532001, "name": "eth0", "index": 2}),
    ]
    first["routes"] = first["routes"][:2]
    owner = {"kind": "container", "namespace": "", "name": "grafana", "pid": 4242}
    spaces = [pod_space(1, "172.18.0.2/16", "veth1a2b3c4", 6, owner)]
    for number, name in ((7, "lab-client"), (8, "lab-server")):
        peer = {"namespace": 4026532000 + 15 - number, "name": "eth0", "index": 2}
        spaces.append({
            "id": 4026532000 + number, "name": name, "host": False, "owner": {"kind": "none"},
            "links": [loopback(), link(2, "eth0", "veth", ["192.168.10.%d/24" % number], peer=peer)],
            "routes": [], "neighbors": [],
        })  # fmt: skip
    made["namespaces"] += spaces
    return made


def space(identity: int, owner: Report, links: Sequence[Report] = (), name: str = "") -> Report:
    """A network namespace with these links."""
    return {"id": identity, "name": name, "host": False, "owner": owner, "links": [loopback(), *links],
            "routes": [], "neighbors": []}  # fmt: skip


def veth(index: int, name: str, where: int, peer: str, addresses: Sequence[str] = (), master: str = "") -> Report:
    """An end of a veth pair."""
    return link(index, name, "veth", addresses, master=master, peer={"namespace": where, "name": peer, "index": 2})


def tangled() -> tuple[list[Report], Report]:
    """A host with all that can be joined: a bond in a bridge, two bridges, pods at both, namespaces at namespaces."""
    links = [
        loopback(), link(2, "eno1", master="bond0"), link(3, "eno2", master="bond0", state="down"),
        link(4, "bond0", "bond", master="br0"),
        link(5, "br0", "bridge", ["192.168.1.5/24", "2001:db8:0:1::5/64", "192.168.1.200/32"]),
        link(6, "bond0.20", "vlan", ["192.168.20.5/24"]), link(7, "br-storage", "bridge", ["10.9.0.1/24"]),
        link(8, "docker0", "bridge", ["172.17.0.1/16"], state="down"), link(9, "wg0", "wireguard", ["10.77.0.5/24"]),
        link(10, "kube-ipvs0", "dummy", ["10.96.0.%d/32" % number for number in range(1, 4)], state="down"),
        link(11, "vxlan100", "vxlan", master="br-storage"), veth(12, "in-a", INITIAL, "in-b"), link(13, "in-b", "veth"),
        veth(20, "veth20", 51, "eth0", master="br0"), veth(21, "veth21", 51, "eth1", master="br-storage"),
        veth(22, "veth22", 52, "eth0", master="br-storage"), veth(23, "veth23", 53, "eth0", master="br0"),
    ]  # fmt: skip
    long = {
        "kind": "pod",
        "namespace": "a-long-namespace-of-someone",
        "name": "a-very-long-deployment-7d9c5b8f6d-x2x7k",
    }
    nobody = {"kind": "none"}
    spaces = [
        space(51, long, [link(2, "eth0", "veth", ["192.168.1.50/24"]), link(3, "eth1", "veth", ["10.9.0.50/24"])]),
        space(52, {"kind": "container", "name": "postgres"}, [link(2, "eth0", "veth", ["10.9.0.51/24"])]),
        space(53, {"kind": "process", "name": "dnsmasq", "pid": 812}, [link(2, "eth0", "veth", ["2001:db8::1/128"])]),
        space(55, nobody, [veth(2, "a", 56, "a", ["10.1.1.1/30"]), veth(3, "b", 57, "b", ["10.1.2.1/30"])], "r1"),
        space(56, nobody, [link(2, "a", "veth", ["10.1.1.2/30"])], "r2"),
        space(57, nobody, [link(2, "b", "veth", ["10.1.2.2/30"])], "r3"),
        space(58, {"kind": "process", "name": "rtkit-daemon", "pid": 99}),
    ]
    initial = {**space(INITIAL, {"kind": "host"}, links[1:]), "host": True}
    initial["routes"] = [route("default", "br0", "192.168.1.1"), route("default", "br0", "2001:db8:0:1::1")]
    vips = ("192.168.1.200", "2001:db8:0:1::c8", "203.0.113.9")
    leaders = [{"service": "default/web", "address": vip, "node": "hv"} for vip in vips]
    return [{"host": "hv", "namespaces": [initial, *spaces]}], {"metallb": {"leaders": leaders}}


def cluster_of(nodes: int, pods: int, bridge: bool = False) -> tuple[list[Report], Report]:
    """Reports of many nodes with many pods each, and of their cluster."""
    reports = [node(number, pods, bridge) for number in range(1, nodes + 1)]
    return reports, cluster(reports)


HOSTILE = (
    "</script><script>document.title='owned'</script>",
    "</style><style>*{display:none}</style>",
    "</title><img src=x onerror=\"document.title='owned'\">",
    "\" onmouseover=\"document.title='owned'\" autofocus onfocus=\"document.title='owned'",
    "' onload='document.title=1' x='",
    "javascript:document.title='owned'",
    "<svg onload=document.title='owned'>",
    "]]><!--",
    "&lt;b&gt; &amp;",
    "{{ lookup('pipe', 'id') }}{% if 1 %}{# x #}",
    "\x1b]0;owned\x07\x00\r\n\t\x7f\x85",
    "\u202egnp.exe\u2066\u2028\ufeff",
    "\ud800 a\u0301\u0301\u0301\u0301 \U0001f4a5 \uffff",
)


def hostile() -> tuple[list[Report], Report]:
    """Reports in which every text of a node is made to break out of the page."""
    reports, said = cluster_of(2, 3, bridge=True)
    count = 0

    def taint(value: Any) -> Any:
        nonlocal count
        if isinstance(value, dict):
            return {key: taint(one) for key, one in value.items()}
        if isinstance(value, list):
            return [taint(one) for one in value]
        if isinstance(value, str):
            count += 1
            return value + HOSTILE[count % len(HOSTILE)]
        return value

    return [{**taint(report), "notes": list(HOSTILE)} for report in reports], taint(said)
