# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The role `gateway` on a real cluster: Traefik behind an address of MetalLB, asked by a client outside of it."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, Iterator

import pytest

from ansible_collections.homelab.loadbalancer.plugins.module_utils._common.command import run
from ansible_collections.homelab.loadbalancer.tests.cluster.cluster_lab import Cluster, recap
from ansible_collections.homelab.loadbalancer.tests.integration.namespaces import wait_for

NAME, VIP, HOST = "gateway-test", "172.16.0.145", "www.example.org"
HTTP = {"name": "http", "port": 80, "from": "all"}
KINDS = "gateways.gateway.networking.k8s.io"


class Lab:
    """The cluster, and what the role is given in it."""

    def __init__(self, cluster: Cluster, folder: Path) -> None:
        self.cluster, self.folder = cluster, folder
        argv = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
        argv += ["-days", "1", "-subj", "/CN=" + HOST, "-addext", "subjectAltName=DNS:" + HOST]
        run([*argv, "-keyout", "%s/web.key" % folder, "-out", "%s/web.crt" % folder])

    def https(self) -> dict[str, Any]:
        tls = {"certificate_file": "%s/web.crt" % self.folder, "key_file": "%s/web.key" % self.folder}
        return {"name": "https", "protocol": "HTTPS", "port": 443, "hostname": HOST, "tls": tls}

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


def test_undeclared_gateway_is_not_served_and_a_wrong_address_is_explained(lab: Lab) -> None:
    more = lab.gateway({"name": "http", "port": 8080}, name="more")
    lab.run(lab.gateway(), more)
    wait_for(lambda: lab.answer(8080) == "404", "an answer on the other port")
    said = lab.run(lab.gateway(address="10.9.9.9"), rc=2, gateway_timeout=20)
    assert "Gateway %s/public: it has" % NAME in said
    assert "10.9.9.9" in said.split("not all Gateways work after 20 s", 1)[1]
    assert "gateway/more" not in lab.cluster.kubectl("get", "gateway", "-n", NAME, "-o", "name")
    lab.run()
    wait_for(lambda: (lab.answer(80), lab.answer(8080)) == ("404", ""), "an answer by HTTP, and none on the other port")
