# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""ipvs_services: what the tools list, through check mode, second runs, boots, refusals and kills."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.homelab.loadbalancer.plugins.module_utils._common.command import run
from ansible_collections.homelab.loadbalancer.plugins.module_utils._ipvs import plan as ipvs
from ansible_collections.homelab.loadbalancer.tests.integration import namespaces
from ansible_collections.homelab.loadbalancer.tests.integration.services_lab import CLIENT, VIP, VIP2, endpoints, pod
from ansible_collections.homelab.loadbalancer.tests.kernel.background import Background
from ansible_collections.homelab.loadbalancer.tests.kernel.ipvs_lab import IpvsLab, service
from ansible_collections.homelab.loadbalancer.tests.unit.boot.systemd import standing_in

FOREIGN_SERVER = ["-A", "-t", "10.96.0.1:443", "-s", "rr"]


def test_a_check_run_predicts_and_a_second_run_keeps_every_option(lab: IpvsLab) -> None:
    weighted = [{**each, "weight": weight} for each, weight in zip(endpoints(1, 2), (1, 3))]
    affinity: dict[str, Any] = {
        "session_affinity": {"timeout": 600},
        "source_ranges": ["192.168.30.0/24"],
        "node_port": 30080,
    }
    lab.declare(
        {**service(**affinity), "endpoints": weighted},
        service(1, 2, family="ipv6", name="six", source_ranges=["fd00::/16"]),
        service(3, name="dns", port=53, protocol="udp", node_port=30053),
        service(name="empty", port=82),
        scheduler="rr",
        schedulers={"six": "sh"},
        pod_cidr=["192.168.20.0/24"],
        isolate=[{"from": "eth0", "to": "eth1"}],
    )
    lab.declare(service(1), service(1, family="ipv6", name="six"), masquerade=False)
    lab.declare(service(1, 2), virtual_servers=False)
    lab.declare()


def test_preserve_weights_keeps_runtime_weights(lab: IpvsLab) -> None:
    lab.carry(service(1, 2))
    lab.run("router", "ipvsadm", "-e", "-t", VIP + ":80", "-r", pod(1) + ":8080", "-m", "-w", "0")
    assert not lab.module(services=[service(1, 2)], preserve_weights=True)["changed"]
    assert lab.module(services=[service(1, 2)])["changed"]


def test_foreign_objects_stay(lab: IpvsLab) -> None:
    with lab.entered("router"):
        run(["ipvsadm", *FOREIGN_SERVER])
        run(["ipset", "restore"], "create KUBE-CLUSTER-IP hash:ip,port\nadd KUBE-CLUSTER-IP 10.96.0.1,tcp:443\n")
        rules = "*nat\n:KUBE-SERVICES -\n-A PREROUTING -j KUBE-SERVICES\nCOMMIT\n"
        run(["iptables-legacy-restore", "--noflush"], rules)
    before = lab.everything()
    lab.carry(service(1), service(2, name="two", port=81, source_ranges=["192.168.10.0/24"], node_port=30081))
    assert " ".join(FOREIGN_SERVER) in lab.run("router", "ipvsadm", "-Sn").out
    gone: list[dict[str, Any]] = [{"services": []}, {"services": [service(1)], "state": "absent"}]
    for state in gone:
        lab.carry(service(1))
        assert lab.servers(2) == {"pod1": 2}
        assert lab.module(**state)["changed"]
        assert lab.everything() == before
    assert not lab.module(services=[])["changed"]


def test_virtual_servers_managed_elsewhere(lab: IpvsLab) -> None:
    lab.carry(service(1), virtual_servers=False)
    assert lab.run("router", "ipvsadm", "-Sn").out == ""
    lab.run("router", "ipvsadm", "-A", "-t", VIP + ":80", "-s", "rr")
    lab.run("router", "ipvsadm", "-a", "-t", VIP + ":80", "-r", pod(2) + ":8080", "-m")
    assert not lab.module(services=[service(1)], virtual_servers=False)["changed"]
    assert lab.servers(1) == {"pod2": 1}


def test_boot_restores_everything(lab: IpvsLab, tmp_path: Path) -> None:
    services = [service(1, 2, session_affinity={}), service(3, family="ipv6", name="six", source_ranges=["fd00::/16"])]
    boot = str(tmp_path / "ours")
    with standing_in(tmp_path) as systemd:
        lab.carry(*services, boot_path=boot)
        at = lab.everything()
        lab.reset()
        for dummy in range(2):
            namespaces.run_at_boot(systemd.starts(), lab.inside("router"))
            assert lab.everything() == at
        assert not lab.module(services=services, boot_path=boot)["changed"]
        lab.module(boot_path=boot, state="absent")
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_late_refusal_rolls_everything_back(lab: IpvsLab) -> None:
    lab.carry(service(1))
    before = lab.everything()
    # Another process creates one of the virtual servers between reading and writing.
    with lab.entered("router"):
        real = ipvs.read
        try:

            def meddle(ours: Any) -> Any:
                found = real(ours)
                run(["ipvsadm", "-A", "-t", VIP2 + ":80", "-s", "rr"], check=False)
                return found

            ipvs.read = meddle
            result = namespaces.module(
                "ipvs_services", services=[service(1), {**service(2, name="two"), "address": VIP2}], backend="legacy"
            )
        finally:
            ipvs.read = real
    assert result["failed"]
    assert "another program added it meanwhile" in result["msg"]
    lab.run("router", "ipvsadm", "-D", "-t", VIP2 + ":80", check=False)
    assert lab.everything() == before


def test_killed_at_any_moment_and_run_again(lab: IpvsLab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Alternate between two states; most runs are killed on the way, and the next run completes them."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))  # a killed run leaves its temporary folders
    one = [service(1, 2), {**service(1, name="two"), "address": VIP2}]
    other = [service(2, 3, source_ranges=[CLIENT + "/32"]), service(2, family="ipv6", name="six")]
    expected = []
    for state in (one, other):
        start = time.monotonic()
        lab.carry(*state)
        expected.append((time.monotonic() - start, lab.everything()))
    for attempt in range(8):
        state, (limit, then) = (one, other)[attempt % 2], expected[attempt % 2]
        with lab.entered("router"):
            Background("ipvs_services", services=state, backend="legacy").kill_at_any_moment(limit)
        lab.carry(*state)
        assert lab.everything() == then


BAD_INPUT: list[tuple[str, dict[str, Any]]] = [
    ("scheduler best is not a scheduler of this node's kernel, which has ", {"scheduler": "best"}),
    ("schedulers.web best is not a scheduler", {"schedulers": {"web": "best"}}),
    ("schedulers.other is not the name of a service: the services are web", {"schedulers": {"other": "rr"}}),
    ("service web has a node port or source ranges", {"layout": "minimal", "services": [service(1, node_port=1)]}),
    ("drain -1 is not a number of seconds", {"drain": -1}),
    ("boot: this host is the network namespace", {"boot_path": "/nowhere/at/all"}),
    ("isolate[0].from eth9 is not an interface of this node", {"isolate": [{"from": "eth9", "to": "eth0"}]}),
    ("lb_services[0].address 10.0.0.300 is not an IP", {"services": [{**service(1), "address": "10.0.0.300"}]}),
]


def test_bad_input_changes_nothing(lab: IpvsLab) -> None:
    before = lab.everything()
    for message, options in BAD_INPUT:
        result = lab.module(**{"services": [service(1)], **options})
        assert result.get("failed"), result
        assert message in result["msg"]
    assert lab.everything() == before


def test_minimal_layout_equals_the_workshop(lab: IpvsLab) -> None:
    web = {
        "name": "web-service",
        "address": "10.254.10.128",
        "port": 80,
        "endpoints": [{"address": "10.244.2.2", "port": 8080}, {"address": "10.244.1.3", "port": 8080}],
    }
    how = {"layout": "minimal", "prefix": "KUBE-", "pod_cidr": ["10.244.0.0/16"], "masquerade_mark": "0x4000"}
    lab.declare(web, scheduler="rr", **how)
    sets = lab.run("router", "ipset", "save").out
    rules, servers = lab.saved("legacy"), lab.run("router", "ipvsadm", "-Ln").out
    lab.reset()
    by_hand = (Path(__file__).parent / "workshop.txt").read_text(encoding="utf-8")
    lab.run("router", "sh", "-e", stdin=by_hand.replace("iptables ", "iptables-legacy "))
    assert [line for line in lab.run("router", "ipset", "save").out.splitlines() if "create" not in line] == [
        line for line in sets.splitlines() if "create" not in line
    ]
    assert lab.saved("legacy") == rules
    assert lab.run("router", "ipvsadm", "-Ln").out == servers


@pytest.mark.parametrize("module", ["ipvs_services", "iptables_services"])
def test_two_declarations_do_not_disturb_each_other(lab: IpvsLab, module: str) -> None:
    """A cluster's Services beside the router's own: both answer, and each can be removed alone."""
    own, other = service(1), {**service(2, address=VIP2), "name": "other"}

    def second(**options: Any) -> dict[str, Any]:
        with lab.entered("router"):
            result = namespaces.module(module, backend="legacy", prefix="LBC-", masquerade_mark="0x400", **options)
        assert not result.get("failed"), result["msg"]
        return result

    lab.carry(own)
    alone = sorted(lab.everything())
    assert second(services=[other])["changed"]
    both = sorted(lab.everything())
    assert (lab.servers(2), lab.servers(2, VIP2)) == ({"pod1": 2}, {"pod2": 2})
    assert not lab.carry(own)["changed"]
    assert not second(services=[other])["changed"]
    lab.carry(state="absent")
    assert lab.servers(2, VIP2) == {"pod2": 2}
    assert not second(services=[other])["changed"]
    lab.carry(own)
    assert sorted(lab.everything()) == both
    assert second(state="absent")["changed"]
    assert sorted(lab.everything()) == alone
    assert lab.servers(2) == {"pod1": 2}
