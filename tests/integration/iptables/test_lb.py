# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The role iptables_lb in the lab that users start from.

tools/demo-test runs the demonstration twice, in both labs, and removes them.
"""

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

from ansible_collections.homelab.loadbalancer.tests.integration.lab import Lab, changes, diff_of, refused_hosts
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
ABSENT = {"lb_state": "absent"}
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


@contextlib.contextmanager
def asked_all_the_time(lab: Lab, *addresses: str) -> Iterator[Callable[[], str]]:
    """Clients connect to addresses all the time, and the router has a server of its own; yields the answers."""
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


def router_addresses(lab: Lab) -> str:
    return lab.run("router", "ip", "-brief", "address", "show", "eth0")


def test_lifecycle(lab: Lab) -> None:
    lab.build()
    lab.run("router", "iptables-restore", "--noflush", stdin=FOREIGN)
    before = node_state(lab)

    predicted = lab.playbook("iptables_lb", "--check", "--diff")
    assert node_state(lab) == before
    real = lab.playbook("iptables_lb", "--diff")
    assert diff_of(predicted) == diff_of(real)
    assert "+    inet 192.168.10.100/32 metric 27746" in real
    assert changes(real) == changes(predicted) > 0
    # The policy of FORWARD is DROP, and the VIP works all the same.
    assert connect(lab, "http://" + lab.vip) == lab.text + "\n"
    assert changes(lab.playbook("iptables_lb")) == 0
    # A phase alone, and what it says of a node that is not as declared.
    lab.run("router", "iptables", "-t", "nat", "-D", "PREROUTING", "1")
    said = lab.playbook("iptables_lb", "--tags", "verify", rc=2)
    assert re.search(r"iptables-save \*nat: missing `-A PREROUTING .*-j LB-SERVICES`", said), said
    assert changes(lab.playbook("iptables_lb", "--tags", "configure")) > 0

    with asked_all_the_time(lab, lab.vip, "192.168.10.101") as answers:
        change_addresses(lab)
        predicted = lab.playbook("iptables_lb", "--check", "--diff", **ABSENT)
        real = lab.playbook("iptables_lb", "--diff", **ABSENT)
        assert lab.text in answers()
        # Clients of a VIP never reach the router's own server, although it is there.
        own = lab.run(lab.client, "curl", "-s", "--http0.9", "-m1", "http://192.168.10.1", check=False)
        assert "the-routers-own" in own
        assert "the-routers-own" not in answers()
    assert diff_of(predicted) == diff_of(real)
    assert node_state(lab) == before
    assert changes(lab.playbook("iptables_lb", **ABSENT)) == 0


def change_addresses(lab: Lab) -> None:
    """Another program takes over the VIP, as keepalived does; then the service moves to another VIP."""
    others = {"lb_manage_addresses": False}
    assert changes(lab.playbook("iptables_lb", **others)) == 1
    assert lab.vip not in router_addresses(lab)
    lab.run("router", "ip", "address", "add", lab.vip + "/32", "dev", "eth0")
    assert changes(lab.playbook("iptables_lb", **others)) == 0
    assert connect(lab, "http://" + lab.vip) == lab.text + "\n"
    lab.run("router", "ip", "address", "del", lab.vip + "/32", "dev", "eth0")

    lab.playbook("iptables_lb", lb_services=[{**WEB, "address": "192.168.10.101"}])
    assert "192.168.10.101/32" in router_addresses(lab)
    assert lab.vip + "/32" not in router_addresses(lab)
    assert connect(lab, "http://192.168.10.101") == lab.text + "\n"
    assert connect(lab, "http://" + lab.vip) == ""


def test_the_workshops_own_rules_by_options_given_as_texts(lab: Lab, tmp_path: Path) -> None:
    lab.build()
    values = {
        "iptables_lb_layout": "minimal",
        "lb_manage_addresses": "false",
        "lb_persist": "no",
        "lb_persist_path": str(tmp_path / "kept"),
        "lb_verify": "off",
        "iptables_lb_wait": "5",
    }
    given = [option for name, value in values.items() for option in ("-e", "%s=%s" % (name, value))]
    said = lab.playbook("iptables_lb", *given)
    rules = [line for line in lab.run("router", "iptables-save").splitlines() if line.startswith("-A LB-")]
    assert sorted(rules) == [
        "-A LB-FORWARD -i eth0 -o eth1 -m conntrack ! --ctstate RELATED,ESTABLISHED,DNAT -j DROP",
        "-A LB-POSTROUTING -d 192.168.20.20/32 -p tcp -m tcp --dport 80 -j MASQUERADE",
        "-A LB-PREROUTING -d 192.168.10.100/32 -p tcp -m tcp --dport 80 -j DNAT --to-destination 192.168.20.20:80",
    ]
    assert lab.vip not in router_addresses(lab)
    assert not (tmp_path / "kept").exists()
    assert "Read everything back" not in said
    lab.run("router", "ip", "address", "add", lab.vip + "/32", "dev", "eth0")
    assert connect(lab, "http://" + lab.vip) == lab.text + "\n"
    assert ping_lost(lab)


def test_bad_input_changes_nothing(lab: Lab, tmp_path: Path) -> None:
    lab.build()
    before = node_state(lab)
    declared = lab.variables("host_vars/router")
    mistyped = {"address": "192.168.20.20", "prt": 80}
    mistakes: list[tuple[dict[str, Any], str]] = [
        ({**declared, "lb_interface": "eth9"}, "lb_interface eth9 does not exist"),
        (
            {**declared, "lb_services": [WEB, {**WEB, "name": "other"}]},
            "lb_services[1] declares 192.168.10.100 port 80/tcp, which lb_services[0] (web)",
        ),
        ({**declared, "lb_services": [{**WEB, "endpoints": [mistyped]}]}, "endpoints[0].prt is not"),
        # The client has it.
        ({**declared, "lb_services": [{**WEB, "address": "192.168.10.10"}]}, "192.168.10.10"),
        (
            {**declared, "lb_isolate": [{"from": "eth0", "to": "eth7"}]},
            "lb_isolate[0].to eth7 is not an interface",
        ),
        ({**declared, "iptables_lb_layout": "minmal"}, "minmal"),
        ({"lb_interface": "eth0"}, "lb_services is undefined or null: declare the"),
        (
            {**declared, "lb_service": [WEB]},
            "lb_service is not a variable of the role iptables_lb: did you mean lb_services?",
        ),
        (
            {**declared, "lb_persist": True},
            "lb_persist: this host is the network namespace %s-router" % lab.name,
        ),
    ]
    cases = {"case%d" % number: variables for number, (variables, dummy) in enumerate(mistakes)}
    said = refused_hosts(lab.playbook("iptables_lb", *lab.several_routers(tmp_path / "cases.yml", cases), rc=2))
    assert node_state(lab) == before
    for host, (dummy, message) in zip(cases, mistakes):
        assert message in said[host]
