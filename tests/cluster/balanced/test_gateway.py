# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The role `gateway` on a real cluster: Traefik behind an address of MetalLB, asked by a client outside of it."""

from __future__ import annotations

from ansible_collections.homelab.loadbalancer.tests.cluster.balanced.gateways import NAME, VIP, Gateways
from ansible_collections.homelab.loadbalancer.tests.cluster.cluster_lab import changed, flat, role_task, wait_for


def test_clients_are_answered(gateways: Gateways) -> None:
    ports = (80, 443, 8080)
    wait_for(lambda: [gateways.answer(port) for port in ports] == ["404"] * 3, "answers by HTTP and HTTPS")


def test_undeclared_gateway_is_not_served_and_a_wrong_address_is_explained(gateways: Gateways) -> None:
    said = flat(gateways.run(gateways.gateway(address="10.9.9.9"), rc=2, gateway_timeout=20))
    assert "Gateway %s/public: it has" % NAME in said
    assert "10.9.9.9" in said.split("not all Gateways work after 20 s", 1)[1]
    assert "gateway/more" not in gateways.cluster.kubectl("get", "gateway", "-n", NAME, "-o", "name")
    gateways.run()
    wait_for(lambda: (gateways.answer(80), gateways.answer(8080)) == ("404", ""), "an answer by HTTP on port 80 alone")


def test_second_run_changes_nothing_and_returns_addresses(gateways: Gateways) -> None:
    """The run itself compares the addresses."""
    same = {"that": "gateway_addresses['%s/public'] == ['%s']" % (NAME, VIP)}
    assert not changed(gateways.cluster.tasks(role_task(gateways.role()), {"ansible.builtin.assert": same}))
