# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The role ipvs_lb in the playbooks, and through a reboot: `make demo` is its first run and its reboot."""

from __future__ import annotations

import json
import re
import shlex
from typing import Iterator

import pytest

from ansible_collections.homelab.loadbalancer.plugins.module_utils._common.command import run
from ansible_collections.homelab.loadbalancer.tests.integration.lab import ENVIRONMENT, changes, diff_of
from ansible_collections.homelab.loadbalancer.tests.nodes.nodes_lab import CURL, NodesLab
from ansible_collections.homelab.loadbalancer.tools import demo_experiments

VIP = "10.254.10.128"
STRICT = {"ipvs_lb_strict_arp": True, "lb_sysctls": {"net.ipv4.vs.expire_nodest_conn": 0}}
# The director has objects of others too, kube-proxy's among them. Their jump is appended, so that adding it again after
# the reboot leaves the role's jump at the head of the chain.
FOREIGN = (
    "ip address add 10.254.99.9/32 dev lo && modprobe ip_vs && ipvsadm -A -t 10.254.99.9:80 -s rr && "
    "ipvsadm -a -t 10.254.99.9:80 -r 192.168.20.22:8080 -m && "
    "ipset create KUBE-CLUSTER-IP hash:ip,port && ipset add KUBE-CLUSTER-IP 10.254.99.9,tcp:80 && "
    "iptables -t nat -N KUBE-SERVICES && iptables -t nat -A KUBE-SERVICES -m set --match-set KUBE-CLUSTER-IP dst,dst "
    "-j ACCEPT && iptables -t nat -A PREROUTING -j KUBE-SERVICES && iptables -A FORWARD -s 203.0.113.0/24 -j DROP"
)
NO_FOREIGN = (
    "ip address del 10.254.99.9/32 dev lo; ipvsadm -C; iptables -t nat -F; iptables -t nat -X; iptables -F; "
    "ipset destroy"
)


@pytest.fixture
def director(nodes: NodesLab) -> Iterator[NodesLab]:
    """The lab, with objects of others on its director."""
    nodes.ssh("director", FOREIGN)
    try:
        yield nodes
    finally:
        nodes.ssh("director", NO_FOREIGN)


def listing(nodes: NodesLab) -> str:
    """All that the director's tools list, without values that change by themselves."""
    commands = (
        "ip -o address | grep -v ' mgmt '",
        "PATH=$PATH:/usr/sbin; ipset save || ipset.away save",
        # Table by table, for the kernel lists tables in the order in which they came about.
        "for table in raw mangle nat filter; do iptables-save -t $table; ip6tables-save -t $table; done",
        "ipvsadm -Sn",
        "ls /etc/systemd/system /etc/modules-load.d",
        "test ! -d /etc/homelab-loadbalancer || sha256sum /etc/homelab-loadbalancer/*",
    )
    found = nodes.ssh("director", "; ".join(commands))
    # Empty tables stay listed once they have been used.
    found = re.sub(r"^#.*\n|^[*:](?!LB-|KUBE-).*\n|^COMMIT\n", "", found, flags=re.MULTILINE)
    return re.sub(r" \[\d+:\d+\]| initval \S+| valid_lft \S+| preferred_lft \S+", "", found)


def answers(nodes: NodesLab, host: str) -> list[str]:
    """The real servers that answer four connections from a host, one after the other."""
    return nodes.ssh(host, CURL + "'http://%s/?[1-4]'" % VIP).split()


def alternates(names: list[str]) -> bool:
    return set(names[:2]) == {"real1", "real2"} and names[:2] == names[2:]


def first_run(output: str) -> tuple[list[str], list[str]]:
    """The diff of the first run of the role and its tasks that changed the director."""
    play = output.partition("PLAY [Load-balance services by IPVS]")[2].partition("\nPLAY ")[0]
    # The temporary file that a template comes from has another name each time.
    diff = [line for line in diff_of(play) if "/tmp" not in line]
    tasks = [task.partition("]")[0] for task in play.split("\nTASK [")[1:] if "\nchanged: [director]" in task]
    return diff, tasks


def demo(nodes: NodesLab) -> str:
    """What `make demo DATAPLANE=ipvs` prints, with Ansible's own output for each task."""
    argv = ["make", "--no-print-directory", "demo", "DATAPLANE=ipvs", "STEPS=", "ARGS=--diff " + arguments(nodes)]
    done = run(argv, env=ENVIRONMENT, check=False)
    assert done.rc == 0, done.out + done.err
    return done.out


def arguments(nodes: NodesLab) -> str:
    return "-e " + shlex.quote(json.dumps({"node_lab_name": nodes.name, **STRICT}))


def test_missing_package(nodes: NodesLab) -> None:
    """Check mode names the package; a run that may not install it refuses. Both change nothing."""
    before = listing(nodes)
    nodes.ssh("director", "mv /usr/sbin/ipset /usr/sbin/ipset.away")
    try:
        said = " ".join(nodes.playbook("ipvs_lb", "--check", "--tags", "install").split())
        assert "These packages are not installed: ipset. The rules cannot be predicted" in said
        said = " ".join(nodes.playbook("ipvs_lb", rc=2, lb_install=False).split())
        assert "These packages are not installed: ipset. Set lb_install: true" in said
    finally:
        nodes.ssh("director", "mv /usr/sbin/ipset.away /usr/sbin/ipset")
    assert listing(nodes) == before


def test_demo_and_lifecycle(director: NodesLab, monkeypatch: pytest.MonkeyPatch) -> None:
    nodes = director
    before = listing(nodes)
    predicted = nodes.playbook("ipvs_lb", "--check", "--diff", **STRICT)
    assert listing(nodes) == before
    nodes.ssh("director", "echo kept >/root/kept")
    boot, kernel = nodes.boot_ids(["director"]), nodes.kernel("director")

    output = demo(nodes)
    diff, tasks = first_run(output)
    assert diff and tasks
    assert first_run(predicted) == (diff, tasks)
    # The director and the real servers themselves have connected too: the playbook fails unless answers alternate.
    rows = dict(re.findall(r"(?m)^ +(.+): {2,}(.+)$", output.partition("What client gets:")[2]))
    assert "VIP  %s" % VIP in output  # in the picture
    assert alternates(rows["now"].split())  # the last one, after the reboot
    assert rows["connections opened before"] == "real1 real2"
    assert set(rows["new connections"].split()) == {"real2"}

    # It was a reboot of the node and not of its kernel's process. The boot has brought all that is declared.
    assert nodes.boot_ids(["director"]) != boot
    assert nodes.kernel("director") == kernel
    assert nodes.ssh("director", "cat /root/kept") == "kept\n"
    nodes.ssh("director", FOREIGN)
    assert changes(nodes.playbook("ipvs_lb", **STRICT)) == 0
    # lb_sysctls overrides the role's own value.
    assert nodes.ssh("director", "sysctl -n net.ipv4.vs.expire_nodest_conn") == "0\n"
    addresses_seen(nodes)
    arp(nodes)
    # The commands on the page take the name of this test's lab from the environment.
    monkeypatch.setenv("ARGS", arguments(nodes))
    assert demo_experiments.run_all(re.sub("(?m)^ {8}", "", output)) == 3

    assert changes(nodes.playbook("ipvs_lb", lb_state="absent")) > 0
    assert listing(nodes).splitlines() == before.splitlines()
    assert changes(nodes.playbook("ipvs_lb", lb_state="absent")) == 0
    assert listing(nodes) == before


def addresses_seen(nodes: NodesLab) -> None:
    """Servers see the director in place of outside clients, and pods as they are, except for themselves."""
    assert "dummy" in nodes.ssh("director", "ip -d link show lb-ipvs0")
    assert nodes.ssh("client", CURL + "http://10.254.99.9/") == "real2\n", "virtual servers of others are carried"
    found = nodes.ssh("client", CURL + "--include http://%s/" % VIP)
    assert "X-Client-Address: 192.168.20.1\n" in found
    seen = nodes.ssh("real1", CURL + "--include --interface 10.244.1.3 'http://%s/?[1-4]'" % VIP)
    by_address = dict(re.findall(r"X-Client-Address: (\S+)\n(?:\S+: .*\n)*\n(real\d)", seen))
    assert by_address == {"192.168.20.1": "real1", "10.244.1.3": "real2"}


def arp(nodes: NodesLab) -> None:
    """A strict director does not answer ARP for the VIP on the client's link."""
    nodes.ssh("client", "ip route add %s dev eth0" % VIP)
    try:
        assert nodes.try_ssh("client", "curl --silent --max-time 5 http://%s/" % VIP).rc in (7, 28)
        nodes.ssh("director", "sysctl net.ipv4.conf.all.arp_ignore=0 net.ipv4.conf.all.arp_announce=0")
        nodes.ssh("client", "ip neighbour flush dev eth0")
        assert alternates(answers(nodes, "client"))
    finally:
        nodes.ssh("client", "ip route del %s dev eth0" % VIP)
    assert alternates(answers(nodes, "client"))
