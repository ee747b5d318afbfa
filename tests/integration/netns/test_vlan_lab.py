# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The playbooks that build and remove the lab, with the inventory that users start from.

tools/demo-test builds and removes both labs; tests/unit/netns compares their inventories, and has all refusals.
"""

from __future__ import annotations

import re
from typing import Any

import pytest

from ansible_collections.homelab.loadbalancer.plugins.module_utils._common.command import run
from ansible_collections.homelab.loadbalancer.tests.integration.lab import ENVIRONMENT, Lab, diff_of


def recap(output: str) -> tuple[int, int]:
    """How many tasks changed something, and how many failed."""
    found = re.search(r"changed=(\d+)\s+unreachable=0\s+failed=(\d+)", output)
    assert found, output
    return int(found[1]), int(found[2])


def test_lifecycle(lab: Lab) -> None:
    predicted = lab.playbook("lab", "--check", "--diff")
    assert lab.traces() == []
    done = lab.playbook("lab", "--diff")
    assert "+%s-%s: server http port 80" % (lab.name, lab.pod) in done
    assert diff_of(done) == diff_of(predicted)
    assert (recap(predicted), recap(done)) == ((1, 0), (1, 0))
    # The workshop's network before the load balancer: everybody reaches everybody, by the router.
    assert "ttl=63" in lab.run(lab.client, "ping", "-c1", "-W5", lab.pod_address)
    url = "http://%s/" % lab.pod_address
    assert lab.run(lab.client, "curl", "-s", "--max-time", "5", url) == lab.text + "\n"
    assert recap(lab.playbook("lab")) == (0, 0)

    before = lab.traces()
    predicted = lab.playbook("lab_down", "--check", "--diff")
    assert lab.traces() == before
    done = lab.playbook("lab_down", "--diff")
    assert lab.traces() == []
    assert diff_of(done) == diff_of(predicted)
    assert (recap(predicted), recap(done)) == ((1, 0), (1, 0))
    assert recap(lab.playbook("lab_down")) == (0, 0)


def test_hosts_are_ansible_hosts(lab: Lab) -> None:
    lab.build()
    done = run(
        [
            *["ansible", "-i", lab.inventory, "-e", "vlan_lab_name=" + lab.name, "-o", "lab"],
            *["-m", "ansible.builtin.command", "-a", "ip -br -4 address show eth0"],
        ],
        env=ENVIRONMENT,
        check=False,
    )
    assert done.rc == 0, done.out + done.err
    for host, address in (("a", "192.168.10.10/24"), ("router", "192.168.10.1/24"), ("b", "192.168.20.20/24")):
        assert re.search(r"^%s \| CHANGED .* %s " % (host, address), done.out, re.MULTILINE), done.out


@pytest.mark.parametrize(
    ("hosts", "message"),
    [
        ([], "vlan_lab_hosts is empty: declare the hosts of the lab"),
        ([{"name": "b"}, {"name": "a", "lnks": []}], "vlan_lab_hosts[1].lnks is not a known key: known are name, "),
    ],
    ids=["role", "module"],
)
def test_wrong_inventory_is_refused(lab: Lab, hosts: list[dict[str, Any]], message: str) -> None:
    assert message in " ".join(lab.playbook("lab", rc=2, vlan_lab_hosts=hosts).split())
    assert lab.traces() == []
