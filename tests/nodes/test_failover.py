# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Two directors that share a VIP and carry services by IPVS, each with a kernel of its own."""

from __future__ import annotations

import os
import signal
import time
from collections import Counter
from typing import Iterator

import pytest

from ansible_collections.homelab.loadbalancer.tests.integration.lab import changes
from ansible_collections.homelab.loadbalancer.tests.integration.namespaces import wait_for
from ansible_collections.homelab.loadbalancer.tests.nodes.nodes_lab import NodesLab

URL = "http://192.168.10.100/"
CURL = "curl --silent --header 'Connection: close' "
DIRECTORS = ("director", "director2")


@pytest.fixture
def lab(nodes: NodesLab) -> Iterator[NodesLab]:
    """Beside the lab of all others, whose fixture has put Ansible on the path and sees that nothing is left."""
    made = NodesLab("failover", nodes.name + "fo")
    try:
        made.playbook("nodes")
        yield made
    finally:
        made.remove()
    assert made.traces() == []


def answers(lab: NodesLab, count: int = 10) -> Counter[str]:
    return Counter(lab.ssh("client", CURL + "--show-error --max-time 10 '%s?[1-%d]'" % (URL, count)).split())


def holder(lab: NodesLab) -> str:
    """The director that has the VIP: the one whose keepalived was the first to wait three intervals in vain."""

    def holders() -> list[str]:
        found = [host for host in DIRECTORS if "192.168.10.100/" in lab.ssh(host, "ip -brief address show eth0")]
        return found if len(found) == 1 else []

    return wait_for(holders, "one director has the VIP")[0]


def test_failover_and_health(lab: NodesLab, capsys: pytest.CaptureFixture[str]) -> None:
    for playbook in ("ipvs_lb", "failover"):
        assert changes(lab.playbook(playbook)) > 0
    assert answers(lab) == {"real1": 5, "real2": 5}

    killed = holder(lab)
    start = time.monotonic()
    os.kill(min(pid for pid in lab.pids(killed) if os.getsid(pid) == pid), signal.SIGKILL)
    lab.ssh("client", "until %s --max-time 0.5 %s; do :; done" % (CURL, URL))
    with capsys.disabled():
        print("failover in %.1f s, with an interval of 1 s" % (time.monotonic() - start))
    assert answers(lab) == {"real1": 5, "real2": 5}
    [survivor] = set(DIRECTORS) - {killed}
    assert "192.168.10.100/" in lab.ssh(survivor, "ip -brief address show eth0")

    # The one that comes back has all that it had, and stands by.
    lab.playbook("nodes")
    for playbook in ("ipvs_lb", "failover"):
        assert changes(lab.playbook(playbook)) == 0
    assert holder(lab) == survivor
    assert answers(lab) == {"real1": 5, "real2": 5}

    check = {"type": "http", "path": "/", "interval": 1, "timeout": 1, "retries": 1}
    health = {
        "ipvs_lb_virtual_servers": "keepalived", "vip_failover_scheduler": "rr", "vip_failover_health_check": check,
    }  # fmt: skip
    for playbook in ("ipvs_lb", "failover"):
        assert changes(lab.playbook(playbook, **health)) > 0
    for playbook in ("ipvs_lb", "failover"):
        assert changes(lab.playbook(playbook, **health)) == 0
    wait_for(lambda: answers(lab) == {"real1": 5, "real2": 5}, "both servers are in")
    lab.ssh("real1", "systemctl stop node-server-http-8080")
    wait_for(lambda: "10.244.1.3" not in lab.ssh(holder(lab), "ipvsadm -Ln"), "the server that failed is taken out")
    assert answers(lab) == {"real2": 10}
    lab.ssh("real1", "systemctl start node-server-http-8080")
    wait_for(lambda: answers(lab) == {"real1": 5, "real2": 5}, "the server is back in")

    for playbook, state in (("failover", {"vip_failover_state": "absent"}), ("ipvs_lb", {"ipvs_lb_state": "absent"})):
        assert changes(lab.playbook(playbook, **state)) > 0
    for host in DIRECTORS:
        left = lab.ssh(host, "ip -brief address show eth0; ipvsadm -Sn; ipset save; iptables-save; ls /etc/keepalived")
        assert not [word for word in ("192.168.10.100", "LB-", "homelab") if word in left], left
