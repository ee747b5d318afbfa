# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The role cluster_services beside a host's own services: two declarations on one router, neither takes the other's.

What the API server would say is given as a variable; all else is the role's own.
"""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.homelab.loadbalancer.tests.integration.iptables.test_lb import connect
from ansible_collections.homelab.loadbalancer.tests.integration.lab import (
    Lab,
    ansible_playbook,
    changes,
    refused_hosts,
)

PLAYBOOK = """
- hosts: "{{ lb_hosts | default('router') }}"
  gather_facts: false
  vars: %s
  tasks:
    - ansible.builtin.include_role: {name: homelab.loadbalancer.cluster_services, tasks_from: refuse.yml}
      when: cluster_services_state == 'present'
    - ansible.builtin.include_role: {name: homelab.loadbalancer.cluster_services, tasks_from: configure.yml}
"""
OWN, OF_CLUSTER = "192.168.10.100", "192.168.10.110"
LABELS = {"kubernetes.io/service-name": "shop"}
SERVICE = {
    "metadata": {"name": "shop", "namespace": "default"},
    "spec": {"clusterIP": "10.96.0.7", "ports": [{"port": 80, "protocol": "TCP"}], "externalIPs": [OF_CLUSTER]},
}
SLICE = {
    "metadata": {"name": "shop-1", "namespace": "default", "labels": LABELS},
    "addressType": "IPv4",
    "ports": [{"name": "", "port": 80, "protocol": "TCP"}],
    "endpoints": [{"addresses": ["192.168.20.20"]}],
}
FOUND = [{"kind": "Service", "resources": [SERVICE]}, {"kind": "EndpointSlice", "resources": [SLICE]}]


def cluster(lab: Lab, tmp_path: Path, *options: str, rc: int = 0, **variables: Any) -> str:
    """Run the role for the router and return what was printed."""
    playbook = tmp_path / "cluster_services.yml"
    # A variable of the role that carries the Services would win as an extra variable, and is refused.
    own_values = {name: variables.pop(name) for name in list(variables) if name.startswith("lb_")}
    playbook.write_text(PLAYBOOK % json.dumps(own_values), encoding="ascii")
    values = {
        "vlan_lab_name": lab.name,
        "cluster_services_state": "present",
        "cluster_services_interface": "eth0",
        "cluster_services_carry": ["external_ips"],
        "__cluster_services_read": {"found": FOUND},
        **variables,
    }
    return ansible_playbook(lab.inventory, os.path.relpath(playbook, "playbooks")[:-4], options, rc, values)


def part(lab: Lab, prefix: str, metric: int) -> list[str]:
    """The rules and addresses of one declaration."""
    rules = "".join(lab.run("router", command) for command in ("iptables-save", "ip6tables-save"))
    lines = re.sub(r" \[\d+:\d+\]", "", rules).splitlines()
    table = lab.run("router", "nft", "-s", "list", "table", "inet", prefix[:-1], check=False).splitlines()
    addresses = lab.run("router", "ip", "-oneline", "address").splitlines()
    own_addresses = [line for line in addresses if " metric %d " % metric in line]
    return [line for line in lines if re.search(r"[ :]%s" % prefix, line)] + table + own_addresses


def own(lab: Lab) -> list[str]:
    return part(lab, "LB-", 27746)


def clusters(lab: Lab) -> list[str]:
    return part(lab, "LBC-", 27747)


def served(lab: Lab) -> list[str]:
    return [vip for vip in (OWN, OF_CLUSTER) if connect(lab, "http://" + vip) == lab.text + "\n"]


@pytest.mark.parametrize("by", ["iptables", "nftables"])
def test_each_declaration_keeps_the_others_rules_and_addresses(lab: Lab, tmp_path: Path, by: str) -> None:
    plane = {"cluster_services_by": by}
    lab.build()
    assert changes(cluster(lab, tmp_path, **plane)) > 0
    of_cluster = clusters(lab)
    assert served(lab) == [OF_CLUSTER]
    assert changes(lab.playbook("iptables_lb")) > 0
    assert (clusters(lab), served(lab)) == (of_cluster, [OWN, OF_CLUSTER])
    # In any order: nothing moves for the sake of the first place in a chain.
    assert changes(cluster(lab, tmp_path, **plane)) == 0
    assert changes(lab.playbook("iptables_lb", lb_state="absent")) > 0
    assert (own(lab), clusters(lab), served(lab)) == ([], of_cluster, [OF_CLUSTER])


@pytest.mark.parametrize("by", ["iptables", "nftables"])
def test_without_a_link_the_role_adds_and_removes_no_address(lab: Lab, tmp_path: Path, by: str) -> None:
    lab.build()
    lab.playbook("nftables_lb" if by == "nftables" else "iptables_lb")
    of_host = own(lab)
    defaults: dict[str, Any] = {"cluster_services_interface": "", "cluster_services_carry": ["cluster_ips"]}
    defaults["cluster_services_by"] = by
    file = tmp_path / "services.json"
    file.write_text(json.dumps([{"name": "file", "address": "192.168.10.120", "port": 80, "endpoints": []}]))
    defaults["lb_services_file"] = str(file)  # the host's own, which the cluster's declaration leaves out
    assert changes(cluster(lab, tmp_path, **defaults)) > 0
    assert changes(cluster(lab, tmp_path, **defaults)) == 0
    assert (own(lab), served(lab)) == (of_host, [OWN])
    assert [line for line in clusters(lab) if "10.96.0.7" in line]
    assert not [line for line in clusters(lab) if "192.168.10.120" in line]
    assert changes(cluster(lab, tmp_path, **defaults, cluster_services_state="absent")) > 0
    assert (own(lab), clusters(lab), served(lab)) == (of_host, [], [OWN])


def test_conflicts_between_both_declarations_are_refused(lab: Lab, tmp_path: Path) -> None:
    shop = {"name": "mine", "address": OF_CLUSTER, "port": 80, "endpoints": []}
    mistakes: list[tuple[dict[str, Any], str]] = [
        ({"lb_services": [shop]}, "lb_services[0] has %s port 80/tcp, which default-shop" % OF_CLUSTER),
        ({"lb_chain_prefix": "LBC-"}, "choose another prefix for the host's own"),
        ({"cluster_services_masquerade_mark": "0x2000"}, "or the bit below it collides with the host's own services"),
    ]
    cases = {"case%d" % number: variables for number, (variables, dummy) in enumerate(mistakes)}
    options = lab.several_routers(tmp_path / "cases.yml", cases)
    said = refused_hosts(cluster(lab, tmp_path, *options, rc=2))
    for host, (dummy, message) in zip(cases, mistakes):
        assert message in said[host]
    said = refused_hosts(cluster(lab, tmp_path, "-e", "lb_boot_name=homelab-loadbalancer", rc=2))
    assert "lb_boot_name is given with -e" in said["router"]
