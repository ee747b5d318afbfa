# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The lab of the tests of ipvs_services, and the services that they declare."""

from __future__ import annotations

import re
from collections import Counter
from typing import Any

from ansible_collections.homelab.loadbalancer.plugins.module_utils._common.command import run
from ansible_collections.homelab.loadbalancer.tests.integration import namespaces
from ansible_collections.homelab.loadbalancer.tests.integration.services_lab import VIP, VIP6, endpoints
from ansible_collections.homelab.loadbalancer.tests.kernel.kernel_lab import KernelLab

EMPTY_TABLES = """\
*mangle
:PREROUTING ACCEPT
:INPUT ACCEPT
:FORWARD ACCEPT
:OUTPUT ACCEPT
:POSTROUTING ACCEPT
COMMIT
*nat
:PREROUTING ACCEPT
:INPUT ACCEPT
:OUTPUT ACCEPT
:POSTROUTING ACCEPT
COMMIT
*filter
:INPUT ACCEPT
:FORWARD ACCEPT
:OUTPUT ACCEPT
COMMIT
"""


class IpvsLab(KernelLab):
    """The lab whose router carries services by IPVS."""

    def up(self) -> None:
        super().up()
        self.run("router", "sysctl", "-qw", "net.ipv4.vs.conntrack=1", "net.ipv4.vs.expire_nodest_conn=1")

    def module(self, plane: str = "legacy", check_mode: bool = False, **options: Any) -> dict[str, Any]:
        with self.entered("router"):
            return namespaces.module("ipvs_services", check_mode, backend=plane, **options)

    def reset(self) -> None:
        with self.entered("router"):
            for family in ("iptables", "ip6tables"):
                run([family + "-legacy-restore", "--wait", "30"], EMPTY_TABLES)
            for command in (["conntrack", "-F"], ["ipvsadm", "-C"], ["ipset", "destroy"]):
                run(command)

    def carry(self, *services: dict[str, Any], **options: Any) -> dict[str, Any]:
        """Declare services once."""
        return self.apply("legacy", list(services), **options)

    def declare(self, *services: dict[str, Any], **options: Any) -> dict[str, Any]:
        """Declare services: check mode predicts the run, and a second run changes nothing."""
        before = self.everything()
        predicted = self.module(check_mode=True, services=list(services), **options)
        assert not predicted.get("failed"), predicted["msg"]
        assert self.everything() == before
        result = self.carry(*services, **options)
        assert result == predicted
        after = self.everything()
        again = self.carry(*services, **options)
        assert again == {**result, "changed": False, "diff": []}
        assert self.everything() == after
        return result

    def everything(self) -> list[str]:
        """Everything that the tools list, with sorted sets."""
        with self.entered("router"):
            sets = sorted(re.sub(r" initval \S+", "", run(["ipset", "save"]).out).splitlines())
            rules = [self.saved("legacy", family) for family in ("ipv4", "ipv6")]
            return [*sets, *rules, run(["ipvsadm", "-Sn"]).out]

    def servers(self, count: int, address: str = VIP, port: int = 80, **how: Any) -> Counter[str]:
        return Counter(answer.server for answer in self.ask("client", address, port, count=count, **how))


def service(*numbers: int, family: str = "ipv4", name: str = "web", port: int = 80, **others: Any) -> dict[str, Any]:
    address = {"ipv4": VIP, "ipv6": VIP6}[family]
    return {
        "name": name, "address": address, "port": port, "endpoints": endpoints(*numbers, family=family), **others,
    }  # fmt: skip
