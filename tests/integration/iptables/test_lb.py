# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The role iptables_lb and the demonstration, in the labs that users start from."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, Callable, Iterator

import pytest

from ansible_collections.homelab.loadbalancer.tests.integration.lab import Lab, changes, diff_of
from ansible_collections.homelab.loadbalancer.tests.integration.services_lab import TRAFFIC

FOREIGN = """*nat
:DOCKER - [0:0]
-A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER
-A POSTROUTING -s 172.17.0.0/16 ! -o docker0 -j MASQUERADE
COMMIT
*filter
:FORWARD DROP [0:0]
:DOCKER-USER - [0:0]
-A FORWARD -j DOCKER-USER
-A DOCKER-USER -j RETURN
COMMIT
"""
WEB = {"name": "web", "address": "192.168.10.100", "port": 80, "endpoints": [{"address": "192.168.20.20"}]}


def node_state(lab: Lab) -> str:
    """Rules of both families without their counters, addresses, and forwarding."""
    rules = [lab.run("router", command) for command in ("iptables-save", "ip6tables-save")]
    text = re.sub(r"\[\d+:\d+\]|^#.*\n", "", "".join(rules), flags=re.MULTILINE)
    addresses = lab.run("router", "ip", "-brief", "address")
    return text + addresses + lab.run("router", "sysctl", "net.ipv4.ip_forward", "net.ipv6.conf.all.forwarding")


def connect(lab: Lab, url: str) -> str:
    return lab.run(lab.client, "curl", "--silent", "--max-time", "2", url, check=False)


def ping_lost(lab: Lab) -> bool:
    argv = ("ping", "-c", "2", "-i", "0.2", "-W", "1", lab.pod_address)
    return "100% packet loss" in lab.run(lab.client, *argv, check=False)


def test_the_demonstration(lab: Lab) -> None:
    first = lab.playbook("demo")
    assert lab.text in first
    assert "blocked: 100% packet loss" in first
    assert changes(first) > 0
    assert connect(lab, "http://" + lab.vip) == lab.text + "\n"
    assert ping_lost(lab)
    second = lab.playbook("demo")
    assert changes(second) == 0


@pytest.mark.parametrize("lab", ["lab"], indirect=True)
def test_check_mode_predicts_and_absent_restores(lab: Lab) -> None:
    lab.playbook("lab")
    lab.run("router", "iptables-restore", "--noflush", stdin=FOREIGN)
    before = node_state(lab)

    predicted = lab.playbook("iptables_lb", "--check", "--diff")
    assert node_state(lab) == before
    real = lab.playbook("iptables_lb", "--diff")
    assert diff_of(predicted) == diff_of(real)
    assert changes(real) == changes(predicted) > 0
    # The policy of FORWARD is DROP, and the VIP works all the same.
    assert connect(lab, "http://" + lab.vip) == lab.text + "\n"
    assert changes(lab.playbook("iptables_lb")) == 0
    assert changes(lab.playbook("iptables_lb", "--check")) == 0
    # A phase alone, and what it says of a node that is not as declared.
    lab.run("router", "iptables", "-t", "nat", "-D", "PREROUTING", "1")
    said = lab.playbook("iptables_lb", "--tags", "verify", rc=2)
    assert re.search(r"iptables-save \*nat: missing `-A PREROUTING .*-j LB-SERVICES`", said), said
    assert changes(lab.playbook("iptables_lb", "--tags", "configure")) > 0

    absent = {"iptables_lb_state": "absent"}
    predicted = lab.playbook("iptables_lb", "--check", "--diff", **absent)
    real = lab.playbook("iptables_lb", "--diff", **absent)
    assert diff_of(predicted) == diff_of(real)
    assert node_state(lab) == before
    assert changes(lab.playbook("iptables_lb", **absent)) == 0


@pytest.mark.parametrize("lab", ["lab"], indirect=True)
def test_the_workshops_own_rules(lab: Lab) -> None:
    lab.playbook("lab")
    lab.playbook("iptables_lb", iptables_lb_layout="minimal")
    rules = [line for line in lab.run("router", "iptables-save").splitlines() if line.startswith("-A LB-")]
    assert sorted(rules) == [
        "-A LB-FORWARD -i eth0 -o eth1 -m conntrack ! --ctstate RELATED,ESTABLISHED,DNAT -j DROP",
        "-A LB-POSTROUTING -d 192.168.20.20/32 -p tcp -m tcp --dport 80 -j MASQUERADE",
        "-A LB-PREROUTING -d 192.168.10.100/32 -p tcp -m tcp --dport 80 -j DNAT --to-destination 192.168.20.20:80",
    ]
    assert connect(lab, "http://" + lab.vip) == lab.text + "\n"
    assert ping_lost(lab)


@contextlib.contextmanager
def asked_all_the_time(lab: Lab, *addresses: str) -> Iterator[Callable[[], str]]:
    """Clients that connect to addresses all the time, beside a server of the router's own; what they are told."""
    inside = ["ip", "netns", "exec"]
    serve = [sys.executable, "-I", str(TRAFFIC), "serve", "the-routers-own", "tcp:80"]
    # Every page of a number is asked for in a new connection.
    ask = ["curl", "-sN", "--http0.9", "-m1", "--connect-timeout", "0.2", "-H", "Connection: close"]
    with contextlib.ExitStack() as stack:
        heard = stack.enter_context(tempfile.TemporaryFile())
        router = [*inside, lab.name + "-router", *serve]
        server = subprocess.Popen(router, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        stack.callback(server.communicate)
        for address in addresses:
            loop = ["sh", "-c", 'while :; do "$@"; done', "sh", *ask, "http://%s/[1-100]" % address]
            client = subprocess.Popen(
                [*inside, "%s-%s" % (lab.name, lab.client), *loop], stdout=heard, start_new_session=True
            )
            stack.callback(client.wait)
            stack.callback(os.killpg, client.pid, signal.SIGKILL)

        def told() -> str:
            return os.pread(heard.fileno(), 1 << 30, 0).decode()

        yield told


@pytest.mark.parametrize("lab", ["lab"], indirect=True)
def test_an_address_moves_with_its_declaration(lab: Lab) -> None:
    """Nobody who connects to it all the time ever meets the router's own server, also when all of it goes."""
    lab.playbook("lab")
    with asked_all_the_time(lab, lab.vip, "192.168.10.101") as told:
        lab.playbook("iptables_lb")
        assert lab.text in told()
        lab.playbook("iptables_lb", lb_services=[{**WEB, "address": "192.168.10.101"}])
        addresses = lab.run("router", "ip", "-brief", "address", "show", "eth0")
        assert "192.168.10.101/32" in addresses
        assert "192.168.10.100/32" not in addresses
        assert connect(lab, "http://192.168.10.101") == lab.text + "\n"
        assert connect(lab, "http://192.168.10.100") == ""
        lab.playbook("iptables_lb", iptables_lb_state="absent")
        assert "the-routers-own" in lab.run(
            lab.client, "curl", "-s", "--http0.9", "-m1", "http://192.168.10.1", check=False
        )
        assert "the-routers-own" not in told()


@pytest.mark.parametrize("lab", ["lab"], indirect=True)
def test_addresses_that_others_bring(lab: Lab) -> None:
    lab.playbook("lab")
    lab.playbook("iptables_lb")
    assert connect(lab, "http://" + lab.vip) == lab.text + "\n"
    others = {"lb_manage_addresses": False}
    assert changes(lab.playbook("iptables_lb", **others)) == 1
    assert lab.vip not in lab.run("router", "ip", "-brief", "address")
    # As keepalived does: it stays, and the rules serve it.
    lab.run("router", "ip", "address", "add", lab.vip + "/32", "dev", "eth0")
    assert changes(lab.playbook("iptables_lb", **others)) == 0
    assert connect(lab, "http://" + lab.vip) == lab.text + "\n"
    lab.playbook("iptables_lb", iptables_lb_state="absent", **others)
    assert lab.vip in lab.run("router", "ip", "-brief", "address")


@pytest.mark.parametrize("lab", ["lab"], indirect=True)
def test_switches_given_as_texts(lab: Lab, tmp_path: Path) -> None:
    lab.playbook("lab")
    values = {
        "lb_manage_addresses": "false",
        "iptables_lb_persist": "no",
        "iptables_lb_persist_path": str(tmp_path / "kept"),
        "iptables_lb_verify": "off",
        "iptables_lb_wait": "5",
    }
    given = [option for name, value in values.items() for option in ("-e", "%s=%s" % (name, value))]
    said = lab.playbook("iptables_lb", *given)
    assert "-A LB-" in lab.run("router", "iptables-save")
    assert lab.vip not in lab.run("router", "ip", "-brief", "address")
    assert not (tmp_path / "kept").exists()
    assert "Read the rules back" not in said


@pytest.mark.parametrize("lab", ["lab"], indirect=True)
def test_bad_input_changes_nothing(lab: Lab) -> None:
    lab.playbook("lab")
    before = node_state(lab)
    other = {**WEB, "name": "other"}
    mistakes: list[tuple[dict[str, Any], str]] = [
        ({"lb_interface": "eth9"}, "lb_interface eth9 does not exist"),
        (
            {"lb_services": [WEB, other]},
            "lb_services[1] declares 192.168.10.100 port 80/tcp, which lb_services[0] (web)",
        ),
        ({"lb_services": [{**WEB, "endpoints": [{"address": "192.168.20.20", "prt": 80}]}]}, "endpoints[0].prt is not"),
        ({"lb_services": [{**WEB, "address": "192.168.10.10"}]}, "192.168.10.10"),  # the client has it
        (
            {"iptables_lb_isolate": [{"from": "eth0", "to": "eth7"}]},
            "iptables_lb_isolate[0].to eth7 is not an interface",
        ),
        ({"iptables_lb_layout": "minmal"}, "minmal"),
        ({"lb_hosts": lab.client, "lb_interface": "eth0"}, "lb_services is not defined, or null: declare the"),
        ({"lb_service": [WEB]}, "lb_service is not a variable of the role iptables_lb: did you mean lb_services?"),
        (
            {"iptables_lb_persist": True},
            "iptables_lb_persist is true, but this host is the network namespace %s-router",
        ),
    ]
    for variables, message in mistakes:
        said = lab.playbook("iptables_lb", rc=2, **variables)
        assert message.replace("%s", lab.name) in re.sub(r"\s+", " ", said), said
        assert node_state(lab) == before, variables
