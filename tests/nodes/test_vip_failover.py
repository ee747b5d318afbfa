# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The roles ipvs_lb and vip_failover together, on two directors that share a VIP."""

from __future__ import annotations

import time
from collections import Counter

import pytest

from ansible_collections.homelab.loadbalancer.tests.integration.lab import changes
from ansible_collections.homelab.loadbalancer.tests.integration.namespaces import wait_for
from ansible_collections.homelab.loadbalancer.tests.nodes.nodes_lab import CURL, NodesLab

URL = "http://192.168.10.100/"
DIRECTORS = {"director", "director2"}
# keepalived carries the virtual servers and checks the real ones; the sets and rules are those of ipvs_lb.
HEALTH = {
    "ipvs_lb_virtual_servers": "keepalived",
    "vip_failover_scheduler": "rr",
    "vip_failover_health_check": {"type": "http", "path": "/", "interval": 1, "timeout": 1, "retries": 1},
}
ABSENT = {"lb_state": "absent", "vip_failover_state": "absent"}
BOTH = {"real1": 5, "real2": 5}


def answers(lab: NodesLab) -> Counter[str]:
    """How many of ten connections each real server answers."""
    return Counter(lab.ssh("client", CURL + "'%s?[1-10]'" % URL).split())


def has_vip(lab: NodesLab, host: str) -> bool:
    return "192.168.10.100/" in lab.ssh(host, "ip -brief address show eth0")


def holder(lab: NodesLab) -> str:
    """The one director that has the VIP."""

    def holders() -> list[str]:
        found = [host for host in DIRECTORS if has_vip(lab, host)]
        return found if len(found) == 1 else []

    return wait_for(holders, "one director has the VIP")[0]


def test_vip_and_services_survive_a_director(lab: NodesLab, capsys: pytest.CaptureFixture[str]) -> None:
    lab.boot("failover")
    assert changes(lab.playbook("ipvs_lb failover", **HEALTH)) > 0
    wait_for(lambda: answers(lab) == BOTH, "both real servers answer")

    killed = holder(lab)
    [survivor] = DIRECTORS - {killed}
    start = time.monotonic()
    lab.kill(killed)
    lab.ssh("client", "until curl --silent --max-time 0.5 %s; do :; done" % URL)
    with capsys.disabled():
        print("failover in %.1f s, with an interval of 1 s" % (time.monotonic() - start))
    assert answers(lab) == BOTH
    assert has_vip(lab, survivor)

    # The director comes back with its services, and as the standby.
    lab.playbook("nodes")
    assert changes(lab.playbook("ipvs_lb", lb_hosts=killed, **HEALTH)) == 0
    assert holder(lab) == survivor

    lab.ssh("real1", "systemctl stop node-server-http-8080")
    wait_for(lambda: "10.244.1.3" not in lab.ssh(survivor, "ipvsadm -Ln"), "real1 is taken out")
    assert answers(lab) == {"real2": 10}
    lab.ssh("real1", "systemctl start node-server-http-8080")
    wait_for(lambda: answers(lab) == BOTH, "real1 is back in")

    assert changes(lab.playbook("failover ipvs_lb", lb_hosts=survivor, **ABSENT)) > 0
    left = lab.ssh(survivor, "ip -brief address show eth0; ipvsadm -Sn; ipset save; iptables-save; ls /etc/keepalived")
    assert not [word for word in ("192.168.10.100", "LB-", "homelab") if word in left], left
    wait_for(lambda: has_vip(lab, killed), "the other director has the VIP")
    wait_for(lambda: answers(lab) == BOTH, "both real servers answer by the other director")
