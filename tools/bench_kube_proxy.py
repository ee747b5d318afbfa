# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The lab's kube-proxy in its mode nftables, on the API server of the tests, for comparison."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Iterator, Sequence

from ansible_collections.homelab.loadbalancer.tests.api.api_server import ADDRESS, ApiServer

SERVICES = "/api/v1/namespaces/default/services"
SLICES = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices"
METRICS = "127.0.0.1:10249"
LIMIT = 3600  # seconds for one synchronisation


class KubeProxy(ApiServer):
    """An API server, and a kube-proxy in the same network namespace."""

    def declare(self, services: Sequence[dict[str, Any]]) -> None:
        """Create the services as Services with EndpointSlices, with addresses that the API server chooses."""
        address = {"type": "InternalIP", "address": ADDRESS}
        node = {"metadata": {"name": "bench"}, "status": {"addresses": [address]}}
        self.ask("POST", "/api/v1/nodes", node)
        with ThreadPoolExecutor(4) as pool:
            for service in services:
                pool.submit(self._create, service)
        for path in (SERVICES, SLICES):
            found = len(self.get(path)["items"]) - 1  # the Service kubernetes
            if found != len(services):
                sys.exit("%s has %d of %d objects" % (path, found, len(services)))

    def _create(self, service: dict[str, Any]) -> None:
        ports = [{"port": service["port"], "protocol": "TCP"}]
        self.ask("POST", SERVICES, {"metadata": {"name": service["name"]}, "spec": {"ports": ports}})
        self.ask("POST", SLICES, endpoint_slice(service))

    def first_sync(self) -> float:
        """The seconds of the first synchronisation: from the time when it knows all objects to its last rule."""
        self._start(
            "kube-proxy",
            "--cluster-cidr=10.0.0.0/8",
            "--conntrack-max-per-core=0",
            "--conntrack-tcp-timeout-close-wait=0s",
            "--conntrack-tcp-timeout-established=0s",
            "--hostname-override=bench",
            "--kubeconfig=%s" % self.kubeconfig,
            "--metrics-bind-address=" + METRICS,
            "--proxy-mode=nftables",
        )
        return self._next_sync("full", 0, 0)

    def change_one(self, service: dict[str, Any]) -> float:
        """The seconds of the synchronisation after a change of one service."""
        before = self._syncs("partial")
        self.ask("PUT", "%s/%s" % (SLICES, service["name"]), endpoint_slice(service))
        return self._next_sync("partial", *before)

    def _next_sync(self, kind: str, count: float, seconds: float) -> float:
        end = time.monotonic() + LIMIT
        while time.monotonic() < end:
            now, took = self._syncs(kind)
            if now > count:
                return (took - seconds) / (now - count)
            time.sleep(0.2)
        sys.exit("kube-proxy has not synchronised within %d s:\n%s" % (LIMIT, self.logs()))

    def _syncs(self, kind: str) -> tuple[float, float]:
        """The number of synchronisations of IPv4, and their seconds: kubeproxy_sync_*_proxy_rules_duration_seconds."""
        argv = [*self.inside, "curl", "-s", "http://%s/metrics" % METRICS]
        found = dict(parse_metric(subprocess.run(argv, capture_output=True, text=True, check=False).stdout, kind))
        return found.get("count", 0), found.get("sum", 0)

    def processor(self) -> float:
        """The processor's seconds of kube-proxy since its start, and of the programs that it has started."""
        status = Path("/proc/%d/stat" % self._processes[-1].pid).read_text().rpartition(")")[2].split()
        return sum(map(int, status[11:15])) / os.sysconf("SC_CLK_TCK")

    def services_in_kernel(self) -> int:
        """The services that its table has."""
        argv = [*self.inside, "nft", "list", "map", "ip", "kube-proxy", "service-ips"]
        return subprocess.run(argv, capture_output=True, text=True, check=True).stdout.count(" : goto ")


def parse_metric(text: str, kind: str) -> Iterator[tuple[str, float]]:
    pattern = r'^kubeproxy_sync_%s_proxy_rules_duration_seconds_(sum|count)\{ip_family="IPv4"\} (\S+)' % kind
    for name, value in re.findall(pattern, text, re.MULTILINE):
        yield name, float(value)


def endpoint_slice(service: dict[str, Any]) -> dict[str, Any]:
    addresses = [endpoint["address"] for endpoint in service["endpoints"]]
    return {
        "metadata": {"name": service["name"], "labels": {"kubernetes.io/service-name": service["name"]}},
        "addressType": "IPv4",
        "ports": [{"port": service["endpoints"][0]["port"], "protocol": "TCP"}],
        "endpoints": [{"addresses": [address], "conditions": {"ready": True}} for address in addresses],
    }
