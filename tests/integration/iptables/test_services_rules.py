# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rules that need no trial to be recognised."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.homelab.loadbalancer.plugins.module_utils._iptables.layout import Options, layout
from ansible_collections.homelab.loadbalancer.plugins.module_utils._iptables.plan import boot_text
from ansible_collections.homelab.loadbalancer.plugins.module_utils._iptables.rules import parse_save
from ansible_collections.homelab.loadbalancer.plugins.module_utils._services.model import parse_services
from ansible_collections.homelab.loadbalancer.tests.integration.namespaces import Firewall, fresh_network
from ansible_collections.homelab.loadbalancer.tests.integration.services.kinds import services_of_every_kind
from ansible_collections.homelab.loadbalancer.tests.integration.services_lab import BACKENDS

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
