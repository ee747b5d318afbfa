# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What users see while the load balancer is there: after the first run and after a reboot alike."""

from __future__ import annotations

import json
from typing import Any

import pytest

VIRTUAL_ADDRESSES = ["192.168.10.100", "192.168.10.101", "fd00:10::100"]


@pytest.mark.parametrize("address", ["192.168.10.100", "[fd00:10::100]"])
def test_both_pods_answer_through_the_virtual_address(client: Any, address: str) -> None:
    # That 40 fair draws miss one of two pods has a probability of 2e-12.
    assert client.pages(f"http://{address}/") == {"Hello from pod1", "Hello from pod2"}


@pytest.mark.parametrize("pod", ["192.168.20.20", "192.168.20.21"])
def test_the_pods_themselves_are_out_of_reach(client: Any, pod: str) -> None:
    client.wait_for("http://192.168.10.100/")
    assert not client.reaches(pod)
    assert client.curl(f"http://{pod}/").rc != 0


def test_a_service_without_endpoints_refuses(client: Any) -> None:
    asked = client.curl("http://192.168.10.101/")
    assert asked.rc == 7, asked.stderr  # it could not connect, and did not time out, which is 28


def test_the_virtual_addresses_are_on_the_link(router: Any) -> None:
    link = json.loads(router.output("ip -json address show dev eth0"))[0]
    addresses = {entry["local"]: entry["prefixlen"] for entry in link["addr_info"]}
    for address in VIRTUAL_ADDRESSES:
        assert addresses[address] == (128 if ":" in address else 32)
    # And the node's own are as they were.
    assert addresses["192.168.10.1"] == 24
    assert addresses["fd00:10::1"] == 64


@pytest.mark.parametrize("save", ["iptables-save", "ip6tables-save"])
def test_rules_of_others_are_as_they_were(router: Any, save: str) -> None:
    before, now = router.rules_before(save), router.rules(save)
    assert before, "the scenario has prepared none"
    for table, lines in before.items():
        kept = iter(now[table])
        assert all(line in kept for line in lines), f"not all, or in another order: {table} {now[table]}"


@pytest.mark.parametrize("save", ["iptables-save", "ip6tables-save"])
def test_new_chains_are_the_projects_own(router: Any, save: str) -> None:
    before, now = router.rules_before(save), router.rules(save)
    known = {line for lines in before.values() for line in lines}
    chains = [line for lines in now.values() for line in lines if line[0] == ":" and line.endswith(" -")]
    new = [chain for chain in chains if chain not in known]
    assert new
    assert all(chain.startswith(":LB-") for chain in new), new


def test_forwarding_is_on(router: Any) -> None:
    assert router.output("sysctl -n net.ipv4.ip_forward") == "1"
    assert router.output("sysctl -n net.ipv6.conf.all.forwarding") == "1"


def test_systemd_is_content(router: Any) -> None:
    state = router.host.run("systemctl is-system-running").stdout.strip()
    assert state == "running", router.output("systemctl --failed --no-legend")
