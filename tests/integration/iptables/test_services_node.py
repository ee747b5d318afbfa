# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What iptables_services leaves on a node, promises in check mode, and refuses."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.homelab.loadbalancer.tests.integration.namespaces import run_at_boot
from ansible_collections.homelab.loadbalancer.tests.integration.services_lab import (
    CLIENT,
    VIP,
    VIP2,
    VIP6,
    ServicesLab,
    endpoints,
)
from ansible_collections.homelab.loadbalancer.tests.unit.boot.systemd import standing_in

FAMILIES = {"ipv4": "iptables", "ipv6": "ip6tables"}
WEB: dict[str, Any] = {"name": "web", "address": VIP, "port": 80, "endpoints": endpoints(1)}
WEB6: dict[str, Any] = {**WEB, "name": "web6", "address": VIP6, "endpoints": endpoints(1, 2, family="ipv6")}
FULL: list[dict[str, Any]] = [
    {**WEB, "endpoints": endpoints(1, 2, 3), "node_port": 30080, "session_affinity": {"timeout": 60}},
    {**WEB, "name": "few", "port": 81, "source_ranges": ["192.168.10.0/28", CLIENT], "node_port": 30081},
    {**WEB, "name": "none", "address": VIP2, "endpoints": [], "protocol": "udp", "node_port": 30082},
    {**WEB6, "source_ranges": ["fd00:10::/64"], "node_port": 30080, "session_affinity": {"timeout": None}},
    {**WEB6, "name": "none6", "port": 81, "endpoints": [], "protocol": "sctp"},
]
MINIMAL = [
    WEB,
    {**WEB6, "endpoints": endpoints(2, family="ipv6")},
    {**WEB, "name": "none", "port": 81, "endpoints": []},
]
ISOLATE = [{"from": "eth0", "to": "eth1"}]
# As Docker, kube-proxy and firewalld leave them.
FOREIGN = """*raw
:PREROUTING ACCEPT
-A PREROUTING -i eth9 -j DROP
COMMIT
*mangle
:FORWARD ACCEPT
:KUBE-PROXY-CANARY -
-A FORWARD -p tcp -m tcp --tcp-flags SYN,RST SYN -j TCPMSS --clamp-mss-to-pmtu
COMMIT
*nat
:PREROUTING ACCEPT
:DOCKER -
:KUBE-SERVICES -
-A PREROUTING -m comment --comment "kubernetes service portals -j LB-SERVICES" -j KUBE-SERVICES
-A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER
-A DOCKER -i docker0 -j RETURN
COMMIT
*filter
:INPUT ACCEPT
:FORWARD DROP
:DOCKER-USER -
:FWD_public -
-A FORWARD -j DOCKER-USER
-A FORWARD -j FWD_public
-A DOCKER-USER -j RETURN
COMMIT
"""


def everything(net: ServicesLab, backend: str) -> str:
    """The rules of both families."""
    return "".join(net.saved(backend, family) for family in FAMILIES)


def foreign(saved: str) -> str:
    """Less what is ours: chains and the jumps to them."""
    lines = saved.splitlines(keepends=True)
    return "".join(line for line in lines if not line.startswith((":LB-", "-A LB-")) and " -j LB-" not in line[-60:])


@pytest.mark.parametrize(
    ("layout", "surroundings"),
    [("kube-proxy", FOREIGN), ("compact", FOREIGN), ("minimal", FOREIGN), ("auto", FOREIGN), ("auto", "")],
)
def test_services_lifecycle(net: ServicesLab, backend: str, layout: str, surroundings: str) -> None:
    """Check mode predicts to the letter, a second run changes nothing, absent leaves what was there."""
    for command in FAMILIES.values() if surroundings else ():
        net.run("router", "%s-%s-restore" % (command, backend), "--noflush", "--wait", "30", stdin=surroundings)
    before = everything(net, backend)
    first = MINIMAL if layout == "minimal" else FULL
    kept = {"layout": layout, "isolate": ISOLATE}
    states: list[dict[str, Any]] = [
        {"services": first, **kept},
        {"services": first[1:], **kept, "masquerade": False},
        {"services": [first[1]], "layout": layout, "pod_cidr": ["192.168.30.0/24"]},
        {"services": first, "state": "absent"},
    ]
    for options in states:
        at = everything(net, backend)
        predicted = net.module(backend, check_mode=True, **options)
        assert everything(net, backend) == at
        result = net.module(backend, **options)
        assert result == predicted
        assert result["changed"]
        assert result["backend"] == backend
        again = net.module(backend, **options)
        assert not again["changed"]
        assert not again["diff"]
        assert foreign(everything(net, backend)) == foreign(before) or not surroundings
    assert everything(net, backend) == before


def test_services_diff_equals_iptables_save(net: ServicesLab, backend: str) -> None:
    result = net.apply(backend, FULL)
    saved = net.saved(backend).splitlines()
    after = result["diff"][0]["after"].splitlines()
    assert [line for line in after if line.startswith("-A")]
    assert {line for line in after if line.startswith("-A")} <= set(saved)
    changed = net.apply(backend, [{**FULL[0], "endpoints": endpoints(1, 2)}, *FULL[1:]])
    assert changed["diff"][0]["before"] != changed["diff"][0]["after"]


# One of each kind; all others are in tests/unit/services and tests/unit/iptables.
BAD: list[tuple[dict[str, Any], str]] = [
    (
        {"services": [WEB, WEB6, {**WEB, "name": "x", "address": "10.0.0.300"}]},
        "lb_services[2].address 10.0.0.300 is not",
    ),
    (
        {"services": [WEB], "isolate": [*ISOLATE, {"from": "eth0", "to": "eth7"}]},
        "isolate[1].to eth7 is not an interface",
    ),
    (
        {"services": [{**WEB, "endpoints": endpoints(1, 2)}], "layout": "minimal"},
        "service web needs more than the minimal",
    ),
    ({"services": [WEB], "services_file": "/nonexistent"}, "/nonexistent"),
]


def test_bad_input_is_refused_before_the_node_is_touched(net: ServicesLab, backend: str) -> None:
    before = everything(net, backend)
    for options, message in BAD:
        for check_mode in (True, False):
            result = net.module(backend, check_mode=check_mode, **options)
            assert result["failed"]
            assert message in result["msg"]
    assert everything(net, backend) == before


def test_services_of_a_file_are_added(net: ServicesLab, backend: str, tmp_path: Path) -> None:
    file = tmp_path / "services.json"
    for content in ('{"name": "web"}', "[1,", "1"):
        file.write_text(content, encoding="ascii")
        result = net.module(backend, services=[WEB], services_file=str(file))
        assert result["failed"]
        assert "services" in result["msg"]
    file.write_text(json.dumps([{**WEB, "name": "filed", "port": 81, "endpoints": endpoints(2)}]), encoding="ascii")
    net.apply(backend, [WEB], services_file=str(file))
    found = [net.ask_once("client", VIP, port).server for port in (80, 81)]
    assert found == ["pod1", "pod2"]


def test_boot_restores_the_services(net: ServicesLab, backend: str, tmp_path: Path) -> None:
    boot = str(tmp_path / "ours")
    with standing_in(tmp_path) as systemd:
        net.apply(backend, FULL, boot_path=boot, isolate=ISOLATE)
        at = everything(net, backend)
        net.reset()
        for dummy in range(2):
            run_at_boot(systemd.starts(), net.inside("router"))
            assert everything(net, backend) == at
        assert not net.module(backend, services=FULL, boot_path=boot, isolate=ISOLATE)["changed"]
        net.module(backend, boot_path=boot, state="absent")
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_own_address_and_listening_port_are_refused(net: ServicesLab, backend: str) -> None:
    """Its own address, and a node port where a program listens; what is asked for by name is carried."""
    before = everything(net, backend)
    own = {**WEB, "address": "192.168.10.1", "port": 22}
    taken = {**WEB, "node_port": 30022}
    refusals = (
        (own, "lb_services[0].address 192.168.10.1 is the node's own on eth0"),
        (taken, "lb_services[0].node_port 30022 is where a program of the node listens"),
    )
    server = net.serve("router", "local", "tcp:30022")
    try:
        for entry, message in refusals:
            for check_mode in (True, False):
                said = net.module(backend, check_mode, services=[entry])
                assert said["failed"]
                assert said["msg"].startswith(message)
        assert everything(net, backend) == before
        asked_for = {"allow_own_addresses": ["192.168.10.1"], "allow_listening_ports": ["30022/tcp"]}
        services = [own, {**taken, "name": "two"}]
        assert net.apply(backend, services, **asked_for)["changed"]
        assert not net.apply(backend, services, **asked_for)["changed"]
        assert net.ask_once("client", "192.168.10.1", 22).server == "pod1"
        assert net.ask_once("client", "192.168.10.1", 30022).server == "pod1"
        # What is there already does not keep anybody from removing it.
        assert net.module(backend, state="absent", services=services)["changed"]
    finally:
        net.end(server)
