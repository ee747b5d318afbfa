# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Valid declarations of a lab, and the messages for invalid ones."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.homelab.loadbalancer.plugins.module_utils._common.errors import InputError
from ansible_collections.homelab.loadbalancer.plugins.module_utils._netns.model import (
    Lab,
    Link,
    Route,
    Server,
    parse_lab,
)


def host(name: Any = "a", **keys: Any) -> dict[str, Any]:
    return {"name": name, "links": [link()], **keys}


def link(name: str = "eth0", **keys: Any) -> dict[str, Any]:
    return {"name": name, "vlan": 10, "addresses": ["192.168.10.10/24", "fd00:10::10/64"], **keys}


def other(name: str = "b", last: int = 20, **keys: Any) -> dict[str, Any]:
    return {"name": name, "links": [link(addresses=["192.168.10.%d/24" % last])], **keys}


def parse(hosts: Any, servers: Any = None, name: Any = "lab") -> Lab:
    return parse_lab(name, hosts, servers, "vlan_lab_")


def test_declaration_becomes_one_spelling() -> None:
    lab = parse(
        [
            {
                "name": "a",
                "links": [
                    {"name": "eth0", "vlan": "10", "addresses": ["192.168.10.10/24", "FD00:10:0::10/64"], "mtu": 9000},
                    {"name": "eth1", "vlan": 20},
                ],
                "gateways": ["192.168.10.1", "fd00:10:0::1"],
                "routes": [{"to": "10.0.0.0/8", "via": "192.168.10.2"}],
                "sysctls": {"net.ipv4.ip_forward": True, "net.ipv4.ip_local_port_range": "1024\t 65000"},
            }
        ],
        [{"host": "a", "text": "Hello", "port": "8080"}, {"host": "a", "text": "Hello", "protocol": "udp"}],
    )
    (only,) = lab.hosts
    assert only.links == (
        Link("eth0", 10, 9000, ("192.168.10.10/24", "fd00:10::10/64")),
        Link("eth1", 20, 1500, ()),
    )
    assert only.routes == (
        Route(4, "default", "192.168.10.1", "eth0"),
        Route(6, "default", "fd00:10::1", "eth0"),
        Route(4, "10.0.0.0/8", "192.168.10.2", "eth0"),
    )
    assert only.sysctls == (("net.ipv4.ip_forward", "1"), ("net.ipv4.ip_local_port_range", "1024 65000"))
    assert lab.servers == (Server("a", "http", 8080, "Hello"), Server("a", "udp", 80, "Hello"))
    assert (lab.switch, lab.namespace("a")) == ("lab-switch", "lab-a")


def test_empty_lab_is_valid() -> None:
    assert parse(None) == Lab("lab", (), ())


HOSTS = [
    ("text", "vlan_lab_hosts is not a list"),
    (["a"], "vlan_lab_hosts[0] is not a mapping"),
    ([{}], "vlan_lab_hosts[0].name is missing"),
    ([host("a/b")], "vlan_lab_hosts[0].name a/b is not a name"),
    ([host("-a")], "vlan_lab_hosts[0].name -a is not a name"),
    ([host("x" * 33)], "vlan_lab_hosts[0].name xxxxxxxxx"),
    ([host(7)], "vlan_lab_hosts[0].name 7 is not a name"),
    ([host("switch")], "vlan_lab_hosts[0].name switch is taken"),
    ([host(), other("a")], "vlan_lab_hosts[1].name a is declared twice"),
    ([host(adress="x")], "vlan_lab_hosts[0].adress is not a known key: known are name, links, gateways"),
    ([host(links="eth0")], "vlan_lab_hosts[0].links is not a list"),
    ([host(links=[link(), link(addresses=[])])], "vlan_lab_hosts[0].links[1].name eth0 is declared twice"),
    ([host(links=[link("sixteen-letters1")])], "vlan_lab_hosts[0].links[0].name sixteen-letters1 is not an interface"),
    ([host(links=[link("eth 0")])], "vlan_lab_hosts[0].links[0].name eth 0 is not an interface name"),
    ([host(links=[link("lo")])], "vlan_lab_hosts[0].links[0].name lo is not an interface name"),
    ([host(links=[link("..")])], "vlan_lab_hosts[0].links[0].name .. is not an interface name"),
    ([host(links=[link(vlan=4095)])], "vlan_lab_hosts[0].links[0].vlan 4095 is not a number from 1 to 4094"),
    ([host(links=[link(vlan=True)])], "vlan_lab_hosts[0].links[0].vlan True is not a number"),
    ([host(links=[{"name": "eth0"}])], "vlan_lab_hosts[0].links[0].vlan is missing"),
    ([host(links=[link(ip="x")])], "vlan_lab_hosts[0].links[0].ip is not a known key"),
    ([host(links=[link(mtu=1000)])], "vlan_lab_hosts[0].links[0].mtu 1000 is not a number from 1280"),
    ([host(links=[link(addresses=["10.0.0.1"])])], "links[0].addresses[0] 10.0.0.1 has no prefix length"),
    ([host(links=[link(addresses=["10.0.0.300/24"])])], "links[0].addresses[0] 10.0.0.300/24 is not an IP address"),
    ([host(links=[link(addresses=["127.0.0.1/8"])])], "links[0].addresses[0] 127.0.0.1/8 is not an address that"),
    ([host(links=[link(addresses=["224.0.0.1/24"])])], "links[0].addresses[0] 224.0.0.1/24 is not an address that"),
    ([host(links=[link(addresses=["10.0.0.0/24"])])], "links[0].addresses[0] 10.0.0.0/24 is the network itself"),
    ([host(links=[link(addresses=["10.0.0.255/24"])])], "links[0].addresses[0] 10.0.0.255/24 is the network itself"),
    (
        [host(), other(last=10)],
        "vlan_lab_hosts[1].links[0].addresses[0] 192.168.10.10/24 is already declared as "
        "vlan_lab_hosts[0].links[0].addresses[0]",
    ),
    ([host(gateways=["x"])], "vlan_lab_hosts[0].gateways[0] x is not an IP address"),
    (
        [host(gateways=["192.168.99.1"])],
        "vlan_lab_hosts[0].gateways[0] 192.168.99.1 is in none of the host's networks "
        "(192.168.10.0/24, fd00:10::/64): choose",
    ),
    ([host(links=[], gateways=["10.0.0.1"])], "vlan_lab_hosts[0].gateways[0] 10.0.0.1 is in none of the host's"),
    ([host(gateways=["192.168.10.10"])], "vlan_lab_hosts[0].gateways[0] 192.168.10.10 is the host's own address"),
    ([host(gateways=["192.168.10.1", "192.168.10.2"])], "gateways[1]: there is already an IPv4 route to default"),
    ([host(routes=[{"to": "10.0.0.1/8", "via": "192.168.10.1"}])], "routes[0].to 10.0.0.1/8 is not a network"),
    ([host(routes=[{"to": "fd01::/64", "via": "192.168.10.1"}])], "routes[0].to fd01::/64 and its gateway are not"),
    ([host(routes=[{"to": "10.0.0.0/8", "via": "192.168.9.1"}])], "routes[0].via 192.168.9.1 is in none of"),
    ([host(routes=[{"to": "10.0.0.0/8"}])], "vlan_lab_hosts[0].routes[0].via is missing"),
    ([host(sysctls=["net.ipv4.ip_forward"])], "vlan_lab_hosts[0].sysctls is not a mapping"),
    ([host(sysctls={"kernel.panic": 1})], "vlan_lab_hosts[0].sysctls.kernel.panic is not a sysctl of a network"),
    ([host(sysctls={"net/../kernel/panic": 1})], "vlan_lab_hosts[0].sysctls.net/../kernel/panic is not a sysctl"),
    ([host(sysctls={"net.ipv4.ip_forward": [1]})], "vlan_lab_hosts[0].sysctls.net.ipv4.ip_forward has a value"),
]


@pytest.mark.parametrize(("hosts", "message"), HOSTS, ids=[message for dummy, message in HOSTS])
def test_wrong_host_is_refused_by_name(hosts: Any, message: str) -> None:
    with pytest.raises(InputError) as refused:
        parse(hosts)
    assert message in str(refused.value)


SERVERS = [
    ({"host": "a", "text": "x"}, "vlan_lab_servers is not a list"),
    ([{"host": "c", "text": "x"}], "vlan_lab_servers[0].host c is not a host of the lab: known are a, b"),
    ([{"host": "a"}], "vlan_lab_servers[0].text is missing"),
    ([{"host": "a", "text": 5}], "vlan_lab_servers[0].text is not a text"),
    ([{"host": "a", "text": "x", "port": 0}], "vlan_lab_servers[0].port 0 is not a number from 1 to 65535"),
    ([{"host": "a", "text": "x", "protocol": "sctp"}], "vlan_lab_servers[0].protocol sctp is not one of http, udp"),
    ([{"host": "a", "text": "x", "vlan": 1}], "vlan_lab_servers[0].vlan is not a known key"),
    (
        [{"host": "a", "text": "x"}, {"host": "a", "text": "y", "port": 80}],
        "vlan_lab_servers[1].port 80 of a is already taken by vlan_lab_servers[0]",
    ),
]


@pytest.mark.parametrize(("servers", "message"), SERVERS, ids=[message for dummy, message in SERVERS])
def test_wrong_server_is_refused_by_name(servers: Any, message: str) -> None:
    with pytest.raises(InputError) as refused:
        parse([host(), other()], servers)
    assert message in str(refused.value)


@pytest.mark.parametrize("name", ["", None, "a/b", "../x", "a b"])
def test_wrong_lab_name_is_refused(name: Any) -> None:
    with pytest.raises(InputError, match=r"^vlan_lab_name .* is not a name: use"):
        parse([], name=name)
