# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What users see after the first run and again after a reboot."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ansible_collections.homelab.loadbalancer.molecule.conftest import Node


def test_both_pods_answer_through_the_virtual_addresses(client: Any, addresses: Any) -> None:
    # That 40 fair draws miss one of two pods has a probability of 2e-12.
    for address in (addresses.vip, f"[{addresses.vip6}]"):
        assert client.pages(f"http://{address}/") == {"Hello from pod1", "Hello from pod2"}


@pytest.mark.parametrize(("pod", "address"), [("pod1", "192.168.20.20"), ("pod2", "192.168.20.21")])
def test_pods_are_unreachable_directly(client: Any, addresses: Any, pod: str, address: str) -> None:
    # Requests and replies pass this router.
    client.output(f"ip route replace {address} via {addresses.own}")
    Node(pod).output(f"ip route replace 192.168.10.10 via {addresses.inside}")
    client.wait_for(f"http://{addresses.vip}/")
    assert not client.reaches(address)
    assert client.curl(f"http://{address}/").rc != 0


def test_a_service_without_endpoints_refuses(client: Any, addresses: Any) -> None:
    asked = client.curl(f"http://{addresses.vip_without_pods}/")
    assert asked.rc == 7, asked.stderr  # refused; a timeout is 28


def test_the_virtual_addresses_are_on_the_link(router: Any, addresses: Any) -> None:
    link = json.loads(router.output("ip -json address show dev eth0"))[0]
    found = {entry["local"]: entry["prefixlen"] for entry in link["addr_info"]}
    for address in (addresses.vip, addresses.vip_without_pods, addresses.vip6):
        assert found[address] == (128 if ":" in address else 32)
    # The node's own addresses are unchanged.
    assert found[addresses.own] == 24
    assert found[addresses.own6] == 64


@pytest.mark.parametrize("save", ["iptables-save", "ip6tables-save"])
def test_foreign_rules_unchanged(router: Any, save: str) -> None:
    before, now = router.rules_before(save), router.rules(save)
    assert before, "prepare-node has loaded none"
    for table, lines in before.items():
        kept = iter(now[table])
        assert all(line in kept for line in lines), f"not all, or in another order: {table} {now[table]}"


@pytest.mark.parametrize("save", ["iptables-save", "ip6tables-save"])
def test_new_chains_have_the_prefix(router: Any, save: str) -> None:
    before, now = router.rules_before(save), router.rules(save)
    known = {line for lines in before.values() for line in lines}
    chains = [line for lines in now.values() for line in lines if line[0] == ":" and line.endswith(" -")]
    new = [chain for chain in chains if chain not in known]
    assert all(chain.startswith(":LB-") for chain in new), new
    assert bool(new) == (router.name != "nftables")


def test_the_table_is_on_the_router_of_nftables_alone(router: Any) -> None:
    assert ("inet LB" in router.output("nft list tables")) == (router.name == "nftables")


def test_forwarding_is_on(router: Any) -> None:
    assert router.output("sysctl -n net.ipv4.ip_forward") == "1"
    assert router.output("sysctl -n net.ipv6.conf.all.forwarding") == "1"


def test_no_unit_failed(router: Any) -> None:
    state = router.host.run("systemctl is-system-running").stdout.strip()
    assert state == "running", router.output("systemctl --failed --no-legend")
