# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The plan of the module `metallb_pool`: its queries, refusals and the order of its steps."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.homelab.loadbalancer.plugins.module_utils._common.errors import InputError
from ansible_collections.homelab.loadbalancer.plugins.plugin_utils._k8s.model import Apply, Remove
from ansible_collections.homelab.loadbalancer.plugins.plugin_utils._metallb_pool import plan as planner
from ansible_collections.homelab.loadbalancer.tests.unit.metallb.objects import (
    NAMESPACE,
    PEER,
    PREFIX,
    declared,
    live,
    names,
    pool,
    service,
)


def options(**more: Any) -> dict[str, Any]:
    """The options of the module, as the engine passes them."""
    given = declared(pool(), l2_advertisements=[{"name": "l", "pools": ["a"]}])
    access = {"state": "present", "namespace": NAMESPACE, "prefix": "", "allow_moves": False}
    return {**given, **access, "gateways": [], "facts": [], "timeout": 120, **more}


def answers(known: bool = True, **kinds: Any) -> list[dict[str, Any]]:
    """The answers of a cluster to the module's queries. A cluster without MetalLB does not know its kinds."""
    return [
        {
            "kind": query["kind"],
            "api_found": known or not query.get("api_version", "").startswith("metallb.io"),
            "resources": kinds.get(query["kind"], []),
        }
        for query in planner.queries(options())
    ]


def test_names_of_options_and_of_variables_in_messages() -> None:
    """A module's user knows them without the prefix of the role's variables."""
    wrong = {"pools": [pool("a", "172.16.0.9-172.16.0.1")]}
    for prefix in ("", PREFIX):
        with pytest.raises(InputError) as caught:
            planner.queries(options(prefix=prefix, **wrong))
        assert str(caught.value).startswith(prefix + "pools[0].addresses[0] 172.16.0.9-172.16.0.1 is written backwards")
    used = answers(IPAddressPool=[live("old", "172.16.0.0/24")], Service=[service("web", "172.16.0.100")])
    (refusal,) = planner.plan(options(), used).refusals
    assert refusal.endswith("Keep the address in that pool of pools, or set allow_moves: true")


def test_a_secrets_content_is_not_read() -> None:
    (query,) = [one for one in planner.queries(options()) if one["kind"] == "Secret"]
    assert "data" in query["hidden_fields"]


def test_a_cluster_without_metallb_is_refused_unless_pools_are_absent() -> None:
    (unmet,) = planner.plan(options(), answers(known=False)).unmet
    assert unmet == (
        "the cluster does not know IPAddressPool, L2Advertisement, BGPAdvertisement, BGPPeer, Community of metallb.io: "
        "install MetalLB first, by the role homelab.loadbalancer.metallb"
    )
    made = planner.plan(options(state="absent"), answers(known=False))
    assert (made.unmet, made.steps) == ([], [])


def test_steps_are_in_the_order_that_addresses_need() -> None:
    """Conflicting pools are removed first, because only then can the new owners of their addresses be tried."""
    standing = answers(IPAddressPool=[live("old", "172.16.0.100-172.16.0.110"), live("far", "10.0.0.0/30")])
    first, apply, late, last = planner.plan(options(), standing).steps
    assert isinstance(first, Remove) and names(first.objects) == ["IPAddressPool old"]
    assert isinstance(apply, Apply) and names(apply.objects) == ["L2Advertisement l"]
    assert apply.patient and not apply.late and not apply.force
    assert isinstance(late, Apply) and names(late.objects) == ["IPAddressPool a"] and late.late
    assert isinstance(last, Remove) and names(last.objects) == ["IPAddressPool far"]


def test_state_absent_ignores_the_declaration() -> None:
    wanted = options(state="absent", pools=[pool("a", "172.16.0.0/24")], bgp_peers=[{**PEER, "password": "x"}])
    standing = answers(IPAddressPool=[live("a", "172.16.0.0/24"), live("b", "10.0.0.0/30", ours=False)])
    (step,) = planner.plan(wanted, standing).steps
    assert isinstance(step, Remove) and names(step.objects) == ["IPAddressPool a"]


def test_allowed_moves_are_noted_and_returned() -> None:
    standing = answers(IPAddressPool=[live("a", "172.16.0.0/24")], Service=[service("web", "172.16.0.9")])
    made = planner.plan(options(allow_moves=True), standing)
    said = "Service default/web has 172.16.0.9, which leaves the pool a"
    assert (made.refusals, made.notes[0], made.result) == ([], said, {"moves": [said]})


@pytest.mark.parametrize("key", ["default_ipv4", "default_ipv6"])
def test_default_gateways_of_nodes_are_left_out_by_their_facts(key: str) -> None:
    facts = [{}, {key: {}}, {key: {"gateway": "172.16.0.101"}}]
    (refusal,) = planner.plan(options(facts=facts), answers()).refusals
    assert "holds 172.16.0.101, the address of a gateway" in refusal
