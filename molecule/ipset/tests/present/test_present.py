# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the sets hold, what a rule makes of them, and what a boot would load."""

from __future__ import annotations

from typing import Any

SETS = {
    'add LB-CLIENTS 192.168.10.0/24 comment "VLAN 10"',
    "add LB-CLIENTS 192.168.10.10 nomatch",
    "add LB-WEB 192.168.20.20,tcp:80",
}


def added(router: Any) -> set[str]:
    return {line for line in router.output("ipset save").splitlines() if line.startswith("add LB-")}


def test_the_sets_are_as_declared(router: Any) -> None:
    assert added(router) == SETS


def test_packets_pass_for_an_exception_only(router: Any, client: Any) -> None:
    client.wait_for("http://192.168.20.20/")
    router.output("ipset del LB-CLIENTS 192.168.10.10")
    try:
        assert client.curl("http://192.168.20.20/").rc == 28  # time is over
        assert client.curl("http://192.168.20.21/").rc == 0
    finally:
        router.output("ipset add LB-CLIENTS 192.168.10.10 nomatch")
    client.wait_for("http://192.168.20.20/")


def test_the_file_brings_the_sets_back(router: Any) -> None:
    router.output("ipset flush LB-WEB")
    router.output("ipset -exist -file /etc/sets.ipset restore")
    assert added(router) == SETS
