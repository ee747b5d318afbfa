# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A controller of the Gateway API, its Gateways, and the client that asks them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ansible_collections.homelab.loadbalancer.plugins.module_utils._common.command import run
from ansible_collections.homelab.loadbalancer.tests.cluster.cluster_lab import Cluster, wait_for

NAME, VIP, HOST = "gateway-test", "172.16.0.145", "www.example.org"
HTTP = {"name": "http", "port": 80, "hostname": "*.k8s.local", "from": "all"}


class Gateways:
    """The role `gateway`, and a client outside the cluster that knows the address of the Gateway `public`."""

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
            "gateway_timeout": 90,
            **variables,
        }

    def run(self, *gateways: dict[str, Any], rc: int = 0, **variables: Any) -> str:
        """Run the role, and return what was printed."""
        return self.cluster.roles(self.role(*gateways, **variables), rc=rc)

    def answer(self, port: int = 80) -> str:
        """The status that the client gets, which is 404 without a route, or an empty string."""
        scheme = "https" if port == 443 else "http"
        argv = ["curl", "-sS", "--max-time", "2", "-o", "/dev/null", "-w", "%{http_code}"]
        argv += ["--cacert", "%s/web.crt" % self.folder, "--resolve", "%s:%d:%s" % (HOST, port, VIP)]
        said = self.cluster.client(*argv, "%s://%s:%d/" % (scheme, HOST, port), check=False)
        return said if said != "000" else ""

    def get(self, host: str, path: str = "/hostname", *options: str) -> str:
        """What curl prints; nothing when the answer is no success."""
        argv = ("curl", "-sSf", "--max-time", "5", "-H", "Host: " + host, *options, "http://%s%s" % (VIP, path))
        return self.cluster.client(*argv, check=False)

    def served(self, host: str, by: str, *options: str) -> str:
        """Wait until pods of an application answer: a controller takes a moment for what it has accepted."""
        return wait_for(
            lambda: said if (said := self.get(host, "/hostname", *options)).startswith(by + "-") else "",
            "%s is served by %s" % (host, by),
        )
