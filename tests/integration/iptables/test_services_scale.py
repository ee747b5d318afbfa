# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ten thousand services by iptables, and rules that need no trial to be recognised."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.homelab.loadbalancer.plugins.module_utils._iptables.layout import Options, layout
from ansible_collections.homelab.loadbalancer.plugins.module_utils._iptables.plan import boot_text
from ansible_collections.homelab.loadbalancer.plugins.module_utils._iptables.rules import parse_save
from ansible_collections.homelab.loadbalancer.plugins.module_utils._services.model import parse_services
from ansible_collections.homelab.loadbalancer.tests.integration.namespaces import Firewall, fresh_network
from ansible_collections.homelab.loadbalancer.tests.integration.services_lab import BACKENDS, ServicesLab, endpoints

MANY = 10000


@pytest.mark.parametrize("backend", BACKENDS)
def test_ten_thousand_services(net: ServicesLab, backend: str, tmp_path: Path) -> None:
    net.reset()
    services: list[dict[str, Any]] = [
        {"name": "s%d" % i, "address": "10.96.%d.%d" % divmod(i, 256), "port": 80, "endpoints": endpoints(1, 2)}
        for i in range(MANY)
    ]
    file = tmp_path / "services.json"
    options: dict[str, Any] = {"services_file": str(file), "diff": False}
    file.write_text(json.dumps(services), encoding="ascii")
    assert net.module(backend, **options)["changed"]
    for address in ("10.96.0.0", services[-1]["address"]):
        # Only one of two in 40 connections: 2e-12.
        assert {answer.server for answer in net.ask("client", address, 80, count=40)} == {"pod1", "pod2"}
    assert not net.module(backend, **options)["changed"]
    services[-1]["endpoints"] = endpoints(3, 4)
    file.write_text(json.dumps(services), encoding="ascii")
    assert net.module(backend, **options)["changed"]
    answers = net.ask("client", services[-1]["address"], 80, count=40)
    assert {answer.server for answer in answers} == {"pod3", "pod4"}
    assert net.module(backend, state="absent", diff=False)["changed"]
    assert "LB-" not in net.saved(backend)


def services_of_every_kind(family: str) -> list[dict[str, Any]]:
    six = family == "ipv6"
    base: dict[str, Any] = {"address": "fd00:10::100" if six else "192.168.10.100"}
    ranges = ["fd00:10::/64", "fd00::/8"] if six else ["192.168.10.0/24", "10.0.0.0/8", "192.168.10.7"]
    weighted = [{**entry, "weight": weight} for entry, weight in zip(endpoints(1, 2, 3, family=family), (1, 2, 65535))]
    kinds: list[dict[str, Any]] = [
        {"endpoints": endpoints(1, family=family)},
        {"endpoints": weighted},
        {"endpoints": endpoints(*range(1, 10), family=family)},
        {"endpoints": []},
        {"endpoints": weighted, "session_affinity": {"timeout": 10800}},
        {"endpoints": weighted, "source_ranges": ranges},
        {"endpoints": weighted, "session_affinity": {"timeout": 5}, "source_ranges": ranges},
    ]
    return [
        {**base, **kind, "name": "%s-%d-%d" % (protocol, i, p), "port": 1000 + i, "protocol": protocol, **node_port}
        for protocol in ("tcp", "udp", "sctp")
        for i, kind in enumerate(kinds)
        for p, node_port in enumerate([{}, {"node_port": 30000 + i, "port": 2000 + i}])
    ]


OPTIONS: tuple[dict[str, Any], ...] = (
    {},
    {"masquerade": False},
    {"pod_cidr": True},
    {"mark": 1 << 31, "prefix": "LOAD_B.-"},
    {"mark": 1, "masquerade": False, "isolate": (("eth0", "eth1"), ("eth+", "br-lan.10"))},
)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("family", ["ipv4", "ipv6"])
@pytest.mark.parametrize("name", ["kube-proxy", "compact", "minimal"])
def test_rules_come_back_as_they_are_written(backend: str, family: str, name: str) -> None:
    """An unchanged node is recognised without asking iptables, which for many services takes its time."""
    for changes in OPTIONS:
        options = Options(layout=name)._replace(**changes)
        if options.pod_cidr:
            options = options._replace(pod_cidr={"ipv4": "10.244.0.0/16", "ipv6": "fd00:244::/56"}[family])
        declared = services_of_every_kind(family)
        if name == "minimal":
            declared = [one for one in declared if len(one["endpoints"]) < 2 and "node_port" not in one]
        wanted = layout(parse_services(declared), family, options)
        with fresh_network():
            firewall = Firewall(backend, family)
            firewall.load(boot_text(wanted))
            saved = parse_save(firewall.save())
        for table, content in wanted.items():
            ours = {chain: rules for chain, rules in saved[table].chains.items() if chain.startswith(options.prefix)}
            assert ours == content.chains
            for chain, jumps in content.jumps.items():
                assert saved[table].chains[chain] == [jump.rule for jump in jumps]
