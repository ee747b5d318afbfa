# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""`playbooks/inspect.yml` over SSH, on nodes that load kernel modules on demand."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from ansible_collections.homelab.loadbalancer.tests.nodes.nodes_lab import NodesLab

HOSTS = ("director", "real1", "real2", "client")
ADD = "modprobe ip_vs && ipvsadm -A -t 192.0.2.1:80 -s rr && ipvsadm -a -t 192.0.2.1:80 -r 192.0.2.2"
STATE = """
cut -d' ' -f1 /proc/modules | sort
cat /proc/net/ip_tables_names /proc/net/ip6_tables_names 2>/dev/null
ip netns
ip -o link | sed 's/ qlen.*//'
ip route; ip -6 route | grep -v expires
"""


def look(nodes: NodesLab, folder: Path, *options: str, **variables: Any) -> dict[str, Any]:
    """The documents that the playbook writes, by the names of their files. No host is changed."""
    before = [nodes.ssh(host, STATE) for host in HOSTS]
    output = nodes.playbook("inspect", *options, inspect_folder=str(folder), **variables)
    assert not re.search(r"changed=[1-9]", output), output
    assert [nodes.ssh(host, STATE) for host in HOSTS] == before
    return {path.stem: json.loads(path.read_text()) for path in folder.glob("*.json")}


def test_nodes_seen_and_unchanged(nodes: NodesLab, tmp_path: Path) -> None:
    """No kernel module is loaded either. Virtual servers are listed."""
    nodes.ssh("director", ADD)
    try:
        seen = look(nodes, tmp_path, inspect_hosts="nodes")
    finally:
        nodes.ssh("director", "ipvsadm -D -t 192.0.2.1:80")
    assert set(seen) == set(HOSTS)
    for host in HOSTS:
        assert "error" not in seen[host]
        assert seen[host]["kernel"] == nodes.ssh(host, "uname -r").strip()
        [space] = [one for one in seen[host]["namespaces"] if one["host"]]
        links = [line.split(":")[1].split("@")[0].strip() for line in nodes.ssh(host, "ip -o link").splitlines()]
        assert [link["name"] for link in space["links"]] == links
    server = {"protocol": "tcp", "address": "192.0.2.1", "port": 80, "scheduler": "rr", "servers": 1, "owner": "other"}
    assert seen["director"]["firewall"]["ipvs"] == [server]


def test_check_mode_and_unreachable_host(nodes: NodesLab, tmp_path: Path) -> None:
    """A host whose SSH port is closed is a line of the page."""
    away = {
        "ansible_host": "{{ '127.0.0.1' if inventory_hostname == 'real2' else inventory_hostname }}",
        "ansible_port": "{{ 9 if inventory_hostname == 'real2' else 22 }}",
    }
    seen = look(nodes, tmp_path, "--check", inspect_hosts="client,real2", **away)
    assert {host: "error" in document for host, document in seen.items()} == {"client": False, "real2": True}
    assert "real2" in (tmp_path / "index.html").read_text()
