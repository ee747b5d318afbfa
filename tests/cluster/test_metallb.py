# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The roles `metallb` and `metallb_pool` on a real cluster: an upgrade, what is refused, and what a removal leaves."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, Iterator

import pytest

from ansible_collections.homelab.loadbalancer.tests.cluster.cluster_lab import (
    ADMIN,
    IMAGE,
    Cluster,
    Visitor,
    closed,
    everything,
    recap,
)
from ansible_collections.homelab.loadbalancer.tests.integration.namespaces import wait_for

VIP = "172.16.0.100"
BEFORE, NOW = "0.14.9", "0.15.2"
LABELS = {"app": "web"}
POD = {
    "containers": [
        {
            "name": "web",
            "image": IMAGE,
            "args": ["netexec", "--http-port=8080"],
        }
    ]
}
WEB = [
    {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "pools"}},
    {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "web", "namespace": "pools"},
        "spec": {
            "replicas": 2,
            "selector": {"matchLabels": LABELS},
            "template": {"metadata": {"labels": LABELS}, "spec": POD},
        },
    },
    {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "web", "namespace": "pools"},
        "spec": {"type": "LoadBalancer", "selector": LABELS, "ports": [{"port": 80, "targetPort": 8080}]},
    },
]


def metallb(**variables: Any) -> dict[str, Any]:
    return {"role": "metallb", **variables}


def pools(*addresses: str, name: str = "public-pool", **variables: Any) -> dict[str, Any]:
    """The role `metallb_pool` with one pool."""
    return {
        "role": "metallb_pool",
        "metallb_pool_pools": [{"name": name, "addresses": list(addresses) or ["172.16.0.100-172.16.0.149"]}],
        "metallb_pool_l2_advertisements": [{"name": "public", "pools": [name]}],
        **variables,
    }


def answer(cluster: Cluster, address: str = VIP, patience: int = 2) -> str:
    """The pod that answers the client within so many seconds, or an empty string."""
    return cluster.client("curl", "-sSf", "--max-time", str(patience), "http://%s/hostname" % address, check=False)


def address(cluster: Cluster) -> str:
    """The address of the Service, or an empty string."""
    path = "jsonpath={.status.loadBalancer.ingress[*].ip}"
    return cluster.kubectl("get", "service", "web", "-n", "pools", "-o", path)


def flat(text: str) -> str:
    return re.sub(r"\s+", " ", text)


def refused(cluster: Cluster, role: dict[str, Any]) -> str:
    """What a role says that fails before it changes anything."""
    output = cluster.roles(role, rc=2)
    assert not any(recap(output).values()), output
    return flat(output)


@pytest.fixture(scope="module")
def installed(cluster: Cluster) -> Iterator[Cluster]:
    """The older MetalLB with the default pool, and a Service that has an address of it."""
    for obj in WEB:
        cluster.kubectl("apply", "-f", "-", stdin=json.dumps(obj))
    cluster.kubectl("rollout", "status", "deployment/web", "-n", "pools", "--timeout=120s")
    before = everything(cluster)
    fresh = (metallb(metallb_version=BEFORE), pools())
    try:
        predicted = cluster.roles(*fresh, options=("--check", "--diff"))
        assert everything(cluster) == before
        made = cluster.roles(*fresh)
        assert recap(predicted) == recap(made)
        wait_for(lambda: answer(cluster), "the VIP")
        yield cluster
        # Under a Service that still wants an address.
        said = "Service pools/web (%s) would be left without an address" % VIP
        assert said in refused(cluster, metallb(metallb_state="absent"))
        output = flat(cluster.roles(metallb(metallb_state="absent", metallb_pool_allow_moves=True)))
        assert "strict ARP and the labels of nodes stay as they are" in output
        assert everything(cluster) == before
        assert (address(cluster), answer(cluster)) == ("", "")
        assert not any(recap(cluster.roles(metallb(metallb_state="absent"))).values())
    finally:
        cluster.roles(metallb(metallb_state="absent", metallb_pool_allow_moves=True))
        cluster.kubectl("delete", "namespace", "pools")


def test_an_upgrade_keeps_addresses_and_answers(installed: Cluster, capsys: pytest.CaptureFixture[str]) -> None:
    options = ("--check", "--diff")
    assert not any(recap(installed.roles(metallb(metallb_version=BEFORE), pools(), options=options)).values())
    assert "ServiceBGPStatus" not in installed.kubectl("api-resources")
    with Visitor(lambda: answer(installed)) as visitor:
        assert recap(installed.roles(metallb(metallb_version=NOW), pools())) == {"operator": 1}
    with capsys.disabled():
        print("the VIP did not answer for %.1f s while MetalLB was replaced" % visitor.gap)
    assert visitor.gap < 10
    assert address(installed) == VIP
    assert "ServiceBGPStatus" in installed.kubectl("api-resources")
    assert not any(recap(installed.roles(metallb(), pools())).values())


def test_going_back_removes_what_only_the_newer_one_has(installed: Cluster) -> None:
    installed.roles(metallb(metallb_version=NOW))
    installed.roles(metallb(metallb_version=BEFORE))
    assert "ServiceBGPStatus" not in installed.kubectl("api-resources")
    assert not any(recap(installed.roles(metallb(metallb_version=BEFORE))).values())
    assert address(installed) == VIP


@pytest.mark.parametrize(
    ("role", "message"),
    [
        (pools("172.16.0.149-172.16.0.100"), "is written backwards: write 172.16.0.100-172.16.0.149"),
        (pools("172.16.0.0/25"), "holds 172.16.0.11, the address of node control1, which would be cut off"),
        (pools("172.16.0.20-172.16.0.30", metallb_pool_gateways=["172.16.0.21"]), "the address of a gateway"),
        (pools(metallb_pool_l2_advertisements=[{"name": "public", "pools": ["x"]}]), "pools[0] x is not there"),
        (pools("172.16.0.101-172.16.0.149"), "Service pools/web has 172.16.0.100, which leaves the pool public-pool"),
        (pools(name="renamed"), "Service pools/web has 172.16.0.100, which leaves the pool public-pool"),
        (metallb(metallb_manifest_checksum="0" * 64), "has the SHA-256"),
        (metallb(metallb_manifest="https://127.0.0.1/x.yaml"), "https://127.0.0.1/x.yaml"),
        (
            metallb(metallb_manifest="https://127.0.0.1/x.yaml", metallb_version="9.9.9"),
            "no checksum of MetalLB 9.9.9 in mode native is known: set metallb_manifest_checksum",
        ),
    ],
)  # fmt: skip
def test_what_is_refused(installed: Cluster, role: dict[str, Any], message: str) -> None:
    assert message in refused(installed, role)
    assert (address(installed), bool(answer(installed, patience=20))) == (VIP, True)


def test_a_server_that_cannot_be_used_is_named(installed: Cluster, tmp_path: Path) -> None:
    good = ADMIN.read_text()
    server = re.findall(r"server: *(\S+)", good)[0]
    expired = tmp_path / "expired"
    expired.write_text(re.sub(r"token: \S+", "token: expired", good))
    assert "https://172.16.0.11:1 does not answer" in refused(installed, pools(k8s_kubeconfig=closed(tmp_path)))
    assert "%s refuses the credentials of" % server in refused(installed, metallb(k8s_kubeconfig=str(expired)))


def test_a_pool_is_renamed_when_its_services_may_move(installed: Cluster) -> None:
    renamed = pools(name="renamed", metallb_pool_allow_moves=True)
    predicted = installed.roles(renamed, options=("--check", "--diff"))
    output = installed.roles(renamed)
    assert "Service pools/web has 172.16.0.100" in flat(output)
    assert any(recap(predicted).values())
    listed = [entry["metadata"]["name"] for entry in installed.objects("ipaddresspools", "-A")]
    assert listed == ["renamed"]
    wait_for(lambda: answer(installed, address(installed) or VIP), "the VIP")
    assert not any(recap(installed.roles(renamed)).values())
    installed.roles(pools(metallb_pool_allow_moves=True))
    wait_for(lambda: answer(installed, address(installed) or VIP), "the VIP")


def test_pools_of_others_stay(installed: Cluster) -> None:
    other = {
        "apiVersion": "metallb.io/v1beta1",
        "kind": "IPAddressPool",
        "metadata": {"name": "other", "namespace": "metallb-system"},
        "spec": {"addresses": ["172.16.0.200-172.16.0.210"]},
    }
    installed.kubectl("apply", "-f", "-", stdin=json.dumps(other))
    try:
        overlapping = pools("172.16.0.100-172.16.0.149", "172.16.0.210/32")
        assert "overlaps the pool other in the cluster, which is not ours" in refused(installed, overlapping)
        assert not any(recap(installed.roles(pools())).values())
        assert len(installed.objects("ipaddresspools", "-A")) == 2
    finally:
        installed.kubectl("delete", "ipaddresspool", "other", "-n", "metallb-system")


def test_strict_arp_where_kube_proxy_runs_ipvs(installed: Cluster) -> None:
    """As kubeadm keeps kube-proxy's configuration; the lab's own kube-proxy does not read it."""
    config = "kind: KubeProxyConfiguration\nmode: ipvs\nipvs:\n  strictARP: false\n  scheduler: rr\n"
    proxy = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "kube-proxy", "namespace": "kube-system"},
        "data": {"config.conf": config, "other": "stays"},
    }
    labels = {"k8s-app": "kube-proxy"}
    workload = {
        "apiVersion": "apps/v1",
        "kind": "DaemonSet",
        "metadata": {"name": "kube-proxy", "namespace": "kube-system"},
        "spec": {
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": {**POD, "nodeSelector": {"no": "node"}}},
        },
    }
    try:
        for obj in (proxy, workload):
            installed.kubectl("apply", "-f", "-", stdin=json.dumps(obj))
        assert recap(installed.roles(metallb(metallb_version=BEFORE))) == {"operator": 2}
        read = json.loads(installed.kubectl("get", "configmap", "kube-proxy", "-n", "kube-system", "-o", "json"))
        assert read["data"] == {"config.conf": config.replace("false", "true"), "other": "stays"}
        template = installed.kubectl("get", "daemonset", "kube-proxy", "-n", "kube-system", "-o", "yaml")
        assert "kubectl.kubernetes.io/restartedAt" in template
        assert not any(recap(installed.roles(metallb(metallb_version=BEFORE))).values())
    finally:
        for kind in ("configmap", "daemonset"):
            installed.kubectl("delete", kind, "kube-proxy", "-n", "kube-system", "--ignore-not-found")
