# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""ipvs_services: where connections end, what the tools list, and that a second run changes nothing."""

from __future__ import annotations

import re
import time
from collections import Counter
from pathlib import Path
from typing import Any, Iterator

import pytest

from ansible_collections.homelab.loadbalancer.plugins.module_utils._common.command import run
from ansible_collections.homelab.loadbalancer.plugins.module_utils._ipvs import plan as ipvs
from ansible_collections.homelab.loadbalancer.tests.integration import namespaces
from ansible_collections.homelab.loadbalancer.tests.integration.services_lab import (
    CLIENT,
    CLIENT6,
    FAR,
    ROUTER,
    ROUTER6,
    VIP,
    VIP2,
    VIP6,
    endpoints,
    pod,
)
from ansible_collections.homelab.loadbalancer.tests.kernel.background import Background
from ansible_collections.homelab.loadbalancer.tests.kernel.kernel_lab import KernelLab

NODE = "192.168.10.1"
EMPTY_TABLES = """\
*mangle
:PREROUTING ACCEPT
:INPUT ACCEPT
:FORWARD ACCEPT
:OUTPUT ACCEPT
:POSTROUTING ACCEPT
COMMIT
*nat
:PREROUTING ACCEPT
:INPUT ACCEPT
:OUTPUT ACCEPT
:POSTROUTING ACCEPT
COMMIT
*filter
:INPUT ACCEPT
:FORWARD ACCEPT
:OUTPUT ACCEPT
COMMIT
"""
FOREIGN_SERVER = ["-A", "-t", "10.96.0.1:443", "-s", "rr"]


class IpvsLab(KernelLab):
    """The lab whose router carries services by IPVS."""

    def up(self) -> None:
        super().up()
        self.run("router", "sysctl", "-qw", "net.ipv4.vs.conntrack=1", "net.ipv4.vs.expire_nodest_conn=1")

    def module(self, backend: str = "legacy", check_mode: bool = False, **options: Any) -> dict[str, Any]:
        with self.entered("router"):
            return namespaces.module("ipvs_services", check_mode, backend=backend, **options)

    def reset(self) -> None:
        with self.entered("router"):
            for family in ("iptables", "ip6tables"):
                run([family + "-legacy-restore", "--wait", "30"], EMPTY_TABLES)
            for command in (["conntrack", "-F"], ["ipvsadm", "-C"], ["ipset", "destroy"]):
                run(command)

    def carry(self, *services: dict[str, Any], **options: Any) -> dict[str, Any]:
        """Declare services once."""
        return self.apply("legacy", list(services), **options)

    def declare(self, *services: dict[str, Any], **options: Any) -> dict[str, Any]:
        """Declare services: check mode predicts the run, and a second run changes nothing."""
        before = self.everything()
        predicted = self.module(check_mode=True, services=list(services), **options)
        assert not predicted.get("failed"), predicted["msg"]
        assert self.everything() == before
        result = self.carry(*services, **options)
        assert result == predicted
        after = self.everything()
        again = self.carry(*services, **options)
        assert again == {**result, "changed": False, "diff": []}
        assert self.everything() == after
        return result

    def everything(self) -> list[str]:
        """Everything that the tools list, with sorted sets."""
        with self.entered("router"):
            sets = sorted(re.sub(r" initval \S+", "", run(["ipset", "save"]).out).splitlines())
            rules = [self.saved("legacy", family) for family in ("ipv4", "ipv6")]
            return [*sets, *rules, run(["ipvsadm", "-Sn"]).out]

    def servers(self, count: int, address: str = VIP, port: int = 80, **how: Any) -> Counter[str]:
        return Counter(answer.server for answer in self.ask("client", address, port, count=count, **how))


@pytest.fixture(scope="module")
def made() -> Iterator[IpvsLab]:
    lab = IpvsLab()
    try:
        lab.up()
        yield lab
    finally:
        lab.down()


@pytest.fixture
def lab(made: IpvsLab) -> IpvsLab:
    """Each test starts with a router without rules, sets and virtual servers."""
    made.reset()
    return made


def service(*numbers: int, family: str = "ipv4", name: str = "web", port: int = 80, **others: Any) -> dict[str, Any]:
    address = {"ipv4": VIP, "ipv6": VIP6}[family]
    return {
        "name": name, "address": address, "port": port, "endpoints": endpoints(*numbers, family=family), **others,
    }  # fmt: skip


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


@pytest.mark.parametrize(("family", "seen"), [("ipv4", ROUTER), ("ipv6", ROUTER6)])
def test_connections_alternate_and_are_masqueraded(lab: IpvsLab, family: str, seen: str) -> None:
    lab.carry(service(1, 2, family=family), scheduler="rr")
    answers = lab.ask("client", {"ipv4": VIP, "ipv6": VIP6}[family], 80, count=10)
    assert Counter(answer.server for answer in answers) == {"pod1": 5, "pod2": 5}
    assert {answer.peer for answer in answers} == {seen}
    assert lab.ask_once("router", {"ipv4": VIP, "ipv6": VIP6}[family], 80).server in ("pod1", "pod2")


def test_weights_are_shares(lab: IpvsLab) -> None:
    weighted = [{**each, "weight": weight} for each, weight in zip(endpoints(1, 2), (1, 3))]
    lab.carry({**service(), "endpoints": weighted})
    assert lab.servers(20) == {"pod1": 5, "pod2": 15}


def test_udp(lab: IpvsLab) -> None:
    lab.carry(service(3, protocol="udp"))
    assert lab.servers(3, protocol="udp") == {"pod3": 3}


def test_udp_clients_that_never_pause_are_masqueraded(lab: IpvsLab) -> None:
    """Even a client that sent before the service existed, to the VIP or a node port. Removal ends its connection."""
    with lab.sender("client", VIP, 53) as sender, lab.sender("client", NODE, 30053) as other:
        web = service(1)  # a router tracks connections as soon as it carries any service
        lab.carry(web)
        assert sender.is_answered_by("refused")
        assert other.is_answered_by("refused")
        dns = service(1, name="dns", port=53, protocol="udp", node_port=30053)
        assert lab.carry(web, dns)["conntrack_deleted"] == 2
        assert sender.is_answered_by("pod1", ROUTER)
        assert other.is_answered_by("pod1", ROUTER)
        assert lab.carry(web, dns)["conntrack_deleted"] == 0
        lab.carry(web, {**dns, "endpoints": endpoints(2)})
        assert sender.is_answered_by("pod2", ROUTER)
        lab.carry(web)
        assert sender.is_answered_by("refused")
        assert other.is_answered_by("refused")


def test_scheduler_of_one_service(lab: IpvsLab) -> None:
    lab.carry(service(1, 2), service(1, 2, name="sticky", port=81), schedulers={"sticky": "sh"})
    assert len(lab.servers(8)) == 2
    assert len(lab.servers(8, port=81)) == 1


def test_session_affinity_is_persistence(lab: IpvsLab) -> None:
    lab.carry(service(1, 2, 3, session_affinity={"timeout": 600}))
    assert len(lab.servers(8)) == 1
    assert " -p 600" in lab.run("router", "ipvsadm", "-Sn").out


def test_without_masquerade_endpoints_see_the_client(lab: IpvsLab) -> None:
    lab.carry(service(1), service(1, family="ipv6", name="web6"), masquerade=False)
    assert lab.ask_once("client", VIP, 80).peer == CLIENT
    assert lab.ask_once("client", VIP6, 80).peer == CLIENT6


def test_pods_keep_their_address_and_reach_themselves(lab: IpvsLab) -> None:
    lab.carry(service(1), pod_cidr=["192.168.20.0/24"])
    assert lab.ask_once("client", VIP, 80).peer == ROUTER
    assert lab.ask_once("pod1", VIP, 80).peer == ROUTER  # hairpin: the pod sees the router's address
    lab.carry(service(1), pod_cidr=["192.168.30.0/24"])
    assert lab.ask_once("far", VIP, 80).peer == FAR


def test_a_service_without_endpoints_refuses(lab: IpvsLab) -> None:
    lab.carry(service())
    assert lab.servers(1) == {"refused": 1}


def test_source_ranges_are_enforced(lab: IpvsLab) -> None:
    lab.carry(service(1, source_ranges=["192.168.30.0/24", "192.168.10.11/32"]))
    assert lab.dropped("client", VIP, 80)
    assert lab.ask_once("client", VIP, 80, source="192.168.10.11").server == "pod1"
    for host in ("far", "router"):
        assert lab.ask_once(host, VIP, 80).server == "pod1"
    lab.carry(service(1))
    assert lab.ask_once("client", VIP, 80).server == "pod1"


def test_node_ports_answer_on_all_addresses(lab: IpvsLab) -> None:
    lab.carry(service(1, node_port=30080))
    for address in (NODE, "192.168.30.1"):
        assert lab.ask_once("client", address, 30080).server == "pod1"
    assert lab.ask_once("router", NODE, 30080).server == "pod1"


def test_drop_policies_do_not_block_services(lab: IpvsLab) -> None:
    for chain in ("INPUT", "FORWARD"):
        lab.run("router", "iptables-legacy", "-P", chain, "DROP")
    lab.carry(service(1))
    assert lab.ask_once("client", VIP, 80).server == "pod1"
    assert lab.dropped("client", VIP, 8080)


def test_isolation_blocks_pods_and_not_services(lab: IpvsLab) -> None:
    assert lab.ask_once("client", pod(1), 8080).server == "pod1"
    lab.carry(service(1), isolate=[{"from": "eth0", "to": "eth1"}])
    assert lab.dropped("client", pod(1), 8080)
    assert lab.ask_once("client", VIP, 80).server == "pod1"


def test_removed_endpoint_is_drained(lab: IpvsLab) -> None:
    lab.carry(service(1, 2), scheduler="rr")
    with lab.connection("client", VIP, 80) as first, lab.connection("client", VIP, 80) as second:
        going = first if first.server == "pod1" else second
        staying = {"pod1": "pod2", "pod2": "pod1"}[going.server]
        left = service(int(staying[-1]))
        with lab.entered("router"):
            draining = Background("ipvs_services", services=[left], drain=600, backend="legacy")
        while "-w 0" not in lab.run("router", "ipvsadm", "-Sn").out:
            assert draining.runs()
        assert lab.servers(6) == {staying: 6}
        assert going.says("still there").endswith("still there")
        assert draining.runs()
    # Both sides have closed the connection. Draining does not wait for its TIME_WAIT of two minutes.
    result = draining.result()
    assert result["changed"] and not result.get("warnings"), result
    assert "-w 0" not in lab.run("router", "ipvsadm", "-Sn").out
    assert "TIME_WAIT" in lab.run("router", "cat", "/proc/net/ip_vs_conn").out


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
    result = lab.carry(*services, save_to=str(tmp_path))
    at = lab.everything()
    lab.reset()
    for dummy in range(2):
        namespaces.run_at_boot(result["boot"], lab.inside("router"))
        assert lab.everything() == at
    assert not lab.module(services=services, save_to=str(tmp_path))["changed"]
    lab.module(save_to=str(tmp_path), state="absent")
    assert list(tmp_path.iterdir()) == []


def test_late_refusal_rolls_everything_back(lab: IpvsLab) -> None:
    lab.carry(service(1))
    before = lab.everything()
    # Another process creates one of the virtual servers between reading and writing.
    with lab.entered("router"):
        real = ipvs.read
        try:

            def meddle(ours: Any) -> Any:
                found = real(ours)
                run(["ipvsadm", "-A", "-t", VIP2 + ":80", "-s", "rr"])
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
    ("save_to: the folder /nowhere/at/all", {"save_to": "/nowhere/at/all"}),
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
