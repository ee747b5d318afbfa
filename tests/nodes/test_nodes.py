# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The lab of nodes as a user meets it: by its playbooks, by SSH, by packets."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from ansible_collections.homelab.loadbalancer.plugins.module_utils._common.command import run
from ansible_collections.homelab.loadbalancer.tests.integration.lab import changes
from ansible_collections.homelab.loadbalancer.tests.integration.lab import diff_of as lines_of
from ansible_collections.homelab.loadbalancer.tests.nodes.nodes_lab import NodesLab

HOSTS = ("director", "real1", "real2", "client")
CURL = "curl --silent --show-error --max-time 10 "


def diff_of(output: str) -> list[str]:
    """The lines of the diff of the lab: what follows is the table of the nodes."""
    return lines_of(output.partition("PLAY [Log in")[0])


def test_each_node_is_a_machine_of_its_own(nodes: NodesLab) -> None:
    assert [nodes.ssh(host, "hostname").strip() for host in HOSTS] == list(HOSTS)
    assert len({nodes.boot_id(host) for host in HOSTS}) == len(HOSTS)
    assert os.uname().release not in {nodes.ssh(host, "uname -r").strip() for host in HOSTS}
    for host in HOSTS:
        assert nodes.try_ssh(host, "systemctl is-system-running --wait").out.strip() == "running"


def test_director_has_ipvs_and_dummy_links(nodes: NodesLab) -> None:
    listed = nodes.ssh("director", "modprobe ip_vs && ipvsadm -Ln && ip link add d0 type dummy && ip link del d0")
    assert "IP Virtual Server" in listed


@pytest.mark.parametrize("address", ["192.168.20.2%d", "10.244.%s", "[fd00:20::2%d]", "[fd00:244:%s]"])
def test_client_reaches_the_servers_by_the_director(nodes: NodesLab, address: str) -> None:
    """At their own addresses and at those of their pods, and they see the client's."""
    pods = {"10.244.%s": ("1.3", "2.2"), "[fd00:244:%s]": ("1::3", "2::2")}.get(address, (1, 2))
    for number, part in enumerate(pods, 1):
        answer = nodes.ssh("client", CURL + "--include 'http://%s:8080/'" % (address % part))
        assert answer.endswith("\nreal%d\n" % number)
        seen = "fd00:10::10" if ":" in address else "192.168.10.10"
        assert "X-Client-Address: %s" % seen in answer.splitlines()


def test_large_transfer_through_the_director(nodes: NodesLab) -> None:
    """Checksums and segments survive the kernels' shortcuts for packets that never leave the machine."""
    nodes.ssh("real1", "head -c 20000000 /dev/urandom >/tmp/big")
    wanted = nodes.ssh("real1", "sha256sum </tmp/big")
    nodes.ssh("real1", "systemd-run --quiet --unit=big python3 -m http.server --directory /tmp 8081")
    try:
        nodes.ssh("client", CURL + "--retry 20 --retry-connrefused --retry-delay 1 http://192.168.20.21:8081/")
        # Not repeated: a second attempt's bytes would follow those of the first.
        nodes.ssh("client", CURL + "--max-time 300 --output /tmp/big http://192.168.20.21:8081/big")
        got = nodes.ssh("client", "sha256sum </tmp/big; rm /tmp/big")
        assert got == wanted
    finally:
        nodes.ssh("real1", "systemctl stop big; rm /tmp/big")


def test_second_run_changes_nothing(nodes: NodesLab) -> None:
    boots = [nodes.boot_id(host) for host in HOSTS]
    assert changes(nodes.playbook("nodes")) == 0
    assert [nodes.boot_id(host) for host in HOSTS] == boots


def test_a_killed_node_is_started_again(nodes: NodesLab) -> None:
    """With SIGKILL, as if its plug were pulled; what it had written is there, and the others go on."""
    nodes.ssh("real2", "echo kept >/root/kept; sync")
    boots = [nodes.boot_id(host) for host in HOSTS if host != "real2"]
    os.kill(min(pid for pid in nodes.pids("real2") if os.getsid(pid) == pid), signal.SIGKILL)
    predicted = nodes.playbook("nodes", "--check", "--diff")
    done = nodes.playbook("nodes", "--diff")
    assert changes(done) == 1
    assert diff_of(done) == diff_of(predicted)
    assert nodes.ssh("real2", "cat /root/kept") == "kept\n"
    assert nodes.ssh("client", CURL + "http://10.244.2.2:8080/") == "real2\n"
    assert [nodes.boot_id(host) for host in HOSTS if host != "real2"] == boots
    assert changes(nodes.playbook("nodes")) == 0


def test_a_reboot_keeps_files_and_network(nodes: NodesLab) -> None:
    before = nodes.boot_id("director")
    nodes.ssh("director", "echo kept >/root/kept")
    pids = [pid for pid in nodes.pids("director") if os.getsid(pid) == pid]
    assert "CHANGED" in nodes.ansible("director", "ansible.builtin.reboot", "reboot_timeout=120")
    assert nodes.boot_id("director") != before
    assert [pid for pid in nodes.pids("director") if os.getsid(pid) == pid] == pids
    assert nodes.ssh("director", "cat /root/kept") == "kept\n"
    assert nodes.ssh("client", CURL + "http://10.244.1.3:8080/") == "real1\n"
    assert changes(nodes.playbook("nodes")) == 0


def test_a_changed_declaration_reaches_the_node(nodes: NodesLab) -> None:
    """It is shut down cleanly, so that what it wrote a moment ago is there; then it is as declared again."""
    nodes.ssh("real1", "echo kept >/root/kept")
    servers = [
        {"host": "real1", "port": 8080, "text": '100% "$HOME" \\t'},
        {"host": "real2", "port": 8080, "text": "real2"},
    ]
    assert changes(nodes.playbook("nodes", node_lab_servers=servers)) == 1
    assert nodes.ssh("client", CURL + "http://10.244.1.3:8080/") == '100% "$HOME" \\t\n'
    assert nodes.ssh("real1", "cat /root/kept") == "kept\n"
    assert changes(nodes.playbook("nodes")) == 1
    assert nodes.ssh("client", CURL + "http://10.244.1.3:8080/") == "real1\n"


def test_a_pulled_cable_is_put_back(nodes: NodesLab) -> None:
    boots = [nodes.boot_id(host) for host in HOSTS]
    nodes.ssh("client", CURL + "http://10.244.1.3:8080/")
    run(["ip", "-n", nodes.name + "-switch", "link", "set", "real1.eth0", "down"])
    assert nodes.try_ssh("client", "curl --silent --max-time 1 http://10.244.1.3:8080/").rc != 0
    assert changes(nodes.playbook("nodes")) == 1
    assert nodes.ssh("client", CURL + "--retry 5 http://10.244.1.3:8080/") == "real1\n"
    assert [nodes.boot_id(host) for host in HOSTS] == boots


def test_down_leaves_nothing(nodes: NodesLab) -> None:
    """Nothing is left, a second run finds nothing to do, and the lab comes up again, without what was written."""
    nodes.ssh("real1", "echo gone >/root/gone; sync")
    predicted = nodes.playbook("nodes_down", "--check", "--diff")
    done = nodes.playbook("nodes_down", "--diff")
    assert changes(done) == 1
    assert diff_of(done) == diff_of(predicted)
    assert nodes.traces() == []
    assert not Path(nodes.folder).exists()
    assert changes(nodes.playbook("nodes_down")) == 0
    nodes.playbook("nodes")
    assert nodes.try_ssh("real1", "cat /root/gone").rc != 0


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({"node_lab_hosts": []}, "node_lab_hosts is empty: declare the nodes of the lab"),
        (
            {"node_lab_hosts": [{"name": "a"}], "node_lab_servers": []},
            "node_lab_hosts[0].links has no link mgmt with an address",
        ),
    ],
    ids=["empty", "no-management"],
)
def test_wrong_inventory_is_refused(nodes: NodesLab, variables: dict[str, object], message: str) -> None:
    boots = [nodes.boot_id(host) for host in HOSTS]
    assert message in " ".join(nodes.playbook("nodes", rc=2, **variables).split())
    assert [nodes.boot_id(host) for host in HOSTS] == boots
