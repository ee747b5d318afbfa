# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The role nftables_lb in the lab that users start from, and going from iptables_lb to it and back."""

from __future__ import annotations

import contextlib
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Iterator

from ansible_collections.homelab.loadbalancer.tests.integration.lab import Lab, changes, diff_of
from ansible_collections.homelab.loadbalancer.tests.integration.services_lab import TRAFFIC

FOREIGN = """
table inet site {
    chain input {
        type filter hook input priority filter; policy accept;
        tcp dport 9 drop
    }
}
table ip LB { }
"""
ABSENT = {"lb_state": "absent"}


def node_state(lab: Lab) -> str:
    """The ruleset without counters, the addresses, and forwarding."""
    rules = re.sub(r"packets \d+ bytes \d+", "", lab.run("router", "nft", "list", "ruleset"))
    addresses = lab.run("router", "ip", "-brief", "address")
    return rules + addresses + lab.run("router", "sysctl", "net.ipv4.ip_forward")


def page(lab: Lab) -> str:
    return lab.run(lab.client, "curl", "--silent", "--max-time", "2", "http://" + lab.vip, check=False)


def test_lifecycle(lab: Lab, tmp_path: Path) -> None:
    lab.build()
    lab.run("router", "nft", "-f", "-", stdin=FOREIGN)
    before = node_state(lab)

    predicted = lab.playbook("nftables_lb", "--check", "--diff")
    assert node_state(lab) == before
    real = lab.playbook("nftables_lb", "--diff")
    assert diff_of(predicted) == diff_of(real)
    assert "+    inet 192.168.10.100/32 metric 27746" in real
    assert changes(real) == changes(predicted) > 0
    assert page(lab) == lab.text + "\n"
    assert "100% packet loss" in lab.run(lab.client, "ping", "-c1", "-W0.5", lab.pod_address, check=False)
    assert changes(lab.playbook("nftables_lb")) == 0
    # A phase alone, and what it says of a node that is not as declared.
    lab.run("router", "nft", "flush", "chain", "inet", "LB", "nat-prerouting")
    said = lab.playbook("nftables_lb", "--tags", "verify", rc=2)
    assert re.search(r"nft -s list table inet LB: missing `jump services`", said), said
    assert changes(lab.playbook("nftables_lb", "--tags", "configure")) > 0
    assert page(lab) == lab.text + "\n"

    # The same services from a file on the node.
    file = tmp_path / "services.json"
    file.write_text(json.dumps(lab.variables("host_vars/router")["lb_services"]), encoding="ascii")
    assert changes(lab.playbook("nftables_lb", lb_services=[], lb_services_file=str(file))) == 0

    predicted = lab.playbook("nftables_lb", "--check", "--diff", **ABSENT)
    real = lab.playbook("nftables_lb", "--diff", **ABSENT)
    assert diff_of(predicted) == diff_of(real)
    assert node_state(lab) == before
    assert changes(lab.playbook("nftables_lb", **ABSENT)) == 0


@contextlib.contextmanager
def traffic(lab: Lab, host: str, *words: str) -> Iterator[subprocess.Popen[str]]:
    """A client or server, which ends with its standard input."""
    argv = ["ip", "netns", "exec", "%s-%s" % (lab.name, host), sys.executable, "-I", str(TRAFFIC), *words]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() != ""
        yield process


def says(process: subprocess.Popen[str], text: str) -> str:
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(text + "\n")
    process.stdin.flush()
    return process.stdout.readline()


def test_from_iptables_to_nftables_and_back(lab: Lab) -> None:
    """New connections succeed all the time, and an open one goes on."""
    lab.build()
    web = {"name": "web", "address": lab.vip, "port": 80, "endpoints": [{"address": lab.pod_address, "port": 8080}]}
    declared = {"lb_services": [web]}
    lab.playbook("iptables_lb", **declared)
    with contextlib.ExitStack() as stack:
        stack.enter_context(traffic(lab, lab.pod, "serve", "pod", "tcp:8080"))
        connection = stack.enter_context(traffic(lab, lab.client, "hold", lab.vip, "80"))
        stream = stack.enter_context(traffic(lab, lab.client, "stream", lab.vip, "80"))
        lab.playbook("nftables_lb", **declared)
        assert "LB-" not in lab.run("router", "iptables-save")
        assert changes(lab.playbook("nftables_lb", **declared)) == 0
        assert says(connection, "one") == "pod one\n"
        lab.playbook("iptables_lb", **declared)
        assert "inet LB" not in lab.run("router", "nft", "list", "tables")
        assert changes(lab.playbook("iptables_lb", **declared)) == 0
        assert says(connection, "two") == "pod two\n"
        counts = json.loads(stream.communicate(timeout=60)[0])
    assert set(counts) == {"pod"}
    assert counts["pod"] > 100
