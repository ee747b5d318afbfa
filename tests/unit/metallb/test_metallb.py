# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module `metallb`: its manifest, kube-proxy's strict ARP, and its removal."""

from __future__ import annotations

from typing import Any, Mapping, Sequence

import pytest
import yaml

from ansible_collections.homelab.loadbalancer.plugins.module_utils._common.errors import InputError
from ansible_collections.homelab.loadbalancer.plugins.plugin_utils._k8s.model import (
    Accepted,
    Apply,
    Patch,
    Plan,
    Remove,
    Rollout,
)
from ansible_collections.homelab.loadbalancer.plugins.plugin_utils._metallb import manifest
from ansible_collections.homelab.loadbalancer.plugins.plugin_utils._metallb.input import CHECKSUMS, source, verify
from ansible_collections.homelab.loadbalancer.plugins.plugin_utils._metallb.losses import losses
from ansible_collections.homelab.loadbalancer.plugins.plugin_utils._metallb.plan import EXCLUDED, plan, queries
from ansible_collections.homelab.loadbalancer.plugins.plugin_utils._metallb.proxy import MARK, RESTARTED, strict_arp


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


def by_name(objects: Sequence[Mapping[str, Any]]) -> dict[str, Mapping[str, Any]]:
    return {entry["metadata"]["name"]: entry for entry in objects}


def text(documents: list[Any]) -> str:
    written: str = yaml.safe_dump_all(documents)
    return written


NOW = "2026-01-02T00:00:00Z"


def record(plan: Plan) -> str:
    """The record that the plan applies first."""
    apply = next(step for step in plan.steps if isinstance(step, Apply))
    return recorded(apply)


def recorded(step: Apply) -> str:
    text: str = by_name(step.objects)["homelab-loadbalancer-metallb"]["data"]["objects"]
    return text


def read(documents: list[Any], **more: Any) -> list[dict[str, Any]]:
    return manifest.read(text(documents), "metallb_manifest", **more)


def options(documents: list[Any] | None = None, **more: Any) -> dict[str, Any]:
    """The options of the module, as the action passes them."""
    return {
        "state": "present",
        "version": "0.15.2",
        "mode": "native",
        "manifest": "",
        "manifest_checksum": "",
        "include_excluded_nodes": False,
        "strict_arp": True,
        "take_over": False,
        "allow_moves": False,
        "leaving": [],
        "timeout": 300,
        "prefix": "metallb_",
        "now": NOW,
        "wanted": read(MANIFEST if documents is None else documents),
        **more,
    }


def planned(given: dict[str, Any], applied: str | None = None, **kinds: Any) -> Plan:
    """The plan for a cluster with these objects, and with this record of earlier applied objects."""
    maps = [*kinds.pop("ConfigMap", [])]
    if applied is not None:
        data = {"objects": applied} if applied else {}
        maps.append({"metadata": {"name": "homelab-loadbalancer-metallb"}, "data": data})
    standing = {**kinds, "ConfigMap": maps}
    asked = {query["kind"]: standing.get(query["kind"], []) for query in queries(given)}
    return plan(given, [{"kind": kind, "api_found": True, "resources": found} for kind, found in asked.items()])


def test_manifest_is_applied_with_labels_and_without_controller_fields() -> None:
    made = planned(options()).steps[0]
    assert isinstance(made, Apply)
    found = by_name(made.objects)
    assert list(found)[:2] == ["metallb-system", "homelab-loadbalancer-metallb"]
    assert all(entry["metadata"]["labels"]["app.kubernetes.io/part-of"] == "metallb" for entry in made.objects)
    assert found["speaker"]["metadata"]["labels"]["app"] == "metallb"
    assert found["speaker"]["spec"] == MANIFEST[4]["spec"]
    assert found["bgppeers.metallb.io"]["spec"] == {
        "conversion": {"webhook": {"clientConfig": {"service": {"name": "w"}}}}
    }
    assert "status" not in found["bgppeers.metallb.io"]
    assert found["m"]["webhooks"] == [{"name": "x", "clientConfig": {"service": {"name": "w"}}}]


def test_options_of_the_pods() -> None:
    found = by_name(
        read(
            MANIFEST,
            load_balancer_class="lab/metallb",
            node_selector={"edge": "yes"},
            tolerations=[{"key": "edge"}],
        )
    )
    pods = {name: found[name]["spec"]["template"]["spec"] for name in ("controller", "speaker")}
    for pod in pods.values():
        assert pod["containers"][0]["args"] == ["--port=7472", "--lb-class=lab/metallb"]
    assert pods["controller"] == {**MANIFEST[3]["spec"]["template"]["spec"],
                                  "containers": pods["controller"]["containers"]}  # fmt: skip
    assert pods["speaker"]["nodeSelector"] == {"kubernetes.io/os": "linux", "edge": "yes"}
    assert pods["speaker"]["tolerations"] == [{"key": "cp"}, {"key": "edge"}]


def test_invalid_yaml_is_refused() -> None:
    with pytest.raises(InputError, match="metallb_manifest is no YAML: "):
        manifest.read("a: b: c", "metallb_manifest")


@pytest.mark.parametrize(
    ("documents", "message"),
    [
        ([EXTRA], "metallb_manifest has no Deployment controller: it must be a manifest of MetalLB"),
        (MANIFEST[:4], "metallb_manifest has no DaemonSet speaker: it must be a manifest of MetalLB"),
        (["<html>"], "metallb_manifest[0] must be a mapping, not str"),
    ],
)
def test_invalid_manifests_are_refused(documents: list[Any], message: str) -> None:
    with pytest.raises(InputError) as caught:
        read(documents)
    assert message in str(caught.value)


def test_a_release_is_known_by_its_checksum() -> None:
    place, checksum = source(options())
    assert place == "https://raw.githubusercontent.com/metallb/metallb/v0.15.2/config/manifests/metallb-native.yaml"
    assert checksum == CHECKSUMS["native"]["0.15.2"]
    assert source(options(mode="frr", manifest="HTTPS://mirror/m.yaml"))[1] == CHECKSUMS["frr"]["0.15.2"]
    assert source(options(manifest="https://mirror/m.yaml", manifest_checksum="0a"))[1] == "0a"
    # A file is checked where the user wants it to be.
    assert source(options(manifest="m.yaml", version="9.9.9")) == ("m.yaml", "")
    assert source(options(manifest="m.yaml", manifest_checksum="0a")) == ("m.yaml", "0a")


def test_an_unknown_release_needs_a_checksum() -> None:
    with pytest.raises(InputError) as caught:
        source(options(version="9.9.9", manifest="https://mirror/m.yaml"))
    assert str(caught.value) == (
        "no checksum of MetalLB 9.9.9 in mode native is known: set metallb_manifest_checksum to the SHA-256 of "
        "https://mirror/m.yaml"
    )


def test_manifest_with_a_wrong_checksum_is_refused() -> None:
    found = "2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881"
    verify(b"x", "m.yaml", found.upper(), "metallb_manifest")
    verify(b"x", "m.yaml", "", "metallb_manifest")
    with pytest.raises(InputError) as caught:
        verify(b"x", "m.yaml", "0a", "metallb_manifest")
    assert str(caught.value) == (
        "metallb_manifest m.yaml has the SHA-256 %s instead of 0a: it was changed or is of another version. If it is "
        "right, set metallb_manifest_checksum to its SHA-256" % found
    )


def test_an_upgrade_removes_objects_that_the_new_manifest_lacks() -> None:
    before = planned(options([*MANIFEST, EXTRA]))
    assert [type(step) for step in before.steps] == [Apply, Rollout, Accepted]
    after = planned(options(), record(before))
    # After an interrupted upgrade the next run still removes the old objects.
    apply, rollout, remove, settle, accepted = after.steps
    assert isinstance(remove, Remove) and list(remove.objects) == [EXTRA]
    assert sorted(record(after).splitlines()) == sorted(record(before).splitlines())
    assert record(after).endswith("v1 ConfigMap metallb-system frr\n")
    assert isinstance(settle, Apply) and recorded(settle) == record(planned(options()))
    assert (type(apply), type(rollout), type(accepted)) == (Apply, Rollout, Accepted)
    assert [type(step) for step in planned(options(), recorded(settle)).steps] == [Apply, Rollout, Accepted]


@pytest.mark.parametrize("take_over", [False, True])
def test_foreign_fields_are_taken_over_only_with_take_over(take_over: bool) -> None:
    applied = record(planned(options([*MANIFEST, EXTRA])))
    steps = planned(options(take_over=take_over), applied).steps
    assert [step.force for step in steps if isinstance(step, Apply)] == [take_over, take_over]


def test_webhook_is_awaited_and_its_failure_explained() -> None:
    accepted = planned(options()).steps[-1]
    assert isinstance(accepted, Accepted)
    assert accepted.failure == "MetalLB accepted no pool within 300 seconds."
    assert "see that kube-proxy runs on the API server's own node" in accepted.hint
    assert planned(options()).timeout == 300


CUSTOM = {
    "apiVersion": "metallb.io/v1beta1",
    "kind": "IPAddressPool",
    "metadata": {"name": "public", "namespace": "metallb-system", "uid": "1"},
}


def test_removal_needs_no_manifest_and_begins_with_custom_resources() -> None:
    applied = record(planned(options()))
    customs, removed = planned(
        options([MANIFEST[3], MANIFEST[4]], state="absent"), applied, IPAddressPool=[CUSTOM]
    ).steps
    assert isinstance(customs, Remove) and isinstance(removed, Remove)
    assert [entry["metadata"] for entry in customs.objects] == [{"name": "public", "namespace": "metallb-system"}]
    assert [(entry["kind"], entry["metadata"]["name"]) for entry in removed.objects] == [
        ("Namespace", "metallb-system"),
        ("CustomResourceDefinition", "bgppeers.metallb.io"),
        ("Deployment", "controller"),
        ("DaemonSet", "speaker"),
        ("ValidatingWebhookConfiguration", "m"),
    ]


def test_foreign_metallb_is_kept() -> None:
    made = planned(options(state="absent"), IPAddressPool=[CUSTOM], Service=[thing("web", "172.16.0.120")])
    assert (made.steps, made.refusals, made.result) == ([], [], {"losses": []})
    assert made.notes[0] == "No MetalLB that this role installed was in the cluster."


@pytest.mark.parametrize("text", ["", "v1 Namespace"])
def test_a_damaged_record_is_refused(text: str) -> None:
    for state in ("present", "absent"):
        with pytest.raises(InputError, match="ConfigMap metallb-system/homelab-loadbalancer-metallb, the rec"):
            planned(options(state=state), text)


KUBEADM = "kind: KubeProxyConfiguration\nmode: %s\nipvs:\n  strictARP: false\n"


def proxy(config: str, set_at: str = "", restarted: str = "") -> dict[str, Any]:
    """kube-proxy as kubeadm installs it."""
    name = {"name": "kube-proxy", "namespace": "kube-system"}
    marks = {"annotations": {MARK: set_at}} if set_at else {}
    template = {"metadata": {"annotations": {RESTARTED: restarted}}} if restarted else {}
    return {
        "ConfigMap": [{"metadata": {**name, **marks}, "data": {"config.conf": config}}],
        "DaemonSet": [{"metadata": name, "spec": {"template": template}}],
    }


STRICT = strict_arp(KUBEADM % "ipvs")


@pytest.mark.parametrize(
    ("found", "kinds"),
    [
        ({}, []),
        (proxy(KUBEADM % "iptables"), []),
        (proxy(KUBEADM % "ipvs"), ["ConfigMap", "DaemonSet"]),
        # Also where it was restarted within this second.
        (proxy(KUBEADM % "ipvs", restarted=NOW), ["ConfigMap", "DaemonSet"]),
        ({**proxy(KUBEADM % "ipvs"), "DaemonSet": []}, ["ConfigMap"]),
        (proxy(STRICT), []),  # set by the user
        (proxy(STRICT, NOW, NOW), []),
        (proxy(STRICT, NOW, "2026-01-02T01:00:00+01:00"), []),
        # A run that was cut off between the two.
        (proxy(STRICT, NOW), ["DaemonSet"]),
        (proxy(STRICT, NOW, "2026-01-02T00:30:00+01:00"), ["DaemonSet"]),
        (proxy(STRICT, NOW, "tomorrow"), ["DaemonSet"]),
    ],
)
def test_kube_proxy_is_restarted_after_a_change_of_its_configuration(found: dict[str, Any], kinds: list[str]) -> None:
    made = [step for step in planned(options(), **found).steps if isinstance(step, Patch)]
    assert [step.target["kind"] for step in made] == kinds
    assert not any(isinstance(step, Patch) for step in planned(options(strict_arp=False), **found).steps)
    if kinds == ["ConfigMap", "DaemonSet"]:
        assert made[0].patch == {"metadata": {"annotations": {MARK: NOW}}, "data": {"config.conf": STRICT}}
        assert made[1].patch == {"spec": {"template": {"metadata": {"annotations": {RESTARTED: NOW}}}}}


def test_nodes_that_announce_nothing_are_named_or_their_label_is_removed() -> None:
    nodes = [{"metadata": {"name": name}} for name in ("control1", "control2")]
    (note,) = planned(options(), Node=nodes).notes
    assert note == (
        "MetalLB announces nothing from control1, control2, which has the label %s. metallb_include_excluded_nodes: "
        "true removes it" % EXCLUDED
    )
    made = planned(options(include_excluded_nodes=True), Node=nodes)
    patches = [step for step in made.steps if isinstance(step, Patch)]
    assert made.notes == []
    assert [step.target["metadata"]["name"] for step in patches] == ["control1", "control2"]
    assert all(step.patch == {"metadata": {"labels": {EXCLUDED: None}}} for step in patches)


OURS = {"app.kubernetes.io/managed-by": "homelab.loadbalancer", "app.kubernetes.io/part-of": "site"}


def thing(name: str, address: str = "", **metadata: Any) -> dict[str, Any]:
    marks = {"metallb.io/ip-allocated-from-pool": "public"} if address else {}
    status = {"loadBalancer": {"ingress": [{"ip": address}]}} if address else {}
    about = {"name": name, "namespace": "x", "annotations": marks, **metadata}
    return {"metadata": about, "spec": {"type": "LoadBalancer"}, "status": status}


OF_A_CLOUD = {**thing("of-a-cloud"), "status": {"loadBalancer": {"ingress": [{"hostname": "lb.example.org"}]}}}
SERVICES = [
    thing("foreign", "172.16.0.120"),
    thing("own", "172.16.0.121", labels=OURS),
    thing("of-gateway", "172.16.0.122", ownerReferences=[{"kind": "Gateway", "name": "public"}]),
    thing("of-foreign-gateway", "172.16.0.123", ownerReferences=[{"kind": "Gateway", "name": "other"}]),
    thing("pending"),
    OF_A_CLOUD,
]


def test_removal_is_refused_while_services_have_addresses() -> None:
    gateways = [thing("public", labels=OURS), thing("other")]
    foreign = ["Service x/foreign (172.16.0.120)", "Service x/of-foreign-gateway (172.16.0.123)"]
    assert losses(SERVICES, gateways, [OURS]) == foreign
    assert len(losses(SERVICES, gateways)) == 4
    applied = record(planned(options()))
    made = planned(options(state="absent", leaving=[OURS]), applied, Service=SERVICES, Gateway=gateways)
    assert made.result == {"losses": foreign}
    assert made.refusals == [
        ", ".join(foreign) + " would lose their addresses: remove these Services first, or set "
        "metallb_pool_allow_moves: true"
    ]
    bold = options(state="absent", allow_moves=True)
    assert planned(bold, applied, Service=SERVICES).refusals == []
    plain = options(state="absent", prefix="")
    assert planned(plain, applied, Service=SERVICES).refusals[0].endswith("first, or set allow_moves: true")


@pytest.mark.parametrize(
    ("running", "kept"),
    [(1, "x/of-a-cloud"), (0, "x/foreign, x/own, x/of-gateway, x/of-foreign-gateway, x/of-a-cloud")],
)
def test_services_that_keep_an_address_are_named(running: int, kept: str) -> None:
    """MetalLB's own are taken off by its controller, if that runs."""
    controller = {"metadata": {"name": "controller"}, "status": {"availableReplicas": running}}
    given = options(state="absent", allow_moves=True)
    made = planned(given, record(planned(options())), Service=SERVICES, Deployment=[controller])
    assert made.notes == [
        "Open firewall ports, strict ARP and the labels of nodes stay as they are.",
        "These Services still show an address that nothing may answer: " + kept,
    ]
