# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""User-mode Linux virtual machines: refusals, start options, and the effects of changes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from ansible_collections.homelab.loadbalancer.plugins.module_utils._common.errors import InputError
from ansible_collections.homelab.loadbalancer.plugins.module_utils._netns.node import Have as Wires
from ansible_collections.homelab.loadbalancer.plugins.module_utils._uml.model import (
    Nodes,
    command_of,
    files_of,
    mac_of,
    parse_nodes,
)
from ansible_collections.homelab.loadbalancer.plugins.module_utils._uml.plan import Have, files_in_folder, plan

MGMT = {"name": "mgmt", "vlan": 1, "addresses": ["172.31.0.11/24"]}
ETH0 = {"name": "eth0", "vlan": 10, "addresses": ["192.168.10.1/24", "fd00:10::1/64"]}
A: dict[str, Any] = {"name": "a", "memory": 512, "links": [MGMT, ETH0], "gateways": ["192.168.10.254"]}
B: dict[str, Any] = {"name": "b", "links": [{**MGMT, "addresses": ["172.31.0.12/24"]}], "sysctls": {"net.ipv4.x": 1}}
SERVERS = [{"host": "a", "port": 8080, "text": 'say "100%" to $HOME\\'}]
EMPTY = Have(Wires({}, True), {}, False, {}, ())


def lab(*hosts: dict[str, Any], image: str = "/cache/1.ext4") -> Nodes:
    servers = SERVERS if any(host["name"] == "a" for host in hosts) else []
    return parse_nodes("lab", "/var/lib/labs/lab", image, list(hosts), servers, prefix="node_lab_")


def done(have: Nodes) -> Have:
    """The state of the machine when a lab is up, without its network namespaces."""
    commands = {node.name: command_of(node, have, files_of(node, have)) for node in have.nodes}
    return Have(Wires({}, True), commands, True, files_in_folder(have), tuple(sorted(commands)))


@pytest.mark.parametrize(
    ("hosts", "message"),
    [
        ([{**A, "name": "admin"}], "hosts[0].name admin is where SSH to the nodes comes from"),
        ([{**A, "links": [ETH0]}], "hosts[0].links has no link mgmt with an address"),
        ([{**A, "links": [{**MGMT, "addresses": []}, ETH0]}], "hosts[0].links has no link mgmt with an address"),
        ([{**A, "memory": "much"}], "hosts[0].memory much is not a number from 96 to 65536"),
        ([{**A, "memory": 8}], "hosts[0].memory 8 is not a number from 96 to 65536"),
        (
            [{**A, "disk": 1}],
            "hosts[0].disk is not a known key: known are name, links, gateways, routes, sysctls, memory",
        ),
        ([A, {**B, "links": [{**MGMT, "addresses": ["172.31.1.12/24"]}]}], "hosts[1]: the link mgmt is in the network"),
        ([A, {**B, "links": [{**MGMT, "vlan": 2, "addresses": ["172.31.0.12/24"]}]}], "hosts[1]: the link mgmt is in"),
        ([A, {**B, "links": [MGMT]}], "172.31.0.11/24 is already declared as node_lab_hosts[0].links[0].addresses[0]"),
        ([{**B, "links": [{**MGMT, "addresses": ["172.31.0.2/32"]}]}], "hosts: no address of 172.31.0.2/32 is left"),
    ],
)
def test_wrong_nodes_are_refused(hosts: list[dict[str, Any]], message: str) -> None:
    with pytest.raises(InputError) as caught:
        parse_nodes("lab", "/folder", "/image", hosts, [], prefix="node_lab_")
    assert message in str(caught.value)
    assert "node_lab_hosts" in str(caught.value)


@pytest.mark.parametrize("path", ["relative", "/with space", "/with,comma", "/a/../b", "/a:b", "/"])
def test_wrong_paths_are_refused(path: str) -> None:
    for arguments in ((path, "/image"), ("/folder", path)):
        with pytest.raises(InputError, match="is not an absolute path"):
            parse_nodes("lab", *arguments, [A], [])


def test_kernels_are_wired_without_addresses_and_reached_from_one_more_host() -> None:
    wires = lab(A, B).wires
    assert [host.name for host in wires.hosts] == ["admin", "a", "b"]
    assert [link.addresses for host in wires.hosts for link in host.links] == [("172.31.0.254/24",), (), (), ()]
    assert all(dict(host.sysctls)["net.ipv6.conf.all.disable_ipv6"] == "1" for host in wires.hosts[1:])
    taken = {**B, "links": [{**MGMT, "addresses": ["172.31.0.254/24"]}]}
    assert lab(taken).wires.hosts[0].links[0].addresses == ("172.31.0.253/24",)


def test_files_of_a_node() -> None:
    both = lab(A, B)
    files = files_of(both.nodes[0], both)
    assert files["etc/hostname"] == "a\n"
    assert files["etc/hosts"].splitlines() == ["127.0.0.1 localhost", "::1 localhost", "127.0.1.1 a", "172.31.0.12 b"]
    assert files["run/systemd/network/10-eth0.link"] == "[Match]\nMACAddress=%s\n\n[Link]\nName=eth0\n" % mac_of(
        "a", "eth0"
    )
    network = files["run/systemd/network/10-eth0.network"]
    assert "Address=192.168.10.1/24\n" in network
    assert "[Route]\nDestination=0.0.0.0/0\nGateway=192.168.10.254\n" in network
    assert "[Route]" not in files["run/systemd/network/10-mgmt.network"]
    unit = files["run/systemd/system/node-server-http-8080.service"]
    assert unit.endswith(' netns-lab-server lab http 8080 "say \\"100%%\\" to $$HOME\\\\"\n')
    assert "After=node-server-http-8080.service" in files["run/systemd/system/ssh.service.d/node.conf"]
    assert files_of(both.nodes[1], both)["run/sysctl.d/90-node.conf"] == "net.ipv4.x = 1\n"


def test_hardware_addresses_are_local_and_differ() -> None:
    found = {mac_of(node, link) for node in "abc" for link in ("eth0", "eth1")}
    assert len(found) == 6
    assert all(int(address[:2], 16) & 3 == 2 for address in found)


def test_kernel_command_line() -> None:
    own = lab(A)
    command = command_of(own.nodes[0], own, files_of(own.nodes[0], own))
    assert command[:2] == ("linux.uml", "mem=512M")
    assert "ubd0=/var/lib/labs/lab/a/1.ext4.cow,/cache/1.ext4" in command
    assert "vec1:transport=raw,ifname=eth0,mac=%s,depth=128,gro=1" % mac_of("a", "eth0") in command


def test_lab_is_created_once() -> None:
    planned = plan(EMPTY, lab(A, B))
    assert planned.keys
    assert (planned.stop, planned.remove, list(planned.start)) == ((), (), ["a", "b"])
    assert set(planned.write) == set(files_in_folder(lab(A, B)))
    again = plan(done(lab(A, B)), lab(A, B))
    assert (again.keys, again.stop, again.remove, again.start, again.write) == (False, (), (), {}, {})


def test_only_the_dead_node_is_started() -> None:
    have = done(lab(A, B))
    planned = plan(have._replace(running={"a": have.running["a"]}), lab(A, B))
    assert (planned.stop, planned.remove, list(planned.start), planned.write) == ((), (), ["b"], {})


@pytest.mark.parametrize(
    "changed",
    [
        lab({**A, "memory": 256}, B),
        lab({**A, "gateways": []}, B),
        lab({**A, "links": [MGMT], "gateways": []}, B),
    ],
)
def test_a_changed_node_is_shut_down_and_started(changed: Nodes) -> None:
    planned = plan(done(lab(A, B)), changed)
    assert (planned.stop, planned.remove, list(planned.start)) == (("a",), (), ["a"])


def test_another_image_or_lost_keys_restart_all() -> None:
    assert plan(done(lab(A, B)), lab(A, B, image="/cache/2.ext4")).stop == ("a", "b")
    planned = plan(done(lab(A, B))._replace(keys=False), lab(A, B))
    assert (planned.keys, planned.stop, list(planned.start)) == (True, ("a", "b"), ["a", "b"])


def test_undeclared_nodes_are_removed() -> None:
    planned = plan(done(lab(A, B)), lab(A))
    assert planned.remove == ("b",)
    # The others' files of the node go with its folder; those that name it are written anew.
    assert set(planned.write) == {"ssh_config", "a/files/etc/hosts"}
    gone = plan(done(lab(A, B)), lab(), present=False)
    assert gone.absent
    assert gone.remove == ("a", "b")
    assert not plan(EMPTY, lab(), present=False).changed


def test_a_stale_file_is_removed_and_a_lost_one_written() -> None:
    have = done(lab(A))
    files = {**have.files, "a/files/etc/old": "x"}
    del files["a/files/etc/hosts"]
    planned = plan(have._replace(files=files), lab(A))
    assert planned.write["a/files/etc/old"] is None
    assert planned.write["a/files/etc/hosts"]
    assert planned.start == {}


@pytest.mark.parametrize("inventory", ["nodes", "failover"])
def test_inventories_are_valid_labs_whose_nodes_are_in_groups(root: Path, inventory: str) -> None:
    folder = root / "inventories" / inventory
    own = yaml.safe_load((folder / "group_vars/all/lab.yml").read_text())
    shared = yaml.safe_load((folder / "group_vars/all/network.yml").read_text())
    hosts = shared["network_hosts"]
    if "failover_director2" in own:
        hosts.append(own["failover_director2"])
    parsed = parse_nodes(own["node_lab_name"], "/folder", "/image", hosts, shared["node_lab_servers"])
    groups = yaml.safe_load((folder / "hosts.yml").read_text())["nodes"]["children"]
    assert sorted(name for group in groups.values() for name in group["hosts"]) == sorted(
        node.name for node in parsed.nodes
    )
    assert set(groups["real_servers"]["hosts"]) == {node.name for node in parsed.nodes if node.servers}
