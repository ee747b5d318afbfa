# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Health checks by keepalived: a failing real server gets no connections until it recovers."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any, Iterator

import pytest

from ansible_collections.homelab.loadbalancer.tests.integration.failover_lab import FailoverLab
from ansible_collections.homelab.loadbalancer.tests.integration.namespaces import standing, wait_for
from ansible_collections.homelab.loadbalancer.tests.integration.services_lab import SYSCTLS

VIP = "192.168.10.100"
PODS = {"pod1": "192.168.20.20", "pod2": "192.168.20.21"}


def _host(name: str, vlan: int, address: str) -> dict[str, Any]:
    links = [{"name": "eth0", "vlan": vlan, "addresses": [address + "/24"]}]
    return {"name": name, "links": links, "gateways": ["192.168.%d.1" % vlan]}


def _hosts() -> list[dict[str, Any]]:
    links = [
        {"name": "eth%d" % i, "vlan": vlan, "addresses": ["192.168.%d.1/24" % vlan]} for i, vlan in enumerate((10, 20))
    ]
    return [
        {"name": "director1", "links": links, "sysctls": SYSCTLS},
        _host("client", 10, "192.168.10.10"),
        *(_host(name, 20, address) for name, address in PODS.items()),
    ]


class HealthLab(FailoverLab):
    """One director and two pods, whose HTTP servers serve their names, and /up while that file exists."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, _hosts())
        self.servers: dict[str, subprocess.Popen[bytes]] = {}

    def up(self) -> None:
        super().up()
        for name in PODS:
            (self.folder / name).mkdir()
            (self.folder / name / "index.html").write_text(name)
            self.page(name).touch()
            self.start_server(name)

    def down(self) -> None:
        for name in list(self.servers):
            self.stop_server(name)
        super().down()

    def page(self, name: str) -> Path:
        return self.folder / name / "up"

    def start_server(self, name: str) -> None:
        argv = [*self.inside(name), sys.executable, "-I", "-m", "http.server", "8080"]
        quiet = subprocess.DEVNULL
        self.servers[name] = subprocess.Popen(argv, cwd=self.folder / name, stdin=quiet, stdout=quiet, stderr=quiet)

    def stop_server(self, name: str) -> None:
        process = self.servers.pop(name)
        process.kill()
        process.wait()

    def answers(self) -> set[str]:
        """The pods that answer ten new connections; an empty name is a missing answer."""
        url = "http://%s/" % VIP
        return {self.run("client", "curl", "--silent", "--max-time", "2", url, check=False).out for dummy in range(10)}

    def real_servers(self) -> str:
        return self.run("director1", "cat", "/proc/net/ip_vs").out


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[HealthLab]:
    with standing(HealthLab(tmp_path)) as made:
        yield made


@pytest.mark.parametrize("kind", ["tcp", "http"])
def test_failing_real_server_gets_no_connections(lab: HealthLab, kind: str) -> None:
    endpoints = [{"address": address, "port": 8080} for address in PODS.values()]
    services = [{"name": "web", "address": VIP, "port": 80, "endpoints": endpoints}]
    check = {"type": kind, "path": "/up", "interval": 0.5, "timeout": 0.5, "retries": 1}
    result = lab.configure("director1", services=services, health_check=check)
    assert not result.get("failed"), result["msg"]
    lab.start("director1")
    wait_for(lambda: lab.held("director1"), "the VIP is there")
    wait_for(lambda: lab.answers() == set(PODS), "both pods answer")

    if kind == "tcp":
        lab.stop_server("pod2")
    else:
        lab.page("pod2").unlink()
    wait_for(lambda: "C0A81415" not in lab.real_servers(), "pod2 is taken out")
    assert lab.answers() == {"pod1"}
    if kind == "tcp":
        lab.start_server("pod2")
    else:
        lab.page("pod2").touch()
    wait_for(lambda: lab.answers() == set(PODS), "both pods answer again")

    lab.kill("director1")
    assert not lab.configure("director1", services=services, health_check=check)["changed"]
