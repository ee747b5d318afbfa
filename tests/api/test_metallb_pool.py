# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module and the role `metallb_pool` on a real API server, with Services whose addresses the test gives."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.homelab.loadbalancer.plugins.module_utils._common.errors import InputError
from ansible_collections.homelab.loadbalancer.plugins.plugin_utils._k8s.engine import RefusedError
from ansible_collections.homelab.loadbalancer.plugins.plugin_utils._k8s.model import Planner
from ansible_collections.homelab.loadbalancer.plugins.plugin_utils._metallb_pool.input import LISTS
from ansible_collections.homelab.loadbalancer.plugins.plugin_utils._metallb_pool.plan import plan, queries
from ansible_collections.homelab.loadbalancer.tests.api.api_server import ApiServer, writes
from ansible_collections.homelab.loadbalancer.tests.api.in_process import Cluster
from ansible_collections.homelab.loadbalancer.tests.api.objects import pool
from ansible_collections.homelab.loadbalancer.tests.api.plays import must_fail, role, shown

FIRST: dict[str, Any] = {
    "pools": [{"name": "public-pool", "addresses": ["172.16.0.100-172.16.0.149"]}],
    "l2_advertisements": [{"name": "public", "pools": ["public-pool"]}],
}
SECOND: dict[str, Any] = {
    "pools": [
        {"name": "public-pool", "addresses": ["172.16.0.100-172.16.0.139"]},
        {"name": "dns", "addresses": ["172.16.0.140/32"], "auto_assign": False, "avoid_buggy_ips": True},
    ],
    "bgp_peers": [{"name": "r", "my_asn": 1, "peer_asn": 2, "address": "172.16.0.254", "password": "tell no one"}],
    "bgp_advertisements": [{"name": "public", "communities": ["64512:100"]}],
}


def run(
    api: ApiServer, namespace: str, declared: dict[str, Any], check_mode: bool = False, **more: Any
) -> dict[str, Any]:
    """The result of the module, in this process."""
    given: dict[str, Any] = {key: [] for key in LISTS}
    given.update(state="present", namespace=namespace, gateways=[], facts=[], allow_moves=False, timeout=30, prefix="")
    return Cluster(api).module(Planner(queries, plan), {**given, **declared, **more}, check_mode)


def names(api: ApiServer, namespace: str, plural: str, version: str = "v1beta1") -> list[str]:
    found = api.get("/apis/metallb.io/%s/namespaces/%s/%s" % (version, namespace, plural))
    return sorted(one["metadata"]["name"] for one in found["items"])


def give_address(api: ApiServer, namespace: str, address: str) -> None:
    """A Service of type LoadBalancer that has an address."""
    path = "/api/v1/namespaces/%s/services" % namespace
    spec = {"type": "LoadBalancer", "ports": [{"port": 80}], "selector": {"app": "web"}}
    api.ask("POST", path, {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web"}, "spec": spec})
    status = {"status": {"loadBalancer": {"ingress": [{"ip": address}]}}}
    api.ask("PATCH", path + "/web/status", status, "application/merge-patch+json")


def test_lifecycle(api: ApiServer, cluster: Cluster, namespace: str) -> None:
    place = namespace + "/"
    results = []
    for declared in (FIRST, SECOND, {"state": "absent"}):
        calls = [{**declared, "check": True}, declared, declared]
        predicted, made, again = cluster.action("metallb_pool", *calls, namespace=namespace)
        assert predicted["changed"] and made["changed"] and not again["changed"]
        assert predicted["changes"] == made["changes"]
        assert (again["changes"], again["diff"]) == ([], [])
        results.append(made)
    assert "tell no one" not in json.dumps(results)
    first, second, gone = results
    assert first["changes"] == [
        "create IPAddressPool %spublic-pool" % place,
        "create L2Advertisement %spublic" % place,
    ]
    assert set(second["changes"]) == {
        "update IPAddressPool %spublic-pool" % place,
        "create IPAddressPool %sdns" % place,
        "create Secret %sbgp-peer-r" % place,
        "create BGPPeer %sr" % place,
        "create BGPAdvertisement %spublic" % place,
        "delete L2Advertisement %spublic" % place,
    }
    (changed,) = [one for one in second["diff"] if one["before_header"] == "IPAddressPool %spublic-pool" % place]
    assert changed["before"]["spec"] == {"addresses": ["172.16.0.100-172.16.0.149"]}
    assert changed["after"]["spec"] == {"addresses": ["172.16.0.100-172.16.0.139"]}
    assert {one.partition(" ")[0] for one in gone["changes"]} == {"delete"}
    assert len(gone["changes"]) == 5


def test_second_run_costs_few_requests(api: ApiServer, namespace: str) -> None:
    run(api, namespace, FIRST)
    with api.record() as asked:
        run(api, namespace, FIRST)
    assert writes(asked) == []
    assert len(asked) <= 12  # 8 lists, and the discovery of kinds


def test_foreign_pools_are_kept(api: ApiServer, namespace: str) -> None:
    path = "/apis/metallb.io/v1beta1/namespaces/%s/ipaddresspools/other" % namespace
    api.apply(path, pool(namespace, "other", "172.16.0.149-172.16.0.210"))
    with pytest.raises(InputError, match="overlaps the pool other in the cluster, which is not ours"):
        run(api, namespace, FIRST)
    # When the API server refuses one object, no other is applied.
    differs = {"pools": [{"name": "other", "addresses": ["172.16.0.1-172.16.0.9"]}]}
    with pytest.raises(RefusedError, match="somebody"):
        run(api, namespace, differs, bgp_peers=SECOND["bgp_peers"])
    assert names(api, namespace, "bgppeers", "v1beta2") == []
    apart = {"pools": [{"name": "public-pool", "addresses": ["172.16.0.100-172.16.0.148"]}]}
    assert run(api, namespace, apart)["changes"] == ["create IPAddressPool %s/public-pool" % namespace]
    assert run(api, namespace, {}, state="absent")["changes"] == ["delete IPAddressPool %s/public-pool" % namespace]
    assert names(api, namespace, "ipaddresspools") == ["other"]


def test_pool_is_renamed_when_its_services_may_move(api: ApiServer, namespace: str) -> None:
    give_address(api, namespace, "172.16.0.100")
    run(api, namespace, FIRST)
    said = "Service %s/web has 172.16.0.100, which leaves the pool public-pool" % namespace
    renamed: dict[str, Any] = {"pools": [{**FIRST["pools"][0], "name": "renamed"}]}
    smaller = {"pools": [{**FIRST["pools"][0], "addresses": ["172.16.0.101-172.16.0.149"]}]}
    for declared in (renamed, smaller, {"state": "absent"}):
        with pytest.raises(InputError, match=said):
            run(api, namespace, declared)
    predicted = run(api, namespace, renamed, check_mode=True, allow_moves=True)
    made = run(api, namespace, renamed, allow_moves=True)
    expected = [
        "delete IPAddressPool %s/public-pool",
        "create IPAddressPool %s/renamed",
        "delete L2Advertisement %s/public",
    ]
    assert made["changes"] == predicted["changes"] == [one % namespace for one in expected]
    assert made["moves"] == made["notes"][:1] == [said]
    assert not run(api, namespace, renamed)["changed"]


def test_unusable_api_server_is_named(api: ApiServer, cluster: Cluster, namespace: str, tmp_path: Path) -> None:
    good = api.kubeconfig.read_text()
    closed, expired = tmp_path / "closed", tmp_path / "expired"
    closed.write_text(json.dumps(api.kubeconfig_of("https://127.0.0.1:1")))
    expired.write_text(re.sub(r'"token": "[^"]+"', '"token": "expired"', good))
    calls = [{**FIRST, "namespace": namespace, "kubeconfig": str(file)} for file in (closed, expired)]
    silent, denied = cluster.action("metallb_pool", *calls)
    assert silent["msg"].startswith("the API server https://127.0.0.1:1 does not answer (Connection refused): start it")
    server = "the API server https://127.0.0.1:6443"
    assert denied["msg"].startswith("%s refuses the credentials of %s (401 Unauthorized)" % (server, expired))


def test_role_prints_notes_and_names_its_variables(api: ApiServer, namespace: str) -> None:
    give_address(api, namespace, "172.16.0.100")
    variables: dict[str, Any] = {"metallb_pool_" + key: value for key, value in FIRST.items()}
    variables.update(metallb_pool_namespace=namespace, metallb_pool_bgp_peers=SECOND["bgp_peers"])
    tasks = [
        role("metallb_pool"),
        must_fail(role("metallb_pool", metallb_pool_gateways=["172.16.0.101"])),
        role("metallb_pool", metallb_pool_state="absent", metallb_pool_allow_moves=True),
    ]
    with api.record() as asked:
        said = api.play(tasks, "--diff", **variables).out
    (why,) = shown(said)
    assert why.startswith("metallb_pool_pools[0].addresses[0] 172.16.0.100-172.16.0.149 holds 172.16.0.101")
    assert "Service %s/web has 172.16.0.100, which leaves the pool" % namespace in re.sub(r"\s+", " ", said)
    assert [one.verb for one in writes(asked)] == ["patch"] * 4 + ["delete"] * 4
    assert "tell no one" not in said
