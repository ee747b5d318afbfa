# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The role ipvs_lb on a node with a kernel of its own, as the playbooks use it."""

from __future__ import annotations

import re
from typing import Iterator

import pytest

from ansible_collections.homelab.loadbalancer.plugins.module_utils._common.command import run
from ansible_collections.homelab.loadbalancer.tests.integration.lab import ENVIRONMENT, changes, diff_of
from ansible_collections.homelab.loadbalancer.tests.nodes.nodes_lab import NodesLab

VIP = "10.254.10.128"
CURL = "curl --silent --show-error --max-time 10 --header 'Connection: close' "
# What others have on the director, kube-proxy among them.
FOREIGN = (
    "ip address add 10.254.99.9/32 dev lo && modprobe ip_vs && ipvsadm -A -t 10.254.99.9:80 -s rr && "
    "ipvsadm -a -t 10.254.99.9:80 -r 192.168.20.22:8080 -m && "
    "ipset create KUBE-CLUSTER-IP hash:ip,port && ipset add KUBE-CLUSTER-IP 10.254.99.9,tcp:80 && "
    "iptables -t nat -N KUBE-SERVICES && iptables -t nat -A KUBE-SERVICES -m set --match-set KUBE-CLUSTER-IP dst,dst "
    "-j ACCEPT && iptables -t nat -I PREROUTING -j KUBE-SERVICES && iptables -A FORWARD -s 203.0.113.0/24 -j DROP"
)
NO_FOREIGN = (
    "ip address del 10.254.99.9/32 dev lo; ipvsadm -C; iptables -t nat -F; iptables -t nat -X; iptables -F; "
    "ipset destroy"
)


@pytest.fixture
def director(nodes: NodesLab) -> Iterator[NodesLab]:
    """The lab, whose director carries something of others, and nothing else before and after."""
    nodes.ssh("director", FOREIGN)
    before = listing(nodes)
    try:
        yield nodes
        done = nodes.playbook("ipvs_lb", ipvs_lb_state="absent")
        assert changes(done) > 0
        assert listing(nodes) == before
        assert changes(nodes.playbook("ipvs_lb", ipvs_lb_state="absent")) == 0
    finally:
        nodes.ssh("director", NO_FOREIGN)


def listing(nodes: NodesLab) -> str:
    """All that the director's tools list, without what changes by itself."""
    commands = (
        "ip -o address | grep -v ' mgmt '",
        "PATH=$PATH:/usr/sbin; ipset save || ipset.away save",
        "iptables-save",
        "ip6tables-save",
        "ipvsadm -Sn",
        "ls /etc/systemd/system /etc/modules-load.d",
        "test ! -d /etc/homelab-loadbalancer || sha256sum /etc/homelab-loadbalancer/*",
    )
    found = nodes.ssh("director", "; ".join(commands))
    # Empty tables stay listed once they have been used.
    found = re.sub(r"^#.*\n|^[*:](?!LB-|KUBE-).*\n|^COMMIT\n", "", found, flags=re.MULTILINE)
    return re.sub(r" \[\d+:\d+\]| initval \S+| valid_lft \S+| preferred_lft \S+", "", found)


def answers(nodes: NodesLab, host: str, url: str = "http://%s/" % VIP, options: str = "") -> list[str]:
    """Who answers to four connections from a host, one after the other."""
    return nodes.ssh(host, "%s%s '%s?[1-4]'" % (CURL, options, url)).split()


def alternates(names: list[str]) -> bool:
    return set(names[:2]) == {"real1", "real2"} and names[:2] == names[2:]


def test_from_everywhere(director: NodesLab) -> None:
    """Check mode predicts the run and a second run changes nothing; connections alternate, wherever they come from.

    Servers see the director as the client of hosts outside, and pods as they are, but for themselves.
    """
    before = listing(director)
    predicted = director.playbook("ipvs_lb", "--check", "--diff")
    assert listing(director) == before
    done = director.playbook("ipvs_lb", "--diff")
    # The temporary file that a template comes from has another name each time.
    shown = [[line for line in diff_of(text) if "/tmp" not in line] for text in (predicted, done)]
    assert shown[0] == shown[1]
    assert changes(predicted) > 0
    assert changes(done) == changes(predicted) + 1  # the boot units are enabled, which check mode cannot know
    assert changes(director.playbook("ipvs_lb")) == 0
    for host in ("client", "director", "real1", "real2"):
        assert alternates(answers(director, host)), host
    assert "dummy" in director.ssh("director", "ip -d link show lb-ipvs0")
    assert director.ssh("client", CURL + "http://10.254.99.9/") == "real2\n", "what others carry goes on"
    found = director.ssh("client", CURL + "--include http://%s/" % VIP)
    assert "X-Client-Address: 192.168.20.1\n" in found
    seen = director.ssh("real1", CURL + "--include --interface 10.244.1.3 'http://%s/?[1-4]'" % VIP)
    by_address = dict(re.findall(r"X-Client-Address: (\S+)\n(?:\S+: .*\n)*\n(real\d)", seen))
    assert by_address == {"192.168.20.1": "real1", "10.244.1.3": "real2"}


def test_strict_arp(director: NodesLab) -> None:
    """A VIP of the clients' own network is answered for on their link, unless the node is strict."""
    services = [
        {
            "name": "near",
            "address": "192.168.10.100",
            "port": 80,
            "endpoints": [{"address": "10.244.1.3", "port": 8080}, {"address": "10.244.2.2", "port": 8080}],
        }
    ]
    url = "http://192.168.10.100/"
    director.playbook("ipvs_lb", lb_services=services)
    assert alternates(answers(director, "client", url))
    done = director.playbook("ipvs_lb", lb_services=services, ipvs_lb_strict_arp=True)
    assert changes(done) > 0
    director.ssh("client", "ip neighbour flush dev eth0")
    assert director.try_ssh("client", "curl --silent --max-time 5 " + url).rc in (7, 28)
    assert alternates(answers(director, "director", url))
    # A host that is told the way gets there all the same.
    director.ssh("client", "ip route add 192.168.10.100 via 192.168.10.1")
    assert alternates(answers(director, "client", url))
    director.ssh("client", "ip route del 192.168.10.100")
    relaxed = {"net.ipv4.conf.all.arp_ignore": 0, "net.ipv4.conf.all.arp_announce": 0}
    director.playbook("ipvs_lb", lb_services=services, ipvs_lb_sysctls=relaxed)
    assert alternates(answers(director, "client", url))


def test_without_ipset(nodes: NodesLab) -> None:
    """Check mode says what is not installed; a run that may not install it says so too, and changes nothing."""
    before = listing(nodes)
    nodes.ssh("director", "mv /usr/sbin/ipset /usr/sbin/ipset.away")
    try:
        said = " ".join(nodes.playbook("ipvs_lb", "--check").split())
        assert "These packages are not installed: ipset" in said
        assert listing(nodes) == before
        said = " ".join(nodes.playbook("ipvs_lb", rc=2, ipvs_lb_install=False).split())
        assert "These packages are not installed: ipset. Set ipvs_lb_install: true" in said
    finally:
        nodes.ssh("director", "mv /usr/sbin/ipset.away /usr/sbin/ipset")
    assert listing(nodes) == before


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({"ipvs_lb_scheduler": "best"}, "scheduler best is not a scheduler of this node's kernel"),
        ({"lb_interface": "eth0"}, "interface eth0 is not a dummy link"),
        (
            {"lb_services": [{"name": "web", "address": VIP, "port": 80, "endpoint": []}]},
            "lb_services[0].endpoint is not a known",
        ),
    ],
    ids=["scheduler", "interface", "key"],
)
def test_mistakes_are_refused(nodes: NodesLab, variables: dict[str, object], message: str) -> None:
    before = listing(nodes)
    assert message in " ".join(nodes.playbook("ipvs_lb", rc=2, **variables).split())
    assert listing(nodes) == before


def test_demo(nodes: NodesLab) -> None:
    """As a user sees it; what the boot has brought back is all that was declared."""
    before = nodes.boot_ids(["director"])
    arguments = ["DATAPLANE=ipvs", "ARGS=-e node_lab_name=" + nodes.name]
    done = run(["make", "--no-print-directory", "demo", *arguments], env=ENVIRONMENT, check=False)
    assert done.rc == 0, done.out + done.err
    rows = dict(re.findall(r"│ (.*?) +│ (.*?) +│", done.out))
    assert alternates(rows["curl http://%s, four times" % VIP].split())
    assert rows["connections held while a server was drained"] == "real1 real2"
    assert set(rows["new connections meanwhile"].split()) == {"real2"}
    assert alternates(rows["after a reboot of director"].split())
    assert nodes.boot_ids(["director"]) != before
    assert changes(nodes.playbook("ipvs_lb")) == 0
    assert changes(nodes.playbook("ipvs_lb", ipvs_lb_state="absent")) > 0
