# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""virtual_address on real links: what it leaves on a node, promises in check mode, and refuses.

tests/integration/iptables/test_lb.py runs it from a playbook.
"""

from __future__ import annotations

import json
from typing import Any

import pytest

from ansible_collections.homelab.loadbalancer.plugins.module_utils._common.command import run
from ansible_collections.homelab.loadbalancer.tests.integration.lan import V4, V6, Lan


def test_vips_answer_and_a_second_run_changes_nothing(lan: Lan) -> None:
    before = lan.addresses()
    predicted = lan.module(addresses=[V4, V6], check_mode=True)
    assert lan.addresses() == before
    result = lan.module(addresses=[V4, V6])
    assert result == predicted
    assert result["changed"]
    assert "tentative" not in lan.addresses()  # usable at once
    assert (result["added"], result["removed"]) == ([V4 + "/32", V6 + "/128"], [])
    assert lan.ping(V4)
    assert lan.ping(V6)
    again = lan.module(addresses=[V4, V6])
    assert not again["changed"]
    assert again["diff"]["before"] == again["diff"]["after"] == result["diff"]["after"]


def test_absent_leaves_the_node_as_it_was(lan: Lan) -> None:
    before = lan.everything()
    lan.module(addresses=[V4, V6, "192.168.10.101/24", "fd00:10::101/64"])
    assert lan.everything() != before
    gone: dict[str, Any] = {"addresses": [V4, V6, "192.168.10.101", "fd00:10::101"], "state": "absent"}
    predicted = lan.module(**gone, check_mode=True)
    result = lan.module(**gone)
    assert result["changed"]
    assert result["diff"] == predicted["diff"]
    assert lan.everything() == before
    assert not lan.module(**gone)["changed"]


def test_the_node_never_takes_a_vip_as_its_source(lan: Lan) -> None:
    """The address nearest to the client's would win otherwise (RFC 6724, rule 8)."""
    vip = "fd00:10::3:1"
    for client in ("fd00:10::3:0", "192.168.10.3"):
        before = json.loads(lan.run("node", "ip", "-j", "route", "get", client).out)[0]["prefsrc"]
        lan.module(addresses=[vip, V4])
        after = json.loads(lan.run("node", "ip", "-j", "route", "get", client).out)[0]["prefsrc"]
        assert after == before


def test_other_addresses_of_the_network_stay(lan: Lan) -> None:
    """The kernel removes the secondary addresses of a network with its first one, unless it is told to promote them."""
    setting = "/proc/sys/net/ipv4/conf/eth1/promote_secondaries"
    lan.run("node", "tee", "/proc/sys/net/ipv4/conf/all/promote_secondaries", setting, stdin="0")
    lan.module(interface="eth1", addresses=["10.1.0.100/24"])
    lan.batch("node", "address add 10.1.0.1/24 dev eth1")
    assert " secondary " in lan.addresses()
    assert lan.module(interface="eth1", addresses=["10.1.0.100"], state="absent")["changed"]
    assert "10.1.0.100" not in lan.addresses()
    assert "10.1.0.1/24" in lan.addresses()
    assert lan.run("node", "cat", setting).out == "0\n"


@pytest.mark.parametrize("promote", ["0", "1"])
def test_foreign_addresses_of_the_same_network_keep_their_attributes(lan: Lan, promote: str) -> None:
    """Three of ours, the first of which the others depend on, before two of others."""
    for link in ("all", "eth1"):
        setting = "/proc/sys/net/ipv4/conf/%s/promote_secondaries" % link
        lan.run("node", "tee", setting, stdin=promote)
    ours = ["10.1.0.100/24", "10.1.0.101/24", "10.1.0.102/24"]
    lan.module(interface="eth1", addresses=ours)
    lan.batch(
        "node",
        "address add 10.1.0.1/24 brd + dev eth1 label eth1:web valid_lft 5000 preferred_lft 4000",
        "address add 10.1.0.2/24 dev eth1 noprefixroute",
    )
    before = foreign(lan)
    # Both ways to a failure in the middle: ours go, and no kernel makes a link of the name `default`.
    failed = lan.module(interface="default", dummy=True, addresses=[V4], purge="node")
    assert failed["msg"].startswith("interface default: ")
    assert "(eth1 has its addresses in another order: 10.1.0.1/24, 10.1.0.2/24, " in failed["msg"]
    assert foreign(lan) == before
    assert not lan.module(interface="eth1", addresses=ours)["changed"]

    assert lan.module(interface="eth1", addresses=ours, state="absent")["removed"] == ours
    assert foreign(lan) == before
    assert lan.run("node", "cat", "/proc/sys/net/ipv4/conf/eth1/promote_secondaries").out.strip() == promote


def foreign(lan: Lan) -> list[dict[str, Any]]:
    """The addresses on eth1 that others have put there, with all they have; of lifetimes that they go on."""
    (link,) = json.loads(lan.run("node", "ip", "-4", "-json", "address", "show", "eth1").out)
    return [
        {
            **each,
            "secondary": None,
            "valid_life_time": 3000 < each["valid_life_time"] <= 5000,
            "preferred_life_time": 2000 < each["preferred_life_time"] <= 4000,
        }
        for each in link["addr_info"]
        if "metric" not in each
    ]


def test_purge_and_move(lan: Lan) -> None:
    lan.batch("node", "address add 10.9.0.1/32 dev eth1")
    before = lan.everything()
    lan.module(interface="eth1", addresses=[V4, V6, "10.1.0.1"])
    moved = lan.module(addresses=[V4, V6], purge="node")
    assert moved["added"] == [V4 + "/32", V6 + "/128"]
    assert sorted(moved["removed"]) == sorted([V4 + "/32", V6 + "/128", "10.1.0.1/32"])
    assert lan.ping(V4)
    assert lan.ping(V6)
    assert not lan.module(addresses=[V4, V6], purge="node")["changed"]
    assert lan.module(purge="node", state="absent")["changed"]
    assert lan.everything() == before


def test_failure_halfway_is_rolled_back(lan: Lan) -> None:
    lan.module(addresses=[V4, V6])
    before = sorted(lan.addresses().splitlines())
    # No kernel makes a link of this name, so the VIPs have left eth0 when it refuses.
    result = lan.module(interface="default", dummy=True, addresses=[V4, V6])
    assert result["failed"]
    assert result["msg"].startswith("interface default: ")
    assert result["msg"].endswith("(nothing was changed)")
    assert [line.split(maxsplit=1)[1] for line in sorted(lan.addresses().splitlines())] == [
        line.split(maxsplit=1)[1] for line in before
    ]
    assert not lan.module(addresses=[V4, V6])["changed"]


def test_batch_brings_the_addresses_back(lan: Lan) -> None:
    lines = "".join(line + "\n" for line in lan.module(addresses=[V4, V6])["batch"])
    before = lan.addresses()
    lan.module(state="absent", purge="link")
    for _turn in range(2):
        assert lan.run("node", "ip", "-force", "-batch", "-", stdin=lines).rc == 0
        assert lan.addresses() == before
    assert not lan.module(addresses=[V4, V6])["changed"]


def test_addresses_that_the_node_cannot_have_are_refused(lan: Lan) -> None:
    lan.run("node", "tee", "/proc/sys/net/ipv6/conf/eth1/disable_ipv6", stdin="1")
    before = lan.addresses()
    refused: list[tuple[dict[str, Any], str]] = [
        ({"interface": "eth9", "addresses": [V4]}, "interface eth9 does not exist: this node has eth0, eth1, eth2, lo"),
        ({"interface": "eth1", "addresses": [V4, V6]}, "addresses[1] %s cannot be put on eth1, where IPv6 is" % V6),
        ({"interface": "eth1", "addresses": ["192.168.10.1"]}, "addresses[0] 192.168.10.1 is already on eth0"),
        ({"addresses": [V4, "10.0.0.300"]}, "addresses[1] 10.0.0.300 is not an IP address"),
        ({"addresses": [V4], "dummy": True}, "interface eth0 is not a dummy link but of type veth"),
    ]
    for options, message in refused:
        for check_mode in (True, False):
            result = lan.module(**options, check_mode=check_mode)
            assert result["failed"]
            assert result["msg"].startswith(message)
    assert lan.addresses() == before


def test_dummy_link_lifecycle(lan: Lan) -> None:
    before = lan.everything()
    wanted: dict[str, Any] = {"interface": "lb0", "dummy": True, "addresses": [V4, V6]}
    if run(["unshare", "--net", "ip", "link", "add", "d0", "type", "dummy"], check=False).rc != 0:
        result = lan.module(**wanted)
        assert result["msg"].startswith("interface lb0: this kernel has no dummy links. They are in its module `dummy`")
        assert lan.everything() == before
        return
    predicted = lan.module(**wanted, check_mode=True)
    assert lan.everything() == before
    assert lan.module(**wanted)["diff"] == predicted["diff"]
    again = lan.module(**wanted)
    assert not again["changed"]
    assert again["diff"]["before"] == predicted["diff"]["after"]
    assert lan.ping(V4, "node")
    lines = "".join(line + "\n" for line in again["batch"])
    lan.batch("node", "link del lb0")
    for _turn in range(2):
        lan.run("node", "ip", "-force", "-batch", "-", stdin=lines, check=False)
        assert not lan.module(**wanted)["changed"]
    assert lan.module(interface="lb0", addresses=[V4], state="absent")["removed"] == [V4 + "/32"]
    assert lan.module(interface="lb0", purge="link", state="absent")["removed"] == [V6 + "/128"]
    assert lan.everything() == before
