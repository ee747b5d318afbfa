# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The role `gateway` on a real cluster: Traefik behind an address of MetalLB, and how a stand-in for NGINX Gateway
Fabric is installed, of which there are no images here."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, Iterator

import pytest
import yaml

from ansible_collections.homelab.loadbalancer.plugins.module_utils._command import run
from ansible_collections.homelab.loadbalancer.tests.cluster.cluster_lab import IMAGE, Cluster, recap
from ansible_collections.homelab.loadbalancer.tests.integration.namespaces import wait_for

NAME, VIP, HOST = "gateway-test", "172.16.0.145", "www.example.org"
HTTP = {"name": "http", "port": 80, "from": "all"}
KINDS = "gateways.gateway.networking.k8s.io"


class Lab:
    """The cluster, and what the role is given in it."""

    def __init__(self, cluster: Cluster, folder: Path) -> None:
        self.cluster, self.folder = cluster, folder
        for name in ("web", "other"):
            argv = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
            argv += ["-days", "1", "-subj", "/CN=" + HOST, "-addext", "subjectAltName=DNS:" + HOST]
            run([*argv, "-keyout", "%s/%s.key" % (folder, name), "-out", "%s/%s.crt" % (folder, name)])

    def https(self, key: str = "web", **changes: Any) -> dict[str, Any]:
        tls = {"certificate_file": "%s/web.crt" % self.folder, "key_file": "%s/%s.key" % (self.folder, key)}
        return {"name": "https", "protocol": "HTTPS", "port": 443, "hostname": HOST, "tls": tls, **changes}

    def gateway(self, *listeners: dict[str, Any], name: str = "public", address: str = VIP) -> dict[str, Any]:
        return {"name": name, "address": address, "listeners": list(listeners) or [HTTP, self.https()]}

    def role(self, *gateways: dict[str, Any], **variables: Any) -> dict[str, Any]:
        return {
            "role": "gateway",
            "gateway_class": NAME,
            "gateway_namespace": NAME,
            "gateway_gateways": list(gateways) or [self.gateway()],
            "gateway_timeout": 60,
            **variables,
        }

    def run(self, *gateways: dict[str, Any], options: tuple[str, ...] = (), rc: int = 0, **variables: Any) -> str:
        """Run the role, and return what was printed, in one line."""
        output = self.cluster.roles(self.role(*gateways, **variables), options=options, rc=rc)
        return re.sub(r"\s+", " ", output) if rc else output

    def answer(self, port: int = 80, patience: int = 2) -> str:
        """The status that a client outside gets within so many seconds, which is 404 without a route, or nothing."""
        scheme = "https" if port == 443 else "http"
        argv = ["curl", "-sS", "--max-time", str(patience), "-o", "/dev/null", "-w", "%{http_code}"]
        argv += ["--cacert", "%s/web.crt" % self.folder, "--resolve", "%s:%d:%s" % (HOST, port, VIP)]
        said = self.cluster.client(*argv, "%s://%s:%d/" % (scheme, HOST, port), check=False)
        return said if said != "000" else ""


@pytest.fixture(scope="module")
def lab(balanced: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """Traefik with one Gateway; nothing is left of it."""
    cluster = balanced
    found = Lab(cluster, tmp_path_factory.mktemp("keys"))
    kinds = cluster.kubectl("get", "crd", KINDS, "--ignore-not-found", "-o", "name")
    absent = {"gateway_state": "absent", "gateway_remove_crds": not kinds}
    try:
        predicted = found.run(options=("--check", "--diff"))
        assert "+    kind: Gateway" in predicted
        assert cluster.kubectl("get", "ns", NAME, "--ignore-not-found") == ""
        assert recap(found.run()) == recap(predicted)
        yield found
        predicted = found.run(options=("--check",), **absent)
        assert "changed: [operator]" in predicted
    finally:
        removed = found.run(**absent)
    assert recap(removed) == recap(predicted)
    assert cluster.kubectl("get", "ns", NAME, "--ignore-not-found") == ""
    assert cluster.kubectl("get", "clusterrole", "-o", "name").count(NAME) == 0
    assert cluster.kubectl("get", "crd", KINDS, "--ignore-not-found", "-o", "name") == kinds


def test_clients_are_answered_and_a_second_run_changes_nothing(lab: Lab) -> None:
    wait_for(lambda: (lab.answer(80), lab.answer(443)) == ("404", "404"), "answers by HTTP and HTTPS")
    plays = [
        {
            "hosts": "k8s_api",
            "gather_facts": False,
            "tasks": [
                {
                    "ansible.builtin.include_role": {"name": "homelab.loadbalancer.gateway"},
                    "vars": {key: value for key, value in lab.role().items() if key != "role"},
                },
                {"ansible.builtin.debug": {"var": "gateway_addresses"}},
            ],
        }
    ]
    for options in ((), ("--check", "--diff")):
        done = lab.cluster.play(json.dumps(plays), *options)
        assert recap(done.out) == {"operator": 0}
        assert re.search(r"%s/public: *(\[|- )?'?\s*-? ?%s" % (NAME, re.escape(VIP)), done.out), done.out


@pytest.mark.parametrize(
    ("listener", "key", "message"),
    [
        ({"port": 9000}, "web", "listeners[0].port 9000 cannot be served: traefik answers the kubelet there"),
        ({}, "other", "other.key does not fit"),
        ({"hostname": "a_b"}, "web", "listeners[0].hostname a_b is not a host name"),
        ({"tls": {"secret": "none"}}, "web", "tls.secret none is not in the cluster: make it by kubectl create secret"),
    ],
)
def test_what_is_refused(lab: Lab, listener: dict[str, Any], key: str, message: str) -> None:
    output = lab.run(lab.gateway(lab.https(key, **listener)), rc=2)
    assert message in output
    assert lab.answer(443, patience=20) == "404"


def test_what_is_declared_no_more_goes_and_what_cannot_be_is_explained(lab: Lab) -> None:
    more = lab.gateway({"name": "http", "port": 8080}, name="more")
    lab.run(lab.gateway(), more)
    wait_for(lambda: lab.answer(8080) == "404", "an answer on the other port")
    said = lab.run(lab.gateway(address="10.9.9.9"), rc=2, gateway_timeout=20)
    assert "Gateway %s/public: it has" % NAME in said
    assert "10.9.9.9" in said.split("not all Gateways work after 20 s", 1)[1]
    assert "gateway/more" not in lab.cluster.kubectl("get", "gateway", "-n", NAME, "-o", "name")
    lab.run()
    wait_for(lambda: (lab.answer(80), lab.answer(8080)) == ("404", ""), "an answer by HTTP, and none on the other port")


def stand_in() -> list[dict[str, Any]]:
    """A manifest like that of NGINX Gateway Fabric, whose controller does nothing."""
    name = "nginx-" + NAME
    metadata = {"name": name, "namespace": name}
    security = {"runAsNonRoot": True, "runAsUser": 65532}
    container = {"name": "nginx", "image": IMAGE, "args": ["pause"]}
    pod = {"securityContext": security, "containers": [container]}
    job = {**pod, "containers": [{**container, "args": ["--help"]}], "restartPolicy": "Never"}
    secrets = [
        {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": key, "namespace": name}}
        for key in ("agent-tls", "server-tls")
    ]
    return [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}},
        *secrets,
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": metadata,
            "spec": {
                "selector": {"matchLabels": {"app": name}},
                "template": {"metadata": {"labels": {"app": name}}, "spec": pod},
            },
        },
        {
            "apiVersion": "batch/v1",
            "kind": "Job",
            "metadata": metadata,
            "spec": {"template": {"spec": job}, "ttlSecondsAfterFinished": 1},
        },
        {
            "apiVersion": "gateway.networking.k8s.io/v1",
            "kind": "GatewayClass",
            "metadata": {"name": "nginx"},
            "spec": {"controllerName": "example.org/stand-in"},
        },
    ]


def test_nginx_by_a_stand_in(lab: Lab, tmp_path: Path) -> None:
    """All is applied, its Job once; the wait ends when a controller says that the Gateway works."""
    name = "nginx-" + NAME
    manifest = tmp_path / "deploy.yaml"
    manifest.write_text(yaml.safe_dump_all(stand_in()))
    nginx = {
        "gateway_controller": "nginx",
        "gateway_class": name,
        "gateway_namespace": name,
        "gateway_manifests": [{"source": str(manifest)}],
        "gateway_timeout": 30,
    }
    gateway = lab.gateway(HTTP, {**lab.https(), "port": 443}, address="172.16.0.146")
    try:
        said = lab.run(gateway, rc=2, **nginx)
        assert "Gateway %s/public: no controller has taken it up" % name in said
        status = {
            "conditions": [
                {
                    "type": kind,
                    "status": "True",
                    "reason": kind,
                    "message": "",
                    "lastTransitionTime": "2026-01-01T00:00:00Z",
                }
                for kind in ("Accepted", "Programmed")
            ],
            "addresses": [{"type": "IPAddress", "value": "172.16.0.146"}],
        }
        argv = ["gateway", "public", "-n", name, "--subresource=status", "--type=merge"]
        lab.cluster.kubectl("patch", *argv, "-p", json.dumps({"status": status}))
        assert recap(lab.run(gateway, **nginx)) == {"operator": 0}
    finally:
        lab.run(gateway_state="absent", **nginx)
    assert lab.cluster.kubectl("get", "ns,gatewayclass", "-o", "name").count(name) == 0
