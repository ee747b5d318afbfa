# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""keepalived: declarations, the generated configuration, and refusals."""

from __future__ import annotations

import ipaddress
from typing import Any

import pytest

from ansible_collections.homelab.loadbalancer.plugins.module_utils._common.errors import InputError
from ansible_collections.homelab.loadbalancer.plugins.module_utils._keepalived.plan import (
    Files,
    for_test,
    parse,
    plan,
    refuse_links,
    render,
)
from ansible_collections.homelab.loadbalancer.plugins.module_utils._virtual_address.plan import Address, Link

WEB = {"name": "web", "address": "192.168.10.100", "port": 80, "endpoints": [{"address": "192.168.20.20"}]}
WEB6 = {"name": "web6", "address": "fd00:10::100", "port": 80, "endpoints": [{"address": "fd00:20::20"}]}
WEB8080 = {**WEB, "name": "other", "endpoints": [{"address": "192.168.20.20", "port": 8080}]}
CHECK = {"type": "http", "path": "/up", "status": "200-299", "interval": 2.0, "timeout": 0.5, "retries": 1}
DEFAULTS: dict[str, Any] = {
    "interface": "eth0",
    "services": [WEB],
    "router_id": 51,
    "priority": 100,
    "advert_interval": 1.0,
    "preempt": False,
    "preempt_delay": 0,
    "unicast_peers": [],
    "track_interfaces": [],
    "health_check": None,
    "scheduler": "wrr",
    "forward": "masquerade",
}


def link(name: str, *addresses: str, **values: Any) -> Link:
    interfaces = map(ipaddress.ip_interface, addresses)
    return Link(name, tuple(Address(i.ip, i.network.prefixlen) for i in interfaces), **values)


LINKS = {
    "eth0": link("eth0", "192.168.10.2/24", "fd00:10::2/64", "fe80::2/64"),
    "eth1": link("eth1", "192.168.20.2/24", "fe80::3/64"),
    "eth2": link("eth2", port_of="br0"),
    "lo": link("lo", "127.0.0.1/8", ether=False),
}


def text(links: dict[str, Link] | None = None, **options: Any) -> str:
    want = parse({**DEFAULTS, **options})
    refuse_links(want, links or LINKS)
    return render(want, (links or LINKS)["eth0"]) or ""


def lines(**options: Any) -> list[str]:
    return [line.strip() for line in text(**options).splitlines()]


def test_an_instance() -> None:
    assert (
        text()
        == """\
# Written by homelab.loadbalancer: the next run takes back what is changed here.

vrrp_instance homelab-loadbalancer-ipv4 {
    version 3
    state BACKUP
    interface eth0
    virtual_router_id 51
    priority 100
    advert_int 1
    nopreempt
    strict_mode off
    skip_check_adv_addr
    virtual_ipaddress {
        192.168.10.100/32
    }
}
"""
    )


def test_both_families_go_together() -> None:
    said = text(services=[WEB6, WEB, {**WEB, "name": "other", "address": "192.168.10.101"}])
    assert "vrrp_sync_group" in said
    assert said.count("vrrp_instance") == 2
    # One address is advertised, the first that is declared.
    ours = said.split("vrrp_instance")[1]
    assert ours.index("virtual_ipaddress {") < ours.index(".100/32") < ours.index("_excluded") < ours.index(".101/32")


def test_shared_address_is_declared_once() -> None:
    assert lines(services=[WEB, {**WEB, "name": "tls", "port": 443}]).count("192.168.10.100/32") == 1


def test_preemption() -> None:
    assert "nopreempt" not in text(preempt=True)
    assert "preempt_delay" not in text(preempt=True)
    assert "preempt_delay 60" in lines(preempt=True, preempt_delay=60)


def test_unicast_leaves_out_this_director() -> None:
    peers = ["192.168.10.2", "192.168.10.3", "fd00:10::2", "fd00:10::3"]
    said = lines(services=[WEB, WEB6], unicast_peers=peers)
    at = [said.index(line) for line in ("unicast_src_ip 192.168.10.2", "192.168.10.3")]
    assert at == sorted(at)
    at = [said.index(line) for line in ("unicast_src_ip fd00:10::2", "fd00:10::3")]
    assert at == sorted(at)
    assert said.count("unicast_peer {") == 2
    assert not {"192.168.10.2", "fd00:10::2"} & set(said)


def test_source_address_is_no_vip() -> None:
    held = link("eth0", "192.168.10.100/32", "192.168.10.101/32", "192.168.10.2/24")
    assert "unicast_src_ip 192.168.10.2" in text({"eth0": held}, unicast_peers=["192.168.10.3"])


def test_tracked_links() -> None:
    said = lines(track_interfaces=["eth1"])
    assert said[said.index("track_interface {") + 1] == "eth1"


def test_virtual_servers() -> None:
    tcp = {
        **WEB,
        "session_affinity": {"timeout": 60},
        "endpoints": [{"address": "192.168.20.20", "port": 8080, "weight": 3}],
    }
    udp = {**WEB, "name": "dns", "port": 53, "protocol": "udp"}
    sctp = {**udp, "name": "sctp", "protocol": "sctp"}
    none = {**udp, "name": "none", "port": 54, "endpoints": []}
    said = text(services=[tcp, udp, sctp, none], health_check=CHECK)
    assert (
        said.split("}\n\n", 2)[1]
        == """\
virtual_server 192.168.10.100 80 {
    protocol TCP
    lvs_sched wrr
    lvs_method NAT
    delay_loop 2
    persistence_timeout 60
    real_server 192.168.20.20 8080 {
        weight 3
        HTTP_GET {
            connect_timeout 0.5
            retry 1
            delay_before_retry 0.5
            url {
                path /up
                status_code 200-299
            }
        }
    }
"""
    )
    assert said.count("virtual_server") == 3
    assert said.count("UDP_CHECK") == 1
    assert "SSL_GET" in text(health_check={**CHECK, "type": "https"})
    assert "TCP_CHECK" in text(health_check={**CHECK, "type": "tcp"})
    assert "lvs_method DR" in text(health_check=CHECK, forward="direct")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"router_id": 0}, "router_id 0 is not a number from 1 to 255"),
        ({"router_id": 256}, "router_id 256 is not"),
        ({"priority": 255}, "priority 255 is not a number from 1 to 254"),
        ({"advert_interval": 0.0}, "advert_interval 0 is not a number from 0.01 to 40"),
        ({"preempt_delay": 5}, "preempt_delay 5 has no effect: set preempt"),
        ({"preempt_delay": 1001, "preempt": True}, "preempt_delay 1001 is not"),
        ({"unicast_peers": ["director2"]}, "unicast_peers[0] director2 is not an IP address"),
        ({"unicast_peers": ["192.168.10.2"]}, "unicast_peers has no IPv4 address of another director"),
        ({"unicast_peers": ["192.168.10.3"], "services": [WEB, WEB6]}, "unicast_peers has no IPv6 address"),
        ({"services": [{**WEB, "address": "10.0.0.300"}]}, "lb_services[0].address 10.0.0.300 is not an IP address"),
        ({"health_check": {**CHECK, "path": "/a b"}}, "health_check.path '/a b' is not the path of a URL"),
        ({"health_check": {**CHECK, "path": "/\n}"}}, "health_check.path"),
        ({"health_check": {**CHECK, "status": "2xx"}}, "health_check.status '2xx' is not"),
        ({"health_check": {**CHECK, "interval": 0.0}}, "health_check.interval 0 is not"),
        ({"health_check": {**CHECK, "retries": -1}}, "health_check.retries -1 is not"),
        (
            {"health_check": CHECK, "forward": "direct", "services": [WEB, {**WEB8080, "port": 81}]},
            "lb_services[1].endpoints[0].port 8080 cannot be reached with forward: direct",
        ),
        ({"interface": "eth9"}, "interface eth9 does not exist: this node has eth0, eth1"),
        ({"interface": "lo"}, "interface lo has no other hosts on it"),
        ({"interface": "eth2"}, "interface eth2 is a port of br0"),
        ({"interface": "eth1", "services": [WEB6, WEB]}, "is in the network fd00:10::/64 of interface eth0"),
        ({"track_interfaces": ["eth1", "eth9"]}, "track_interfaces[1] eth9 does not exist"),
        (
            {"services": [{**WEB, "address": "192.168.20.100"}]},
            "lb_services[0].address 192.168.20.100 is in the network 192.168.20.0/24 of interface eth1, and not on",
        ),
        ({"services": [{**WEB, "address": "192.168.10.2"}]}, "lb_services[0].address 192.168.10.2 is this node's own"),
        (
            {"services": [WEB, {**WEB, "address": "192.168.10.255", "name": "b"}]},
            "lb_services[1].address 192.168.10.255 is the broadcast address of 192.168.10.0/24: declare an address of",
        ),
        (
            {"services": [{**WEB, "address": "192.168.10.0"}]},
            "lb_services[0].address 192.168.10.0 is the network address of 192.168.10.0/24",
        ),
        (
            {"services": [{**WEB, "address": "192.168.20.255"}]},
            "lb_services[0].address 192.168.20.255 is the broadcast address of 192.168.20.0/24",
        ),
        ({"prefix": "vip_failover_", "interface": "eth9"}, "vip_failover_interface eth9 does not exist: this node has"),
        ({"prefix": "vip_failover_", "router_id": 0}, "vip_failover_router_id 0 is not a number from 1 to 255"),
        (
            {"prefix": "vip_failover_", "health_check": {**CHECK, "interval": 0.0}},
            "vip_failover_health_check.interval 0 is not",
        ),
    ],
)
def test_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError) as refused:
        text(**options)
    assert message in str(refused.value)
    assert str(refused.value).startswith((options.get("prefix", ""), "lb_services"))


def test_a_link_without_an_address_of_the_family() -> None:
    with pytest.raises(InputError, match="interface eth0 has no IPv6 address of its own"):
        text({"eth0": link("eth0", "192.168.10.2/24")}, services=[WEB6])


def test_an_address_outside_of_all_networks_is_routed_here() -> None:
    assert "203.0.113.7/32" in text(services=[{**WEB, "address": "203.0.113.7"}])


PATH = "/etc/keepalived/homelab-loadbalancer.conf"
BLOCK = "# BEGIN homelab.loadbalancer\ninclude %s\n# END homelab.loadbalancer\n" % PATH


@pytest.mark.parametrize(
    "main", [None, "", "global_defs {\n}\n", "no newline", "\r\nodd \r\n\n\n", "# END homelab.loadbalancer\n"]
)
def test_foreign_configuration_is_kept(main: str | None) -> None:
    have = Files(main, None)
    there = plan(have, "ours", PATH)
    assert there == Files(BLOCK + (main or ""), "ours")
    assert plan(there, "ours", PATH) == there
    assert plan(there, None, PATH) == Files(main or None, None)
    assert plan(have, None, PATH) == have


def test_moved_block_stays_in_its_place() -> None:
    have = Files("global_defs {\n}\n" + BLOCK + "# more\n", "old")
    assert plan(have, "new", PATH) == Files(have.main, "new")
    assert plan(have, None, PATH) == Files("global_defs {\n}\n# more\n", None)


def test_edited_block_is_restored() -> None:
    have = Files(BLOCK.replace("include", "#include") + "# more\n", "ours")
    assert plan(have, "ours", PATH) == Files(BLOCK + "# more\n", "ours")


def test_the_copy_for_the_test_includes_the_same_files() -> None:
    rest = 'include %sconf.d/*.conf\n  includea "%sx.conf"\ninclude /abs.conf\n# include_check\n'
    copy = for_test(BLOCK + rest % ("", ""), "/etc/keepalived", PATH, "/tmp/t/ours")
    assert copy == BLOCK.replace(PATH, "/tmp/t/ours") + rest % (("/etc/keepalived/",) * 2)
