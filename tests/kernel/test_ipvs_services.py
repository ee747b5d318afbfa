# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""ipvs_services by its packets: where connections end, what the tools list, and what a second run changes."""

from __future__ import annotations

import json
import random
import re
import threading
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
    ServicesLab,
    endpoints,
    pod,
)

NODE = "192.168.10.1"
FOREIGN_SERVER = ["-A", "-t", "10.96.0.1:443", "-s", "rr"]


class IpvsLab(ServicesLab):
    """The lab whose router carries services by IPVS."""

    def up(self) -> None:
        run(["modprobe", "-a", "ip_vs", "nf_conntrack"])
        super().up()
        self.run("router", "sysctl", "-qw", "net.ipv4.vs.conntrack=1", "net.ipv4.vs.expire_nodest_conn=1")

    def module(self, backend: str = "legacy", check_mode: bool = False, **options: Any) -> dict[str, Any]:
        with self.entered("router"):
            return namespaces.module("ipvs_services", check_mode, backend=backend, **options)

    def reset(self) -> None:
        super().reset()
        self.run("router", "ipvsadm", "-C")
        self.run("router", "ipset", "destroy")

    def declare(self, *services: dict[str, Any], **options: Any) -> dict[str, Any]:
        """Declare services: check mode predicts the run, and a second run changes nothing."""
        before = self.everything()
        predicted = self.module(check_mode=True, services=list(services), **options)
        assert not predicted.get("failed"), predicted["msg"]
        assert self.everything() == before
        result = self.apply("legacy", list(services), **options)
        assert result == predicted
        after = self.everything()
        again = self.apply("legacy", list(services), **options)
        assert again == {**result, "changed": False, "diff": []}
        assert self.everything() == after
        return result

    def everything(self) -> list[str]:
        """All that the tools list, sets sorted."""
        sets = sorted(re.sub(r" initval \S+", "", self.run("router", "ipset", "save").out).splitlines())
        rules = [self.saved("legacy", family) for family in ("ipv4", "ipv6")]
        return [*sets, *rules, self.run("router", "ipvsadm", "-Sn").out]

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
    """Each test begins on a router without rules, sets and virtual servers."""
    made.reset()
    return made


def service(*numbers: int, family: str = "ipv4", name: str = "web", port: int = 80, **others: Any) -> dict[str, Any]:
    address = {"ipv4": VIP, "ipv6": VIP6}[family]
    return {
        "name": name, "address": address, "port": port, "endpoints": endpoints(*numbers, family=family), **others,
    }  # fmt: skip


@pytest.mark.parametrize(("family", "seen"), [("ipv4", ROUTER), ("ipv6", ROUTER6)])
def test_connections_alternate_and_are_masqueraded(lab: IpvsLab, family: str, seen: str) -> None:
    lab.declare(service(1, 2, family=family), scheduler="rr")
    answers = lab.ask("client", {"ipv4": VIP, "ipv6": VIP6}[family], 80, count=10)
    assert Counter(answer.server for answer in answers) == {"pod1": 5, "pod2": 5}
    assert {answer.peer for answer in answers} == {seen}
    assert lab.ask_once("router", {"ipv4": VIP, "ipv6": VIP6}[family], 80).server in ("pod1", "pod2")


def test_weights_are_shares(lab: IpvsLab) -> None:
    weighted = [{**each, "weight": weight} for each, weight in zip(endpoints(1, 2), (1, 3))]
    lab.declare({**service(), "endpoints": weighted})
    assert lab.servers(20) == {"pod1": 5, "pod2": 15}


def test_udp(lab: IpvsLab) -> None:
    lab.declare(service(3, protocol="udp"))
    assert lab.servers(3, protocol="udp") == {"pod3": 3}


def test_udp_clients_that_never_pause_are_masqueraded(lab: IpvsLab) -> None:
    """Also one that sent before there was a service, at the VIP and at a node port; and none is left when it goes."""
    run(["modprobe", "nf_conntrack_netlink"])
    with lab.sender("client", VIP, 53) as sender, lab.sender("client", NODE, 30053) as other:
        web = service(1)  # a router tracks connections as soon as it carries any service
        lab.apply("legacy", [web])
        assert sender.is_answered_by("refused")
        assert other.is_answered_by("refused")
        dns = service(1, name="dns", port=53, protocol="udp", node_port=30053)
        assert lab.apply("legacy", [web, dns])["conntrack_deleted"] == 2
        assert sender.is_answered_by("pod1", ROUTER)
        assert other.is_answered_by("pod1", ROUTER)
        assert lab.apply("legacy", [web, dns])["conntrack_deleted"] == 0
        lab.apply("legacy", [web, {**dns, "endpoints": endpoints(2)}])
        assert sender.is_answered_by("pod2", ROUTER)
        lab.apply("legacy", [web])
        assert sender.is_answered_by("refused")
        assert other.is_answered_by("refused")


def test_a_scheduler_of_a_service_of_its_own(lab: IpvsLab) -> None:
    lab.declare(service(1, 2), service(1, 2, name="sticky", port=81), schedulers={"sticky": "sh"})
    assert len(lab.servers(8)) == 2
    assert len(lab.servers(8, port=81)) == 1


def test_session_affinity_is_persistence(lab: IpvsLab) -> None:
    lab.declare(service(1, 2, 3, session_affinity={"timeout": 600}))
    assert len(lab.servers(8)) == 1
    assert " -p 600" in lab.run("router", "ipvsadm", "-Sn").out


def test_without_masquerade_endpoints_see_the_client(lab: IpvsLab) -> None:
    lab.declare(service(1), service(1, family="ipv6", name="web6"), masquerade=False)
    assert lab.ask_once("client", VIP, 80).peer == CLIENT
    assert lab.ask_once("client", VIP6, 80).peer == CLIENT6


def test_pods_keep_their_address_and_reach_themselves(lab: IpvsLab) -> None:
    lab.declare(service(1), pod_cidr=["192.168.20.0/24"])
    assert lab.ask_once("client", VIP, 80).peer == ROUTER
    assert lab.ask_once("pod1", VIP, 80).peer == ROUTER  # itself, by another address
    lab.declare(service(1), pod_cidr=["192.168.30.0/24"])
    assert lab.ask_once("far", VIP, 80).peer == FAR


def test_a_service_without_endpoints_refuses(lab: IpvsLab) -> None:
    lab.declare(service())
    assert lab.servers(1) == {"refused": 1}


def test_source_ranges(lab: IpvsLab) -> None:
    lab.declare(service(1, source_ranges=["192.168.30.0/24", "192.168.10.11/32"]))
    assert lab.dropped("client", VIP, 80)
    assert lab.ask_once("client", VIP, 80, source="192.168.10.11").server == "pod1"
    for host in ("far", "router"):
        assert lab.ask_once(host, VIP, 80).server == "pod1"
    lab.declare(service(1))
    assert lab.ask_once("client", VIP, 80).server == "pod1"


def test_node_ports(lab: IpvsLab) -> None:
    lab.declare(service(1, node_port=30080))
    for address in (NODE, "192.168.30.1"):
        assert lab.ask_once("client", address, 30080).server == "pod1"
    assert lab.ask_once("router", NODE, 30080).server == "pod1"


def test_policies_of_drop_do_not_shut_services(lab: IpvsLab) -> None:
    for chain in ("INPUT", "FORWARD"):
        lab.run("router", "iptables-legacy", "-P", chain, "DROP")
    lab.declare(service(1))
    assert lab.ask_once("client", VIP, 80).server == "pod1"
    assert lab.dropped("client", VIP, 8080)


def test_isolation_blocks_pods_and_not_services(lab: IpvsLab) -> None:
    assert lab.ask_once("client", pod(1), 8080).server == "pod1"
    lab.declare(service(1), isolate=[{"from": "eth0", "to": "eth1"}])
    assert lab.dropped("client", pod(1), 8080)
    assert lab.ask_once("client", VIP, 80).server == "pod1"


def test_an_endpoint_that_goes_is_drained(lab: IpvsLab) -> None:
    lab.declare(service(1, 2), scheduler="rr")
    with lab.connection("client", VIP, 80) as first, lab.connection("client", VIP, 80) as second:
        going = first if first.server == "pod1" else second
        staying = {"pod1": "pod2", "pod2": "pod1"}[going.server]
        left = service(int(staying[-1]))
        with lab.entered("router"):
            draining = namespaces.start_module("ipvs_services", services=[left], drain=600, backend="legacy")
        while "-w 0" not in lab.run("router", "ipvsadm", "-Sn").out:
            assert draining.poll() is None
        assert lab.servers(6) == {staying: 6}
        assert going.says("still there").endswith("still there")
        assert draining.poll() is None
    # Both sides have closed it, and what the kernel remembers of it for two minutes more is not waited for.
    result = namespaces.finish_module(draining)
    assert result["changed"] and not result.get("warnings"), result
    assert "-w 0" not in lab.run("router", "ipvsadm", "-Sn").out
    assert "TIME_WAIT" in lab.run("router", "cat", "/proc/net/ip_vs_conn").out


def test_weights_of_others_are_kept(lab: IpvsLab) -> None:
    lab.declare(service(1, 2))
    lab.run("router", "ipvsadm", "-e", "-t", VIP + ":80", "-r", pod(1) + ":8080", "-m", "-w", "0")
    assert not lab.module(services=[service(1, 2)], preserve_weights=True)["changed"]
    assert lab.module(services=[service(1, 2)])["changed"]


def test_what_others_have_stays(lab: IpvsLab) -> None:
    lab.run("router", "ipvsadm", *FOREIGN_SERVER)
    lab.run("router", "ipset", "create", "KUBE-CLUSTER-IP", "hash:ip,port")
    lab.run("router", "ipset", "add", "KUBE-CLUSTER-IP", "10.96.0.1,tcp:443")
    lab.run("router", "iptables-legacy", "-t", "nat", "-N", "KUBE-SERVICES")
    lab.run("router", "iptables-legacy", "-t", "nat", "-A", "PREROUTING", "-j", "KUBE-SERVICES")
    before = lab.everything()
    lab.declare(service(1), service(2, name="two", port=81, source_ranges=["192.168.10.0/24"], node_port=30081))
    assert " ".join(FOREIGN_SERVER) in lab.run("router", "ipvsadm", "-Sn").out
    lab.declare(service(1))
    assert lab.servers(2) == {"pod1": 2}
    gone: list[dict[str, Any]] = [{"services": []}, {"services": [service(1)], "state": "absent"}]
    for state in gone:
        lab.declare(service(1))
        assert lab.module(**state)["changed"]
        assert lab.everything() == before
        assert not lab.module(**state)["changed"]


def test_virtual_servers_of_somebody_else(lab: IpvsLab) -> None:
    lab.declare(service(1), virtual_servers=False)
    assert lab.run("router", "ipvsadm", "-Sn").out == ""
    lab.run("router", "ipvsadm", "-A", "-t", VIP + ":80", "-s", "rr")
    lab.run("router", "ipvsadm", "-a", "-t", VIP + ":80", "-r", pod(2) + ":8080", "-m")
    assert not lab.module(services=[service(1)], virtual_servers=False)["changed"]
    assert lab.servers(1) == {"pod2": 1}


def test_a_boot_brings_it_back(lab: IpvsLab, tmp_path: Path) -> None:
    services = [service(1, 2, session_affinity={}), service(3, family="ipv6", name="six", source_ranges=["fd00::/16"])]
    result = lab.declare(*services, save_to=str(tmp_path))
    at = lab.everything()
    lab.reset()
    for dummy in range(2):
        namespaces.run_at_boot(result["boot"], lab.inside("router"))
        assert lab.everything() == at
    assert not lab.module(services=services, save_to=str(tmp_path))["changed"]
    lab.module(save_to=str(tmp_path), state="absent")
    assert list(tmp_path.iterdir()) == []


def test_a_refusal_half_way_takes_all_of_it_back(lab: IpvsLab) -> None:
    lab.declare(service(1))
    before = lab.everything()
    # Somebody makes one of the virtual servers between reading and writing.
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
    assert "somebody else added it meanwhile" in result["msg"]
    lab.run("router", "ipvsadm", "-D", "-t", VIP2 + ":80", check=False)
    assert lab.everything() == before


def test_killed_at_any_moment_and_run_again(lab: IpvsLab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """To and fro between two states, killed on the way in most of the runs: what is declared is all that is there."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))  # who is killed leaves its temporary folders
    one = [service(1, 2), {**service(1, name="two"), "address": VIP2}]
    other = [service(2, 3, source_ranges=[CLIENT + "/32"]), service(2, family="ipv6", name="six")]
    expected = []
    for state in (one, other):
        lab.declare(*state)
        expected.append(lab.everything())
    for attempt in range(8):
        state = (one, other)[attempt % 2]
        with lab.entered("router"):
            process = namespaces.start_module("ipvs_services", services=state, backend="legacy")
        with process:
            threading.Event().wait(random.uniform(0.5, 1.5))  # the moment is what is random here
            process.kill()
        lab.apply("legacy", state)
        assert lab.everything() == expected[attempt % 2]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"scheduler": "best"}, "scheduler best is not a scheduler of this node's kernel, which has "),
        ({"schedulers": {"web": "best"}}, "schedulers.web best is not a scheduler"),
        ({"schedulers": {"other": "rr"}}, "schedulers.other is not the name of a service: those are web"),
        ({"layout": "minimal", "services": [service(1, node_port=1)]}, "service web has a node port or source ranges"),
        ({"drain": -1}, "drain -1 is not a number of seconds"),
        ({"save_to": "/nowhere/at/all"}, "save_to: there is no folder /nowhere/at/all"),
        ({"isolate": [{"from": "eth9", "to": "eth0"}]}, "isolate[0].from eth9 is not an interface of this node"),
        ({"services": [{**service(1), "address": "10.0.0.300"}]}, "lb_services[0].address 10.0.0.300 is not an IP"),
    ],
    ids=json.dumps,
)
def test_bad_input_changes_nothing(lab: IpvsLab, options: dict[str, Any], message: str) -> None:
    before = lab.everything()
    result = lab.module(**{"services": [service(1)], **options})
    assert result.get("failed"), result
    assert message in result["msg"]
    assert lab.everything() == before


def test_the_minimal_layout_is_the_workshops(lab: IpvsLab) -> None:
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
    for line in (Path(__file__).parent / "workshop.txt").read_text(encoding="utf-8").splitlines():
        if line and not line.startswith("#"):
            lab.run("router", "sh", "-c", line.replace("iptables ", "iptables-legacy "))
    assert [line for line in lab.run("router", "ipset", "save").out.splitlines() if "create" not in line] == [
        line for line in sets.splitlines() if "create" not in line
    ]
    assert lab.saved("legacy") == rules
    assert lab.run("router", "ipvsadm", "-Ln").out == servers


@pytest.mark.parametrize("module", ["ipvs_services", "iptables_services"])
def test_a_second_declaration_by_either_data_plane(lab: IpvsLab, module: str) -> None:
    """A cluster's Services beside the router's own: each is served, and goes without the other."""
    own, other = service(1), {**service(2, address=VIP2), "name": "other"}

    def second(**options: Any) -> dict[str, Any]:
        with lab.entered("router"):
            result = namespaces.module(module, backend="legacy", prefix="LBC-", masquerade_mark="0x400", **options)
        assert not result.get("failed"), result["msg"]
        return result

    lab.declare(own)
    alone = sorted(lab.everything())
    assert second(services=[other])["changed"]
    both = sorted(lab.everything())
    for _turn in range(2):
        assert (lab.servers(2), lab.servers(2, VIP2)) == ({"pod1": 2}, {"pod2": 2})
        assert not lab.apply("legacy", [own])["changed"]
        assert not second(services=[other])["changed"]
        lab.apply("legacy", [], state="absent")
        assert lab.servers(2, VIP2) == {"pod2": 2}
        assert not second(services=[other])["changed"]
        lab.apply("legacy", [own])
        assert sorted(lab.everything()) == both
    assert second(state="absent")["changed"]
    assert sorted(lab.everything()) == alone
    assert lab.servers(2) == {"pod1": 2}
