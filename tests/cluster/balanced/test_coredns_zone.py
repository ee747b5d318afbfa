# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The role `coredns_zone` on a real cluster: clients outside it and pods resolve names, until it is removed."""

from __future__ import annotations

import json
import sys
from typing import Any, Iterator, NamedTuple

import pytest

from ansible_collections.homelab.loadbalancer.tests.cluster.cluster_lab import (
    ADDRESSES,
    Cluster,
    changed,
    flat,
    role_task,
    wait_for,
)

NODE_PORT = 30053
WEB, STAGING, VIP = "172.16.0.140", "172.16.0.141", "172.16.0.149"
RECORDS = [
    {"name": "web", "addresses": [WEB, "fd00:16::140"]},
    {"name": "*.staging", "addresses": [STAGING], "ttl": 7},
]
POINTER = "140.0.16.172.in-addr.arpa"
SOA = ["k8s.local", "SOA", 60, ""]

# A resolver of its own, so that the lab needs none: it prints the code, the answers and the authority.
RESOLVER = r"""
import json, socket, struct, sys
server, port, protocol, name, kind = sys.argv[1:]
TYPES = {"A": 1, "SOA": 6, "PTR": 12, "AAAA": 28}
labels = b"".join(bytes([len(label)]) + label.encode() for label in name.split(".")) + b"\0"
query = struct.pack(">6H", 7, 0x100, 1, 0, 0, 0) + labels + struct.pack(">2H", TYPES[kind], 1)
with socket.socket(socket.AF_INET, socket.SOCK_STREAM if protocol == "tcp" else socket.SOCK_DGRAM) as link:
    link.settimeout(2)
    link.connect((server, int(port)))
    link.sendall(struct.pack(">H", len(query)) + query if protocol == "tcp" else query)
    said = link.recv(4096)
    if protocol == "tcp":
        while len(said) < 2 or len(said) < 2 + struct.unpack(">H", said[:2])[0]:
            said += link.recv(4096)
        said = said[2:]
def read(at):
    parts = []
    while said[at]:
        if said[at] >= 192:
            return ".".join([*parts, read((said[at] & 63) << 8 | said[at + 1])[0]]), at + 2
        parts.append(said[at + 1 : at + 1 + said[at]].decode())
        at += 1 + said[at]
    return ".".join(parts), at + 1
flags, dummy, answers, authority = struct.unpack(">4H", said[2:10])
at = read(12)[1] + 4
found = []
for dummy in range(answers + authority):
    owner, at = read(at)
    number, dummy, ttl, size = struct.unpack(">2HIH", said[at : at + 10])
    at += 10
    family = {1: socket.AF_INET, 28: socket.AF_INET6}.get(number)
    data = socket.inet_ntop(family, said[at : at + size]) if family else read(at)[0] if number == 12 else ""
    found.append([owner, {value: key for key, value in TYPES.items()}.get(number), ttl, data])
    at += size
print(json.dumps([flags & 15, found[:answers], found[answers:]]))
"""
REFUSED, NXDOMAIN = 5, 3


class Said(NamedTuple):
    """The answer of a server: the code, and records as name, type, TTL and data."""

    rcode: int
    answers: list[list[Any]]
    authority: list[list[Any]]


def ask(
    cluster: Cluster,
    name: str,
    kind: str = "A",
    server: str = ADDRESSES[0],
    port: int = NODE_PORT,
    protocol: str = "udp",
    host: str = "client",
) -> Said:
    """The answer that a host of the lab gets; the code is -1 without one. Asks again, as resolvers do."""
    argv = [sys.executable, "-c", RESOLVER, server, str(port), protocol, name, kind]
    answers = (cluster.inside(host, *argv, check=False) for dummy in range(3))
    return Said(*json.loads(next(filter(None, answers), "[-1, [], []]")))


def role(**variables: Any) -> dict[str, Any]:
    """The role with the records."""
    more = {"coredns_zone_records": RECORDS, "coredns_zone_from_routes": False, "coredns_zone_timeout": 120}
    return {"role": "coredns_zone", **more, **variables}


def zone(cluster: Cluster, rc: int = 0, **variables: Any) -> str:
    """Run the role and return what it printed."""
    return cluster.roles(role(**variables), rc=rc)


def corefile(cluster: Cluster) -> str:
    return cluster.kubectl("get", "configmap", "coredns", "-n", "kube-system", "-o", "jsonpath={.data.Corefile}")


def pods(cluster: Cluster) -> list[str]:
    return cluster.kubectl("get", "pods", "-n", "kube-system", "-l", "k8s-app=kube-dns", "-o", "name").split()


def ours(cluster: Cluster) -> list[str]:
    label = "app.kubernetes.io/managed-by=homelab.loadbalancer"
    found = cluster.kubectl("get", "configmap,deployment,service", "-n", "kube-system", "-l", label, "-o", "name")
    return sorted(found.split())


def kube_dns(cluster: Cluster) -> dict[str, Any]:
    """The cluster's own DNS, as pods ask it."""
    path = "jsonpath={.spec.clusterIP}"
    server = cluster.kubectl("get", "service", "kube-dns", "-n", "kube-system", "-o", path)
    return {"server": server, "host": "worker1", "port": 53}


@pytest.fixture(scope="module")
def lab(balanced: Cluster) -> Iterator[Cluster]:
    """The cluster, whose own CoreDNS serves the zone. All is as before when the zone is absent again."""
    before, name, own = corefile(balanced), "kubernetes.default.svc.cluster.local", kube_dns(balanced)
    assert ours(balanced) == []
    api = ask(balanced, name, **own).answers
    assert api[0][1] == "A"
    try:
        assert changed(zone(balanced))
        assert corefile(balanced).endswith("\n" + before)
        assert ask(balanced, name, **own).answers == api
        yield balanced
    finally:
        zone(balanced, coredns_zone_state="absent")
    assert (corefile(balanced), ours(balanced)) == (before, [])
    wait_for(lambda: ask(balanced, "web.k8s.local").rcode == -1, "the port is closed")
    wait_for(lambda: ask(balanced, "web.k8s.local", **own).rcode != 0, "the zone is gone")
    assert ask(balanced, name, **own).answers == api


def resolves(cluster: Cluster, protocol: str, **where: Any) -> None:
    """A client gets all answers that the zone promises."""
    where["protocol"] = protocol
    assert ask(cluster, "web.k8s.local", **where) == (0, [["web.k8s.local", "A", 60, WEB]], [])
    assert ask(cluster, "web.k8s.local", "AAAA", **where).answers == [["web.k8s.local", "AAAA", 60, "fd00:16::140"]]
    name = "url-shortener.staging.k8s.local"
    assert ask(cluster, name, **where).answers == [[name, "A", 7, STAGING]]
    assert ask(cluster, name, "AAAA", **where) == (0, [], [SOA])
    assert ask(cluster, POINTER, "PTR", **where).answers == [[POINTER, "PTR", 60, "web.k8s.local"]]
    assert ask(cluster, "none.k8s.local", **where) == (NXDOMAIN, [], [SOA])
    # The outside gets this zone, and neither the cluster's names nor the rest of the world's.
    for name in ("kubernetes.default.svc.cluster.local", "example.org", "1.0.16.172.in-addr.arpa"):
        assert ask(cluster, name, **where).rcode == REFUSED


def test_in_the_clusters_own_dns(lab: Cluster) -> None:
    # Each node's kube-proxy takes a moment to follow.
    ways: list[dict[str, Any]] = [
        {"server": node, "protocol": protocol} for node in ADDRESSES for protocol in ("udp", "tcp")
    ]
    wait_for(lambda: all(ask(lab, "web.k8s.local", **way).rcode == 0 for way in ways), "all nodes answer")
    for protocol in ("udp", "tcp"):
        resolves(lab, protocol)
    # Pods resolve it as well.
    assert ask(lab, "web.k8s.local", **kube_dns(lab)).answers[0][3] == WEB
    assert not changed(zone(lab))


def test_changed_records_are_served(lab: Cluster) -> None:
    assert changed(zone(lab, coredns_zone_records=[{"name": "web", "addresses": [STAGING]}]))
    wait_for(lambda: (ask(lab, "web.k8s.local").answers or [[WEB] * 4])[0][3] == STAGING, "the new record")
    wait_for(lambda: ask(lab, "url-shortener.staging.k8s.local").rcode == NXDOMAIN, "the old record is gone")


def test_a_corefile_that_coredns_refuses_never_reaches_it(lab: Cluster) -> None:
    wait_for(lambda: len(pods(lab)) == 2, "the pods of before are gone")
    served = wait_for(lambda: ask(lab, "web.k8s.local").answers, "an answer")
    before = (corefile(lab), pods(lab), ours(lab))
    twice = "}\nk8s.local:1053 {\n    errors"
    for why, variables in (
        ("Unknown directive", {"coredns_zone_extra": "no-such-plugin"}),
        ("already defined", {"coredns_zone_extra": twice, "coredns_zone_mode": "deployment"}),
    ):
        said = flat(zone(lab, rc=2, coredns_zone_trial_timeout=20, **variables))
        assert "CoreDNS does not start with the new Corefile, so nothing was changed" in said
        assert why in said
        assert (corefile(lab), pods(lab), ours(lab)) == before
        assert ask(lab, "web.k8s.local").answers == served


def test_as_a_deployment_of_its_own_on_a_load_balancers_address(lab: Cluster) -> None:
    own = {"coredns_zone_mode": "deployment", "coredns_zone_load_balancer": VIP}
    servers = [{"address": VIP, "port": 53}] + [{"address": node, "port": NODE_PORT} for node in ADDRESSES]
    lab.tasks(role_task(role(**own)), {"ansible.builtin.assert": {"that": "coredns_zone_servers == %s" % servers}})
    assert "homelab.loadbalancer" not in corefile(lab)
    wait_for(lambda: ask(lab, "web.k8s.local", server=VIP, port=53).rcode == 0, "the load balancer's address")
    wait_for(lambda: ask(lab, "web.k8s.local").rcode == 0, "the port of the node")
    for protocol in ("udp", "tcp"):
        resolves(lab, protocol, server=VIP, port=53)
        resolves(lab, protocol)
    label = "app.kubernetes.io/name=coredns-zone"
    path = "jsonpath={.items[*].spec.nodeName}"
    nodes = lab.kubectl("get", "pods", "-n", "kube-system", "-l", label, "-o", path).split()
    assert len(set(nodes)) == len(nodes) == 2
