# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module and the role `metallb_pool` on a real API server, with Services whose addresses the test gives."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ansible_collections.homelab.loadbalancer.tests.api.api_server import ApiServer, writes

FIRST = {
    "pools": [{"name": "public-pool", "addresses": ["172.16.0.100-172.16.0.149"]}],
    "l2_advertisements": [{"name": "public", "pools": ["public-pool"]}],
}
SECOND = {
    "pools": [
        {"name": "public-pool", "addresses": ["172.16.0.100-172.16.0.139"]},
        {"name": "dns", "addresses": ["172.16.0.140/32"], "auto_assign": False},
    ],
    "bgp_peers": [{"name": "r", "my_asn": 1, "peer_asn": 2, "address": "172.16.0.254", "password": "tell no one"}],
    "bgp_advertisements": [{"name": "public"}],
}


def run_all(api: ApiServer, tmp_path: Path, *tasks: dict[str, Any], **variables: Any) -> list[dict[str, Any]]:
    """The results of tasks in one play; `check` is for one that only predicts, and each shows its diff."""
    named = []
    for index, task in enumerate(tasks):
        module = {key: value for key, value in task.items() if key != "check"}
        more = {"check_mode": True} if task.get("check") else {}
        named.append({**module, **more, "diff": True, "register": "r%d" % index, "ignore_errors": True})
    content = "{{ [%s] | to_json }}" % ", ".join("r%d" % index for index in range(len(tasks)))
    target = tmp_path / "results.json"
    done = api.play([*named, {"ansible.builtin.copy": {"content": content, "dest": str(target)}}], **variables)
    assert "tell no one" not in done.out
    results: list[dict[str, Any]] = json.loads(target.read_text())
    return results


def pools(namespace: str, declared: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    """A task of the module."""
    access = {"kubeconfig": "{{ k8s_kubeconfig }}", "namespace": namespace}
    return {"homelab.loadbalancer.metallb_pool": {**access, **(declared or {}), **more}}


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


def test_a_declaration_from_nothing_to_nothing(api: ApiServer, namespace: str, tmp_path: Path) -> None:
    results = run_all(
        api,
        tmp_path,
        {**pools(namespace, FIRST), "check": True},
        pools(namespace, FIRST),
        pools(namespace, FIRST),
        {**pools(namespace, SECOND), "check": True},
        pools(namespace, SECOND),
        pools(namespace, SECOND),
        {**pools(namespace, state="absent"), "check": True},
        pools(namespace, state="absent"),
        pools(namespace, state="absent"),
    )
    for predicted, made, again in (results[:3], results[3:6], results[6:]):
        assert predicted["changed"] and made["changed"] and not again["changed"]
        assert predicted["changes"] == made["changes"]
        assert (again["changes"], again["diff"]) == ([], [])
    place = namespace + "/"
    assert results[1]["changes"] == [
        "create IPAddressPool %spublic-pool" % place,
        "create L2Advertisement %spublic" % place,
    ]
    assert set(results[4]["changes"]) == {
        "update IPAddressPool %spublic-pool" % place,
        "create IPAddressPool %sdns" % place,
        "create Secret %sbgp-peer-r" % place,
        "create BGPPeer %sr" % place,
        "create BGPAdvertisement %spublic" % place,
        "delete L2Advertisement %spublic" % place,
    }
    (changed,) = [one for one in results[4]["diff"] if one["before_header"] == "IPAddressPool %spublic-pool" % place]
    assert changed["before"]["spec"] == {"addresses": ["172.16.0.100-172.16.0.149"]}
    assert changed["after"]["spec"] == {"addresses": ["172.16.0.100-172.16.0.139"]}
    assert {one.partition(" ")[0] for one in results[7]["changes"]} == {"delete"}
    assert len(results[7]["changes"]) == 5


def test_a_second_run_costs_few_requests(api: ApiServer, namespace: str) -> None:
    api.play([pools(namespace, FIRST)])
    with api.record() as asked:
        api.play([pools(namespace, FIRST)])
    assert writes(asked) == []
    assert len(asked) <= 12


def test_pools_of_others_stay(api: ApiServer, namespace: str, tmp_path: Path) -> None:
    other = {
        "apiVersion": "metallb.io/v1beta1",
        "kind": "IPAddressPool",
        "metadata": {"name": "other", "namespace": namespace},
        "spec": {"addresses": ["172.16.0.149-172.16.0.210"]},
    }
    api.apply("/apis/metallb.io/v1beta1/namespaces/%s/ipaddresspools/other" % namespace, other)
    apart = {"pools": [{"name": "public-pool", "addresses": ["172.16.0.100-172.16.0.148"]}]}
    differs = {"pools": [{"name": "other", "addresses": ["172.16.0.1-172.16.0.9"]}]}
    overlapping, conflicting, made, removed = run_all(
        api,
        tmp_path,
        pools(namespace, FIRST),
        pools(namespace, {**differs, "bgp_peers": SECOND["bgp_peers"]}),
        pools(namespace, apart),
        pools(namespace, state="absent"),
    )
    assert "overlaps the pool other in the cluster, which is not ours" in overlapping["msg"]
    # What is refused by the API server leaves all else unapplied.
    assert "nothing was changed" in conflicting["msg"] and "somebody" in conflicting["msg"]
    assert made["changes"] == ["create IPAddressPool %s/public-pool" % namespace]
    assert removed["changes"] == ["delete IPAddressPool %s/public-pool" % namespace]
    assert names(api, namespace, "ipaddresspools") == ["other"]
    assert names(api, namespace, "bgppeers", "v1beta2") == []


def test_a_pool_is_renamed_when_its_services_may_move(api: ApiServer, namespace: str, tmp_path: Path) -> None:
    give_address(api, namespace, "172.16.0.100")
    renamed = {"pools": [{**FIRST["pools"][0], "name": "renamed"}]}
    smaller = {"pools": [{**FIRST["pools"][0], "addresses": ["172.16.0.101-172.16.0.149"]}]}
    results = run_all(
        api,
        tmp_path,
        pools(namespace, FIRST),
        pools(namespace, smaller),
        pools(namespace, state="absent"),
        pools(namespace, renamed),
        {**pools(namespace, renamed, allow_moves=True), "check": True},
        pools(namespace, renamed, allow_moves=True),
        pools(namespace, renamed),
    )
    said = "Service %s/web has 172.16.0.100, which leaves the pool public-pool" % namespace
    for refused in results[1:4]:
        assert refused["failed"] and refused["msg"].startswith(said)
    predicted, made, again = results[4:]
    place = namespace + "/"
    assert (
        made["changes"]
        == predicted["changes"]
        == [
            "delete IPAddressPool %spublic-pool" % place,
            "create IPAddressPool %srenamed" % place,
            "delete L2Advertisement %spublic" % place,
        ]
    )
    assert made["moves"] == made["notes"][:1] == [said]
    assert not again["changed"]


def test_the_role_prints_notes_and_names_its_variables(api: ApiServer, namespace: str) -> None:
    variables: dict[str, Any] = {"metallb_pool_" + key: value for key, value in FIRST.items()}
    variables["metallb_pool_namespace"] = namespace
    role = {"ansible.builtin.include_role": {"name": "homelab.loadbalancer.metallb_pool"}}
    refused = api.play([role, {**role, "vars": {"metallb_pool_gateways": ["172.16.0.101"]}}], rc=2, **variables).out
    assert "metallb_pool_pools[0].addresses[0] 172.16.0.100-172.16.0.149 holds 172.16.0.101" in refused
    assert names(api, namespace, "ipaddresspools") == ["public-pool"]
    give_address(api, namespace, "172.16.0.100")
    absent = {**variables, "metallb_pool_state": "absent", "metallb_pool_allow_moves": True}
    assert "Service %s/web has 172.16.0.100, which leaves the pool" % namespace in api.play([role], **absent).out
    assert names(api, namespace, "ipaddresspools") == []
