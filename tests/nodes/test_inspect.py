# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What `playbooks/inspect.yml` sees of machines with kernels of their own over SSH, and that it loads none of their
modules."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from ansible_collections.homelab.loadbalancer.tests.nodes.nodes_lab import NodesLab

HOSTS = ("director", "real1", "real2", "client")
STATE = """
cut -d' ' -f1 /proc/modules | sort
cat /proc/net/ip_tables_names /proc/net/ip6_tables_names 2>/dev/null
ip netns
ip -o link | sed 's/ qlen.*//'
ip route; ip -6 route | grep -v expires
"""


def look(nodes: NodesLab, folder: Path, *options: str, **variables: Any) -> dict[str, Any]:
    """The documents that the playbook writes, by the names of their files."""
    output = nodes.playbook("inspect", *options, inspect_hosts="nodes", inspect_folder=str(folder), **variables)
    assert not re.search(r"changed=[1-9]", output), output
    return {path.stem: json.loads(path.read_text()) for path in folder.glob("*.json")}


def test_it_changes_nothing_not_even_the_modules(nodes: NodesLab, tmp_path: Path) -> None:
    before = [nodes.ssh(host, STATE) for host in HOSTS]
    for options in ((), ("--check",)):
        seen = look(nodes, tmp_path / "".join(["seen", *options]), *options)
        assert [nodes.ssh(host, STATE) for host in HOSTS] == before
        assert set(seen) == set(HOSTS)
        for host in HOSTS:
            assert "error" not in seen[host]
            assert seen[host]["kernel"] == nodes.ssh(host, "uname -r").strip()
            [space] = [one for one in seen[host]["namespaces"] if one["host"]]
            links = [line.split(":")[1].split("@")[0].strip() for line in nodes.ssh(host, "ip -o link").splitlines()]
            assert [link["name"] for link in space["links"]] == links


def test_virtual_servers_are_listed(nodes: NodesLab, tmp_path: Path) -> None:
    add = "modprobe ip_vs && ipvsadm -A -t 192.0.2.1:80 -s rr && ipvsadm -a -t 192.0.2.1:80 -r 192.0.2.2"
    nodes.ssh("director", add)
    try:
        seen = look(nodes, tmp_path)["director"]["firewall"]["ipvs"]
    finally:
        nodes.ssh("director", "ipvsadm -D -t 192.0.2.1:80")
    server = {"protocol": "tcp", "address": "192.0.2.1", "port": 80, "scheduler": "rr", "servers": 1, "owner": "other"}
    assert seen == [server]


def test_a_host_that_does_not_answer_is_a_line(nodes: NodesLab, tmp_path: Path) -> None:
    """SSH to it goes to a port where nobody listens."""
    away = {
        "ansible_host": "{{ '127.0.0.1' if inventory_hostname == 'real2' else inventory_hostname }}",
        "ansible_port": "{{ 9 if inventory_hostname == 'real2' else 22 }}",
    }
    seen = look(nodes, tmp_path, **away)
    assert [host for host in HOSTS if "error" in seen[host]] == ["real2"]
    assert "real2" in (tmp_path / "index.html").read_text()
