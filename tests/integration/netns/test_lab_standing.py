# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A lab that netns_lab has built: it answers, is repaired, and changes as its declaration does."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from typing import Any, Callable, Iterator

import pytest

from ansible_collections.homelab.loadbalancer.plugins.module_utils._common.command import run
from ansible_collections.homelab.loadbalancer.tests.integration.namespaces import wait_for
from ansible_collections.homelab.loadbalancer.tests.integration.netns.labs import POD, POD6, Lab, fresh_lab


@pytest.fixture
def built() -> Iterator[Lab]:
    with fresh_lab() as lab:
        assert lab.quick()["changed"]
        yield lab


def drop_namespace(lab: Lab, *hosts: str) -> None:
    for host in hosts:
        run(["ip", "netns", "del", lab.namespace(host)])


def replace_link(lab: Lab) -> None:
    lab.ip("a", "link", "del", "eth0")
    lab.ip("a", "link", "add", "eth0", "type", "bridge")


def replace_route(lab: Lab) -> None:
    lab.ip("a", "route", "replace", "default", "via", "192.168.10.77")
    lab.ip("a", "route", "add", "10.0.0.0/8", "via", "192.168.10.77", "proto", "static")


def secondary_first(lab: Lab) -> None:
    """The declared address becomes a secondary one, which the kernel deletes together with the primary."""
    lab.ip("a", "addr", "del", "192.168.10.10/24", "dev", "eth0")
    lab.ip("a", "addr", "add", "192.168.10.99/24", "dev", "eth0")
    lab.ip("a", "addr", "add", "192.168.10.10/24", "dev", "eth0")


def kill_servers(lab: Lab) -> None:
    for pid in lab.server_pids():
        os.kill(pid, signal.SIGKILL)
    wait_for(lambda: not lab.server_pids(), "the servers' end")


DRIFT: dict[str, Callable[[Lab], Any]] = {
    "an IPv4 address deleted": lambda lab: lab.ip("a", "addr", "del", "192.168.10.10/24", "dev", "eth0"),
    "an IPv6 address deleted": lambda lab: lab.ip("b", "addr", "del", POD6 + "/64", "dev", "eth0"),
    "all addresses deleted": lambda lab: lab.ip("router", "addr", "flush", "dev", "eth1"),
    "an address added": lambda lab: lab.ip("a", "addr", "add", "192.168.10.99/24", "dev", "eth0"),
    "the declared address secondary to another": secondary_first,
    "a link down": lambda lab: lab.ip("a", "link", "set", "eth0", "down"),
    "loopback down": lambda lab: lab.ip("b", "link", "set", "lo", "down"),
    "a link deleted": lambda lab: lab.ip("router", "link", "del", "eth1"),
    "a link replaced by another kind": replace_link,
    "link-local addresses deleted": lambda lab: lab.ip("router", "addr", "flush", "dev", "eth1", "scope", "link"),
    "another MTU": lambda lab: lab.ip("b", "link", "set", "eth0", "mtu", "1400"),
    "a port down": lambda lab: lab.ip("switch", "link", "set", "b.eth0", "down"),
    "a port unplugged": lambda lab: lab.ip("switch", "link", "set", "b.eth0", "nomaster"),
    "a port in the wrong VLAN": lambda lab: lab.ip("switch", "link", "set", "b.eth0", "master", "vlan10"),
    "a bridge down": lambda lab: lab.ip("switch", "link", "set", "vlan10", "down"),
    "a bridge deleted": lambda lab: lab.ip("switch", "link", "del", "vlan10"),
    "the default route deleted": lambda lab: lab.ip("a", "route", "del", "default"),
    "another default route": replace_route,
    "forwarding off": lambda lab: lab.run("router", "sysctl", "-w", "net.ipv4.ip_forward=0"),
    "servers killed": kill_servers,
    "a host deleted": lambda lab: drop_namespace(lab, "a"),
    "the pod deleted under its server": lambda lab: drop_namespace(lab, "b"),
    "the switch deleted": lambda lab: drop_namespace(lab, "switch"),
    "all deleted": lambda lab: drop_namespace(lab, "a", "b", "router", "switch"),
}


@pytest.fixture(scope="module")
def shared() -> Iterator[Lab]:
    with fresh_lab() as lab:
        assert lab.quick()["changed"]
        yield lab


@pytest.fixture
def repaired(shared: Lab) -> Lab:
    """One lab for all drifts, as each test repairs it. No host knows the others' hardware addresses yet."""
    for host in ("a", "router", "b"):
        shared.ip(host, "neighbor", "flush", "all")
    return shared


@pytest.mark.parametrize("drift", DRIFT.values(), ids=DRIFT)
def test_drift_is_repaired(repaired: Lab, drift: Callable[[Lab], Any]) -> None:
    drift(repaired)
    done = repaired.quick()
    assert done["changed"]
    assert done["diff"]["before"] != done["diff"]["after"]
    assert not repaired.quick()["changed"]
    repaired.works()
    assert len(repaired.server_pids()) == 2


@pytest.mark.parametrize("name", ["an address added", "a port in the wrong VLAN", "servers killed"])
def test_check_mode_predicts_a_repair_exactly(built: Lab, name: str) -> None:
    DRIFT[name](built)
    assert built.apply()["changed"]


def test_foreign_addresses_links_and_rules_in_the_lab_are_kept(built: Lab) -> None:
    built.ip("router", "addr", "add", "192.168.10.100/32", "dev", "eth0")
    built.ip("router", "addr", "add", "fd00:10::100/128", "dev", "eth0", "nodad")
    built.ip("router", "link", "add", "br7", "type", "bridge")
    built.ip("router", "route", "add", "10.7.0.0/16", "via", "192.168.10.7")
    built.run("router", "iptables", "-A", "FORWARD", "-d", "192.0.2.1", "-j", "DROP")
    own = [built.ip("router", "-o", what) for what in ("addr", "route")] + [built.run("router", "iptables-save").out]
    assert not built.apply()["changed"]
    built.hosts[1]["links"][1]["addresses"].append("192.168.20.2/24")
    assert built.apply()["changed"]
    now = [built.ip("router", "-o", what) for what in ("addr", "route")] + [built.run("router", "iptables-save").out]
    assert "192.168.10.100/32" in own[0]
    assert [line for line in now[0].splitlines() if "192.168.20.2/24" not in line] == own[0].splitlines()
    assert now[1] == own[1]
    assert "-A FORWARD -d 192.0.2.1/32 -j DROP" in now[2]


def test_declaration_changes(built: Lab) -> None:
    built.hosts.append(
        {
            "name": "a-second-pod-with-a-long-name",
            "links": [{"name": "eth0", "vlan": 20, "addresses": ["192.168.20.21/24"], "mtu": 9000}],
            "gateways": ["192.168.20.1"],
        }
    )
    built.servers.append({"host": "a-second-pod-with-a-long-name", "text": "Hello from the second"})
    built.servers[0]["text"] = "Hello again"
    assert built.apply()["changed"]
    assert (built.curl(), built.curl("192.168.20.21")) == ("Hello again\n", "Hello from the second\n")
    built.hosts[0]["links"][0]["addresses"] = ["192.168.10.11/24"]
    built.hosts[0]["gateways"] = ["192.168.10.1"]
    del built.hosts[-1], built.servers[-1], built.servers[1]
    assert built.apply()["changed"]
    assert "a-second" not in " ".join(built.namespaces())
    assert "192.168.10.10/" not in built.ip("a", "addr")
    assert built.curl() == "Hello again\n"
    assert len(built.server_pids()) == 1
    # The link itself goes, and its VLAN with it.
    del built.hosts[1]["links"][1]
    assert built.apply()["changed"]
    assert "eth1" not in built.ip("router", "link")


def test_http_answer_names_the_client(built: Lab) -> None:
    for address, client in ((POD, "192.168.10.10"), ("[%s]" % POD6, "fd00:10::10")):
        shown = built.run("a", "curl", "-si", "--max-time", "5", "http://%s/any/path" % address).out
        assert shown.startswith("HTTP/1.1 200 OK")
        assert "X-Client-Address: %s\n" % client in shown.replace("\r", "")
    # One connection, several requests.
    urls = ["http://%s/%d" % (POD, number) for number in range(5)]
    shown = built.run("a", "curl", "-s", "-w", "%{num_connects}\n", *urls).out
    assert shown == "Hello from Pod B\n1\n" + "Hello from Pod B\n0\n" * 4


def test_udp_answer(built: Lab) -> None:
    ask = "import socket; s = socket.create_connection; c = socket.socket({0}, 2); c.settimeout(10)\n"
    ask += "c.connect(({1!r}, 53)); c.send(b'?'); print(ascii(c.recv(99).decode()))"
    for family, address in (("socket.AF_INET", POD), ("socket.AF_INET6", POD6)):
        shown = built.run("a", sys.executable, "-c", ask.format(family, address)).out
        assert shown == ascii("今日は\n") + "\n"


def test_two_labs_side_by_side(built: Lab) -> None:
    other = Lab()
    # Its namespaces' names begin with those of the first one.
    other.name = built.name + "-b"
    other.servers[0]["text"] = "Hello from the other"
    try:
        other.apply()
        built.works()
        assert other.curl() == "Hello from the other\n"
        built.apply("absent")
        assert other.curl() == "Hello from the other\n"
        assert not other.quick()["changed"]
    finally:
        other.quick("absent")
    assert built.namespaces() == []


def test_server_port_in_use_is_refused(built: Lab) -> None:
    code = "import socket; s = socket.create_server(('', 81)); print('listens', flush=True); s.accept()"
    taken = subprocess.Popen(
        ["ip", "netns", "exec", built.namespace("b"), sys.executable, "-c", code], stdout=subprocess.PIPE, text=True
    )
    with taken:
        assert taken.stdout is not None
        assert taken.stdout.readline() == "listens\n"
        built.servers.append({"host": "b", "port": 81, "text": "x"})
        assert built.module()["msg"] == (
            "the server in network namespace %s did not start: cannot listen on http port 81: Address already in use"
            % built.namespace("b")
        )
        taken.kill()
    assert built.apply()["changed"]


def test_lab_can_be_removed_from_inside_a_namespace(built: Lab) -> None:
    inside = ["ip", "netns", "exec", built.namespace("a"), "sh", "-c", '"$@"; exit', "sh", *built.command()]
    assert built.module("absent", command=inside)["changed"]
    assert built.namespaces() == []
