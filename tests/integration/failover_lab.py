# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Two directors with real keepalived processes, a client and a pod, in network namespaces.

client --- VLAN 10 --- eth0 director1 eth1 --- VLAN 20 --- pod
                   `-- eth0 director2 eth1 --'
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
from pathlib import Path
from typing import Any

from ansible_collections.homelab.loadbalancer.plugins.filter.vrrp_faults import vrrp_faults
from ansible_collections.homelab.loadbalancer.plugins.module_utils._common.command import run
from ansible_collections.homelab.loadbalancer.tests.integration import namespaces
from ansible_collections.homelab.loadbalancer.tests.integration.namespaces import wait_for
from ansible_collections.homelab.loadbalancer.tests.integration.services_lab import SYSCTLS, ServicesLab

VIP, VIP2, VIP6 = "192.168.10.100", "192.168.10.101", "fd00:10::100"
DIRECTORS = ("director1", "director2")
PRIORITY = {"director1": 150, "director2": 100}
INTERVAL = 0.3


def service(vip: str, name: str = "web") -> dict[str, Any]:
    pod = "fd00:20::20" if ":" in vip else "192.168.20.20"
    return {"name": name, "address": vip, "port": 80, "endpoints": [{"address": pod, "port": 8080}]}


SERVICES = [service(VIP), service(VIP6, "web6")]


def _hosts() -> list[dict[str, Any]]:
    def link(name: str, vlan: int, number: int) -> dict[str, Any]:
        return {
            "name": name,
            "vlan": vlan,
            "addresses": ["192.168.%d.%d/24" % (vlan, number), "fd00:%d::%d/64" % (vlan, number)],
        }

    return [
        {"name": "client", "links": [link("eth0", 10, 10)]},
        *(
            {"name": name, "links": [link("eth0", 10, i), link("eth1", 20, i)], "sysctls": SYSCTLS}
            for i, name in enumerate(DIRECTORS, start=1)
        ),
        {"name": "pod", "links": [link("eth0", 20, 20)]},
    ]


class FailoverLab(ServicesLab):
    """The network; keepalived's configuration is what the module makes of it."""

    def __init__(self, folder: Path, hosts: list[dict[str, Any]] | None = None) -> None:
        super().__init__("vf-test", hosts or _hosts())
        self.folder = folder
        self.running: dict[str, subprocess.Popen[bytes]] = {}

    def up(self) -> None:
        self.build("present")

    def down(self) -> None:
        for host in list(self.running):
            self.kill(host)
        super().down()

    def carry(self) -> None:
        """The services by iptables on both directors, to one pod."""
        self.serve("pod", "pod", "tcp:8080")
        for host in DIRECTORS:
            with self.entered(host):
                result = namespaces.module("iptables_services", backend="nft", services=SERVICES)
            assert not result.get("failed"), result["msg"]

    # keepalived

    def config(self, host: str) -> Path:
        folder = self.folder / host
        folder.mkdir(exist_ok=True)
        return folder / "keepalived.conf"

    def configure(self, host: str, check_mode: bool = False, **options: Any) -> dict[str, Any]:
        declared = {
            "interface": "eth0",
            "services": SERVICES,
            "priority": PRIORITY.get(host, 100),
            "advert_interval": INTERVAL,
            "config": str(self.config(host)),
        }
        with self.entered(host):
            return namespaces.module("keepalived_vips", check_mode, **{**declared, **options})

    def start(self, host: str) -> None:
        config = self.config(host)
        pids = [word for kind in "prc" for word in ("-" + kind, "%s.%s" % (config, kind))]
        argv = [*self.inside(host), "keepalived", "-n", "-l", "-D", "-f", str(config), *pids]
        with open("%s.log" % config, "ab") as log:
            self.running[host] = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def log(self, host: str) -> str:
        return Path("%s.log" % self.config(host)).read_text()

    def reload(self, host: str) -> None:
        before = self.log(host).count("Reload complete")
        self.running[host].send_signal(signal.SIGHUP)
        wait_for(lambda: self.log(host).count("Reload complete") > before, "keepalived reloads")

    def kill(self, host: str) -> None:
        """All of its keepalived at once, without a chance to say goodbye."""
        process = self.running.pop(host)
        children = Path("/proc/%d/task/%d/children" % (process.pid, process.pid)).read_text().split()
        for pid in (process.pid, *map(int, children)):
            os.kill(pid, signal.SIGKILL)
        process.wait()
        # A machine that boots has none of these; the numbers in them may be somebody else's by now.
        for kind in "prc":
            Path("%s.%s" % (self.config(host), kind)).unlink(missing_ok=True)

    def power_off(self, host: str) -> None:
        """It is off the network at once, and nothing in it runs."""
        for link in ("eth0", "eth1"):
            self.run(host, "ip", "link", "set", link, "down")
        self.kill(host)

    def power_on(self, host: str) -> None:
        for link in ("eth0", "eth1"):
            self.run(host, "ip", "link", "set", link, "up")
        number = DIRECTORS.index(host) + 1
        for i, vlan in enumerate((10, 20)):  # IPv6 addresses go with the link
            self.run(host, "ip", "address", "replace", "fd00:%d::%d/64" % (vlan, number), "dev", "eth%d" % i)
        self.start(host)

    def held(self, host: str) -> set[str]:
        """The VIPs that a host has, and would answer for."""
        link = json.loads(run([*self.inside(host), "ip", "-json", "address", "show", "eth0"]).out)[0]
        if "UP" not in link["flags"]:
            return set()
        return {entry["local"] for entry in link["addr_info"]} & {VIP, VIP2, VIP6}

    def settle(self, master: str, other: str, vips: frozenset[str] = frozenset({VIP, VIP6})) -> None:
        try:
            wait_for(lambda: self.held(master) == vips, "%s has %s" % (master, sorted(vips)))
        except AssertionError as error:
            raise AssertionError("\n".join([str(error), *map(self.log, self.running)])) from error
        wait_for(lambda: not self.held(other), "%s has none" % other)

    def start_both(self, **options: Any) -> None:
        """director1 is the master."""
        for host in DIRECTORS:
            result = self.configure(host, **options)
            assert not result.get("failed"), result["msg"]
        self.start("director1")
        wait_for(lambda: self.held("director1"), "director1 has the VIPs")
        self.start("director2")
        wait_for(lambda: "Entering BACKUP" in self.log("director2"), "director2 stands by")

    def faults(self, host: str = "director1", running: bool = True, **values: Any) -> list[str]:
        """What the filter says of what each director hears."""
        reports = []
        for name in DIRECTORS:
            with self.entered(name):
                heard = namespaces.module("vrrp_listen", interface="eth0", router_id=51, seconds=INTERVAL * 5)
            assert not heard.get("failed"), heard["msg"]
            declared = {"interface": "eth0", "router_id": 51, "priority": PRIORITY[name], "vips": [VIP, VIP6]}
            reports.append({"host": name, **heard, **declared, **values})
        return vrrp_faults(reports, host, running)

    def answered(self) -> bool:
        """Whether both VIPs lead to the pod, in a new connection each."""
        return all(self.ask("client", vip, 80, timeout=0.5)[0].server == "pod" for vip in (VIP, VIP6))

    def mac(self, host: str) -> str:
        return str(json.loads(run([*self.inside(host), "ip", "-json", "link", "show", "eth0"]).out)[0]["address"])

    def neighbour(self, vip: str) -> str:
        """The hardware address that the client knows for an address."""
        found = json.loads(self.run("client", "ip", "-json", "neighbour", "show", vip).out or "[]")
        return str(found[0].get("lladdr")) if found else ""
