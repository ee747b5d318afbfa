# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""VIPs that move between two directors, and what may stand between these, with real keepalived processes."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Iterator

import pytest

from ansible_collections.homelab.loadbalancer.plugins.module_utils._ipvs import kernel as ipvs_kernel
from ansible_collections.homelab.loadbalancer.tests.integration.failover_lab import (
    DIRECTORS,
    INTERVAL,
    SERVICES,
    VIP,
    VIP2,
    VIP6,
    FailoverLab,
    service,
)
from ansible_collections.homelab.loadbalancer.tests.integration.namespaces import standing, wait_for


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[FailoverLab]:
    with standing(FailoverLab(tmp_path)) as made:
        yield made


@pytest.mark.parametrize("preempt", [False, True])
def test_vips_move_on_failover(lab: FailoverLab, preempt: bool, capsys: pytest.CaptureFixture[str]) -> None:
    lab.carry()
    lab.serve("director2", "director2", "tcp:9000")
    for director in DIRECTORS:
        # By which keepalived itself drops packets to VIPs, and has no IPv6: what is not ours stays, and does no harm.
        lab.config(director).write_text("global_defs {\n    vrrp_strict\n}\n")
    lab.start_both(preempt=preempt)
    lab.settle("director1", "director2")
    wait_for(lab.answered, "the VIPs answer")
    lab.run("client", "ping", "-c", "1", "-W", "5", VIP)
    assert lab.neighbour(VIP) == lab.mac("director1")
    with lab.connection("client", "192.168.10.2", 9000) as own:
        assert own.server == "director2"
        start = time.monotonic()
        lab.power_off("director1")
        wait_for(lab.answered, "the VIPs answer again")
        seconds = time.monotonic() - start
        with capsys.disabled():
            print(
                "\n    failover after %.1f s, %.1f advertisement intervals of %g s"
                % (seconds, seconds / INTERVAL, INTERVAL)
            )
        assert lab.held("director2") == {VIP, VIP6}
        assert lab.neighbour(VIP) == lab.mac("director2")
        # What the survivor carries goes on: when it takes over,
        assert own.says("still there?") == "director2 still there?"
        with lab.connection("client", VIP, 80) as through:
            assert through.server == "pod"
            lab.power_on("director1")
            wait_for(lambda: lab.log("director1").count("Entering BACKUP") >= 2, "director1 is back")
            if preempt:
                lab.settle("director1", "director2")
            else:
                assert lab.faults() == []
                lab.settle("director2", "director1")
                # and when the other one comes back.
                assert through.says("still there?") == "pod still there?"
            assert own.says("and now?") == "director2 and now?"
    wait_for(lab.answered, "the VIPs answer in the end")
    assert lab.faults() == []


def test_a_tracked_link_that_fails_moves_the_vips(lab: FailoverLab) -> None:
    lab.start_both(track_interfaces=["eth1"])
    lab.settle("director1", "director2")
    lab.run("director1", "ip", "link", "set", "eth1", "down")
    lab.settle("director2", "director1")


def test_reload_keeps_connections_and_roles(lab: FailoverLab) -> None:
    lab.carry()
    lab.start_both()
    wait_for(lab.answered, "the VIPs answer")
    with lab.connection("client", VIP, 80) as through:
        # Another VIP, to one director after the other, the standby first: neither may think that it is alone.
        for host in ("director2", "director1"):
            assert lab.configure(host, services=[*SERVICES, service(VIP2, "other")])["changed"]
            lab.reload(host)
            assert lab.faults() == []
        lab.settle("director1", "director2", frozenset({VIP, VIP2, VIP6}))
        assert through.says("still there?") == "pod still there?"
    assert "Entering MASTER" not in lab.log("director2")


def test_stopped_director_hands_over_the_vips(lab: FailoverLab) -> None:
    lab.start_both()
    process = lab.running.pop("director1")
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=60) == 0
    assert not lab.held("director1")
    lab.settle("director2", "director1")


def test_vips_on_both_directors_are_named(lab: FailoverLab) -> None:
    rule = ["INPUT", "-p", "112", "-j", "DROP"]
    for host in ("director1", "director2"):
        for command in ("iptables", "ip6tables"):
            lab.run(host, command, "-A", *rule)
    for host in ("director1", "director2"):
        lab.configure(host)
        lab.start(host)
    for host in ("director1", "director2"):
        wait_for(lambda host=host: lab.held(host) == {VIP, VIP6}, "both are masters")  # type: ignore[misc]
    found = lab.faults()
    assert len(found) == 2
    assert "split brain: 192.168.10.1 (director1) and 192.168.10.2 (director2)" in found[0]
    assert "IP protocol 112. Accept it on eth0" in found[0]
    assert "for IPv6 at once" in found[1]
    for host in ("director1", "director2"):
        for command in ("iptables", "ip6tables"):
            lab.run(host, command, "-D", *rule)
    lab.settle("director1", "director2")
    assert lab.faults() == []
    # An administrator has added the VIP to the standby.
    lab.run("director2", "ip", "address", "add", VIP + "/32", "dev", "eth0")
    assert "%s is on eth0 of this director" % VIP in "".join(lab.faults("director2"))


def test_unicast_where_there_is_no_multicast(lab: FailoverLab) -> None:
    for host in ("director1", "director2"):
        lab.run(host, "iptables", "-A", "INPUT", "-d", "224.0.0.18", "-j", "DROP")
        lab.run(host, "ip6tables", "-A", "INPUT", "-d", "ff02::12", "-j", "DROP")
    peers = ["192.168.10.1", "192.168.10.2", "fd00:10::1", "fd00:10::2"]
    lab.start_both(unicast_peers=peers)
    lab.settle("director1", "director2")
    assert lab.faults() == []
    lab.power_off("director1")
    lab.settle("director2", "director1")


def test_foreign_router_with_our_router_id_is_named(lab: FailoverLab) -> None:
    other = service("192.168.10.99")
    lab.configure("client", services=[other])
    lab.start("client")
    wait_for(lambda: lab.faults(running=False), "it advertises")
    (fault,) = lab.faults(running=False)
    assert fault.startswith("192.168.10.10 advertises vip_failover_router_id 51 on eth0, for 192.168.10.99")
    assert lab.faults(running=False, router_id=52) == []


# The configuration, without a keepalived that runs


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FailoverLab]:
    with standing(FailoverLab(tmp_path_factory.mktemp("network"))) as made:
        yield made


@pytest.fixture
def idle(network: FailoverLab, tmp_path: Path) -> FailoverLab:
    """Directors without a configuration."""
    network.folder = tmp_path
    return network


def test_check_mode_predicts_and_absent_restores(idle: FailoverLab) -> None:
    config = idle.config("director1")
    ours = config.with_name("homelab-loadbalancer.conf")
    text = "! an administrator's own\nglobal_defs {\n    router_id ME\n}\nvrrp_instance MINE {\n    interface eth1\n"
    text += "    virtual_router_id 51\n    virtual_ipaddress {\n        192.168.20.100\n    }\n}"  # and no newline
    for found in (None, text):
        if found is not None:
            config.write_text(found)
            config.chmod(0o640)
            os.chown(config, 1, 1)
        predicted = idle.configure("director1", check_mode=True)
        assert not ours.exists()
        real = idle.configure("director1")
        assert real == predicted
        assert (real["changed"], real["configured"], real["vips"]) == (True, True, [VIP, VIP6])
        assert real["files"] == [str(config), str(ours)]
        assert not idle.configure("director1")["changed"]
        assert config.read_text().endswith("\n" if found is None else "\n" + found)

        changed = idle.configure("director1", priority=42)
        assert changed["files"] == [str(ours)]
        assert "+    priority 42" in _added(changed["diff"][0])

        predicted = idle.configure("director1", check_mode=True, state="absent")
        assert idle.configure("director1", state="absent") == predicted
        assert not ours.exists()
        assert (config.read_text() if config.exists() else None) == found
        assert predicted["configured"] == (found is not None)
        assert not idle.configure("director1", state="absent")["changed"]
    was = config.stat()
    assert (was.st_mode & 0o777, was.st_uid, was.st_gid) == (0o640, 1, 1)


def _added(diff: dict[str, str]) -> list[str]:
    before = diff["before"].splitlines()
    return ["+" + line for line in diff["after"].splitlines() if line not in before]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "vrrp_instance MINE {\ninterface eth0\nvirtual_router_id 51\nvirtual_ipaddress {\n192.168.10.99\n}\n}\n",
            "both use VRID 51 with IPv4 on interface eth0",
        ),
        ("vrrp_instance MINE {\n    prioriti 1\n}\n", "keepalived.conf: Line 5) Unknown keyword 'prioriti'"),
        ("include mine.conf\n", "keepalived refuses the configuration, and nothing was changed"),
    ],
    ids=["same-number", "mistake", "include"],
)
@pytest.mark.parametrize("check_mode", [True, False])
def test_configuration_refused_by_keepalived_is_not_written(
    idle: FailoverLab, text: str, message: str, check_mode: bool
) -> None:
    config = idle.config("director1")
    config.write_text(text)
    config.with_name("mine.conf").write_text("vrrp_instance MINE {\n    interface eth9\n}\n")
    result = idle.configure("director1", check_mode)
    assert message in result["msg"].replace(str(config), "(keepalived.conf").replace("((", "("), result["msg"]
    assert config.read_text() == text
    assert not config.with_name("homelab-loadbalancer.conf").exists()


def test_a_wrong_interface_is_refused(idle: FailoverLab) -> None:
    said = idle.configure("director1", interface="eth9")["msg"]
    assert "interface eth9 does not exist: this node has eth0, eth1" in said
    said = idle.configure("director1", interface="eth1", services=SERVICES[:1])["msg"]
    assert "192.168.10.100 is in the network 192.168.10.0/24 of interface eth0, and not on eth1" in said
    assert not list(idle.config("director1").parent.iterdir())


def test_health_checks_need_ipvs(idle: FailoverLab) -> None:
    try:
        ipvs_kernel.require()
    except ipvs_kernel.NoIpvsError:
        refused = idle.configure("director1", health_check={"type": "tcp"})
        assert refused["failed"]
        assert " has no IPVS. It is in its module `ip_vs`" in refused["msg"]
    else:
        pytest.skip("this kernel has IPVS: tests/kernel tests it")


@pytest.mark.parametrize("interval", [0.01, 1.0, 40.0])
@pytest.mark.parametrize("kind", ["tcp", "http", "https"])
def test_keepalived_takes_every_kind_of_configuration(
    idle: FailoverLab, kind: str, interval: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ipvs_kernel, "require", lambda: None)
    services = [
        {**service(VIP, protocol), "protocol": protocol, "session_affinity": {"timeout": 60}}
        for protocol in ("tcp", "udp", "sctp")
    ]
    result = idle.configure(
        "director1",
        services=[*services, service(VIP6, "web6"), service(VIP2, "more")],
        health_check={"type": kind, "path": "/a?b=c%20d", "status": "200-299 404"},
        advert_interval=interval,
        track_interfaces=["eth1"],
        preempt=True,
        preempt_delay=10,
    )
    assert not result.get("failed"), result["msg"]
    assert idle.configure("director1", state="absent")["changed"]
