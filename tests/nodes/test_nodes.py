# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The lab of nodes as its users see it: by playbooks, by SSH, by packets."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ansible_collections.homelab.loadbalancer.plugins.module_utils._common.command import run
from ansible_collections.homelab.loadbalancer.tests.integration.lab import changes
from ansible_collections.homelab.loadbalancer.tests.integration.lab import diff_of as lines_of
from ansible_collections.homelab.loadbalancer.tests.nodes.nodes_lab import CURL, NodesLab

HOSTS = ("director", "real1", "real2", "client")
TEXT = '100% "$HOME" \\t'


def diff_of(output: str) -> list[str]:
    """The lines of the diff of the lab: the table of the nodes comes after it."""
    return lines_of(output.partition("PLAY [Log in")[0])


def test_each_node_is_a_machine(nodes: NodesLab) -> None:
    assert [nodes.ssh(host, "hostname").strip() for host in HOSTS] == list(HOSTS)
    assert len(set(nodes.boot_ids(HOSTS).values())) == len(HOSTS)
    assert os.uname().release not in {nodes.ssh(host, "uname -r").strip() for host in HOSTS}
    for host in HOSTS:
        assert nodes.try_ssh(host, "systemctl is-system-running --wait").out.strip() == "running"


def test_director_has_ipvs_and_dummy_links(nodes: NodesLab) -> None:
    listed = nodes.ssh("director", "modprobe ip_vs && ipvsadm -Ln && ip link add d0 type dummy && ip link del d0")
    assert "IP Virtual Server" in listed


@pytest.mark.parametrize("address", ["192.168.20.2%d", "10.244.%s", "[fd00:20::2%d]", "[fd00:244:%s]"])
def test_client_reaches_servers_through_director(nodes: NodesLab, address: str) -> None:
    """At the addresses of the nodes and of their pods. The servers see the client's address."""
    pods = {"10.244.%s": ("1.3", "2.2"), "[fd00:244:%s]": ("1::3", "2::2")}.get(address, (1, 2))
    for number, part in enumerate(pods, 1):
        answer = nodes.ssh("client", CURL + "--include 'http://%s:8080/'" % (address % part))
        assert answer.endswith("\nreal%d\n" % number)
        seen = "fd00:10::10" if ":" in address else "192.168.10.10"
        assert "X-Client-Address: %s" % seen in answer.splitlines()


def test_large_transfer_through_director(nodes: NodesLab) -> None:
    """Checksums and segments survive the kernels' shortcuts for packets that never leave the machine."""
    nodes.ssh("real1", "head -c 10000000 /dev/urandom >/tmp/big")
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


def test_one_run_repairs_everything(nodes: NodesLab) -> None:
    """A killed node is started, a changed one restarted, a pulled cable plugged in. The other nodes go on.

    real2 is killed with SIGKILL, as if its plug were pulled: it keeps what it had synced. real1's declaration changes:
    it is shut down cleanly, and keeps what it had just written.
    """
    boots = nodes.boot_ids(HOSTS)
    nodes.ssh("real2", "echo kept >/root/kept; sync")
    nodes.ssh("real1", "echo kept >/root/kept")
    nodes.ssh("client", CURL + "http://10.244.1.3:8080/")
    nodes.kill("real2")
    run(["ip", "-n", nodes.name + "-switch", "link", "set", "director.eth1", "down"])
    assert nodes.try_ssh("client", "curl --silent --max-time 1 http://10.244.1.3:8080/").rc != 0

    servers = [{"host": "real1", "port": 8080, "text": TEXT}, {"host": "real2", "port": 8080, "text": "real2"}]
    predicted = nodes.playbook("nodes", "--check", "--diff", node_lab_servers=servers)
    done = nodes.playbook("nodes", "--diff", node_lab_servers=servers)
    assert changes(done) == 1
    assert diff_of(done) == diff_of(predicted)
    assert nodes.ssh("real1", "cat /root/kept") == nodes.ssh("real2", "cat /root/kept") == "kept\n"
    assert nodes.ssh("client", CURL + "--retry 5 http://10.244.1.3:8080/") == TEXT + "\n"
    assert nodes.ssh("client", CURL + "--retry 5 http://10.244.2.2:8080/") == "real2\n"
    now = nodes.boot_ids(HOSTS)
    assert {host for host in HOSTS if now[host] != boots[host]} == {"real1", "real2"}

    assert changes(nodes.playbook("nodes")) == 1
    assert nodes.ssh("client", CURL + "http://10.244.1.3:8080/") == "real1\n"


def test_second_run_changes_nothing(nodes: NodesLab) -> None:
    boots = nodes.boot_ids(HOSTS)
    assert changes(nodes.playbook("nodes")) == 0
    assert nodes.boot_ids(HOSTS) == boots


def test_empty_inventory_refused(nodes: NodesLab) -> None:
    boots = nodes.boot_ids(HOSTS)
    said = " ".join(nodes.playbook("nodes", rc=2, node_lab_hosts=[]).split())
    assert "node_lab_hosts is empty: declare the nodes of the lab" in said
    assert nodes.boot_ids(HOSTS) == boots


def test_down_leaves_nothing(nodes: NodesLab) -> None:
    """The nodes' own files go with their folder, and none of it is in the common disk. A second run changes nothing."""
    disk = Path(run(["tools/node-image"]).out.strip())
    written = disk.stat().st_mtime_ns
    nodes.ssh("real1", "echo gone >/root/gone; sync")
    predicted = nodes.playbook("nodes_down", "--check", "--diff")
    done = nodes.playbook("nodes_down", "--diff")
    assert changes(done) == 1
    assert diff_of(done) == diff_of(predicted)
    assert nodes.traces() == []
    assert not Path(nodes.folder).exists()
    assert disk.stat().st_mtime_ns == written
    assert changes(nodes.playbook("nodes_down")) == 0
    nodes.inventory = ""
