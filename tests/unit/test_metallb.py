# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""MetalLB's manifest as it is applied, and the configuration of kube-proxy."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from ansible.errors import AnsibleFilterError

from ansible_collections.homelab.loadbalancer.plugins.filter.kube_proxy_strict_arp import kube_proxy_strict_arp
from ansible_collections.homelab.loadbalancer.plugins.filter.metallb_losses import losses
from ansible_collections.homelab.loadbalancer.plugins.filter.metallb_plan import metallb_plan


def workload(kind: str, name: str) -> dict[str, Any]:
    container = {"name": name, "args": ["--port=7472"]}
    pod = {"containers": [container], "nodeSelector": {"kubernetes.io/os": "linux"}, "tolerations": [{"key": "cp"}]}
    metadata = {"name": name, "namespace": "metallb-system", "labels": {"app": "metallb"}}
    return {"apiVersion": "apps/v1", "kind": kind, "metadata": metadata, "spec": {"template": {"spec": pod}}}


CRD = {
    "apiVersion": "apiextensions.k8s.io/v1",
    "kind": "CustomResourceDefinition",
    "metadata": {"name": "bgppeers.metallb.io", "creationTimestamp": None},
    "spec": {"conversion": {"webhook": {"clientConfig": {"caBundle": "Y2E=", "service": {"name": "w"}}}}},
    "status": {},
}
WEBHOOKS = {
    "apiVersion": "admissionregistration.k8s.io/v1",
    "kind": "ValidatingWebhookConfiguration",
    "metadata": {"name": "m"},
    "webhooks": [{"name": "x", "clientConfig": {"caBundle": "Y2E=", "service": {"name": "w"}}}],
}
EXTRA = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "frr", "namespace": "metallb-system"}}
MANIFEST: list[Any] = [
    CRD,
    {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "metallb-system"}},
    None,
    workload("Deployment", "controller"),
    workload("DaemonSet", "speaker"),
    WEBHOOKS,
]


def by_name(objects: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    return {entry["metadata"]["name"]: entry for entry in objects}


def text(documents: list[Any]) -> str:
    written: str = yaml.safe_dump_all(documents)
    return written


def record(objects: list[dict[str, Any]]) -> str:
    found: str = by_name(objects)["homelab-loadbalancer-metallb"]["data"]["objects"]
    return found


def test_the_manifest_stays_but_for_labels_and_what_its_controller_writes() -> None:
    made = metallb_plan(text(MANIFEST))["apply"]
    found = by_name(made)
    assert list(found)[:2] == ["metallb-system", "homelab-loadbalancer-metallb"]
    assert all(entry["metadata"]["labels"]["app.kubernetes.io/part-of"] == "metallb" for entry in made)
    assert found["speaker"]["metadata"]["labels"]["app"] == "metallb"
    assert found["speaker"]["spec"] == MANIFEST[4]["spec"]
    assert found["bgppeers.metallb.io"]["spec"] == {
        "conversion": {"webhook": {"clientConfig": {"service": {"name": "w"}}}}
    }
    assert "status" not in found["bgppeers.metallb.io"]
    assert found["m"]["webhooks"] == [{"name": "x", "clientConfig": {"service": {"name": "w"}}}]


def test_options_of_the_pods() -> None:
    found = by_name(
        metallb_plan(
            text(MANIFEST),
            load_balancer_class="lab/metallb",
            node_selector={"edge": "yes"},
            tolerations=[{"key": "edge"}],
        )["apply"]
    )
    pods = {name: found[name]["spec"]["template"]["spec"] for name in ("controller", "speaker")}
    for pod in pods.values():
        assert pod["containers"][0]["args"] == ["--port=7472", "--lb-class=lab/metallb"]
    assert pods["controller"] == {**MANIFEST[3]["spec"]["template"]["spec"],
                                  "containers": pods["controller"]["containers"]}  # fmt: skip
    assert pods["speaker"]["nodeSelector"] == {"kubernetes.io/os": "linux", "edge": "yes"}
    assert pods["speaker"]["tolerations"] == [{"key": "cp"}, {"key": "edge"}]


def test_the_text_may_be_of_a_class_of_ansibles() -> None:
    class Tagged(str):
        pass

    assert metallb_plan(Tagged(text(MANIFEST))) == metallb_plan(text(MANIFEST))


def test_what_is_no_yaml_is_refused() -> None:
    with pytest.raises(AnsibleFilterError, match="metallb_manifest is no YAML: "):
        metallb_plan("a: b: c")


@pytest.mark.parametrize(
    ("documents", "message"),
    [
        ([EXTRA], "metallb_manifest has no Deployment controller: it must be a manifest of MetalLB"),
        (MANIFEST[:4], "metallb_manifest has no DaemonSet speaker: it must be a manifest of MetalLB"),
        (["<html>"], "metallb_manifest[0] must be a mapping, not str"),
    ],
)
def test_what_is_no_manifest_is_refused(documents: list[Any], message: str) -> None:
    with pytest.raises(AnsibleFilterError) as caught:
        metallb_plan(text(documents))
    assert message in str(caught.value)


def test_an_upgrade_removes_what_is_in_the_manifest_no_more() -> None:
    before = metallb_plan(text([*MANIFEST, EXTRA]))
    assert (before["remove"], before["settle"]) == ([], [])
    after = metallb_plan(text(MANIFEST), record=record(before["apply"]))
    # An upgrade that is cut short finds what to remove the next time.
    assert after["remove"] == [EXTRA]
    assert sorted(record(after["apply"]).splitlines()) == sorted(record(before["apply"]).splitlines())
    assert record(after["apply"]).endswith("v1 ConfigMap metallb-system frr\n")
    assert record(after["settle"]) == record(metallb_plan(text(MANIFEST))["apply"])
    assert metallb_plan(text(MANIFEST), record=record(after["settle"]))["remove"] == []


def test_a_removal_needs_no_manifest() -> None:
    applied = metallb_plan(text(MANIFEST))["apply"]
    removed = metallb_plan("", record=record(applied))
    assert (removed["apply"], removed["settle"]) == ([], [])
    assert [(entry["kind"], entry["metadata"]["name"]) for entry in removed["remove"]] == [
        ("Namespace", "metallb-system"),
        ("CustomResourceDefinition", "bgppeers.metallb.io"),
        ("Deployment", "controller"),
        ("DaemonSet", "speaker"),
        ("ValidatingWebhookConfiguration", "m"),
    ]
    assert metallb_plan("")["remove"] == []


KUBEADM = """\
apiVersion: kubeproxy.config.k8s.io/v1alpha1
ipvs:
  excludeCIDRs: null
  strictARP: false
  syncPeriod: 0s
kind: KubeProxyConfiguration
mode: %s
"""


@pytest.mark.parametrize(
    "config",
    [
        KUBEADM % "ipvs",
        "mode: ipvs\n",
        "mode: ipvs\nipvs:\n  syncPeriod: 0s\nkind: K\n",
        "mode: ipvs\nipvs: {}\nkind: K",
        "mode: ipvs\nipvs:\nkind: K\n",
    ],
)
def test_strict_arp_is_set_and_all_else_stays(config: str) -> None:
    changed = kube_proxy_strict_arp(config)
    before, after = yaml.safe_load(config), yaml.safe_load(changed)
    assert after == {**before, "ipvs": {**(before.get("ipvs") or {}), "strictARP": True}}
    assert kube_proxy_strict_arp(changed) == changed


def test_only_that_line_changes() -> None:
    before, after = KUBEADM % "ipvs", kube_proxy_strict_arp(KUBEADM % "ipvs")
    assert after == before.replace("strictARP: false", "strictARP: true")


@pytest.mark.parametrize("mode", ['""', "iptables", "nftables"])
def test_other_modes_need_none(mode: str) -> None:
    assert kube_proxy_strict_arp(KUBEADM % mode) == KUBEADM % mode


@pytest.mark.parametrize("config", ["", "- a", "mode: [", "{mode: ipvs, ipvs: {strictARP: false}}"])
def test_an_unusual_configuration_is_refused(config: str) -> None:
    with pytest.raises(AnsibleFilterError, match="configuration of kube-proxy"):
        kube_proxy_strict_arp(config)


def test_services_of_others_would_lose_their_address() -> None:
    ours = {"app.kubernetes.io/managed-by": "homelab.loadbalancer", "app.kubernetes.io/part-of": "site"}

    def thing(name: str, address: str = "", **metadata: Any) -> dict[str, Any]:
        marks = {"metallb.io/ip-allocated-from-pool": "public"} if address else {}
        status = {"loadBalancer": {"ingress": [{"ip": address}]}} if address else {}
        return {"metadata": {"name": name, "namespace": "x", "annotations": marks, **metadata}, "status": status}

    services = [
        thing("foreign", "172.16.0.120"),
        thing("own", "172.16.0.121", labels=ours),
        thing("of-gateway", "172.16.0.122", ownerReferences=[{"kind": "Gateway", "name": "public"}]),
        thing("of-foreign-gateway", "172.16.0.123", ownerReferences=[{"kind": "Gateway", "name": "other"}]),
        thing("pending"),
        {**thing("of-a-cloud"), "status": {"loadBalancer": {"ingress": [{"hostname": "lb.example.org"}]}}},
    ]
    looked_up = [
        {"kind": "Service", "resources": services},
        {"kind": "Gateway", "resources": [thing("public", labels=ours), thing("other")]},
    ]
    assert losses(looked_up, [ours]) == [
        "Service x/foreign (172.16.0.120)",
        "Service x/of-foreign-gateway (172.16.0.123)",
    ]
    assert len(losses(looked_up)) == 4
