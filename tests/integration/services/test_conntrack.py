# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""UDP clients that never pause: connection tracking follows the declared services, on each data plane."""

from __future__ import annotations

import contextlib
from typing import Any
from unittest import mock

import pytest

from ansible_collections.homelab.loadbalancer.plugins.module_utils._services import conntrack
from ansible_collections.homelab.loadbalancer.tests.integration.services_lab import (
    VIP,
    VIP2,
    VIP6,
    ServicesLab,
    endpoints,
    pod,
)

NODE = "192.168.10.1"
NODE6 = "fd00:10::1"


def dns(*numbers: int, **others: Any) -> list[dict[str, Any]]:
    """A UDP service in both families."""
    web = {"port": 53, "protocol": "udp", "node_port": 30053, **others}
    return [
        {**web, "name": "dns", "address": VIP, "endpoints": endpoints(*numbers)},
        {**web, "name": "dns6", "address": VIP6, "endpoints": endpoints(*numbers, family="ipv6")},
    ]


PLANES = ("auto", "nftables")  # the entries are the same whatever backend of iptables wrote the rules


@pytest.fixture(params=PLANES)
def plane(request: pytest.FixtureRequest, net: ServicesLab) -> str:
    """Each data plane in turn, on a router without rules."""
    net.reset()
    return str(request.param)


@pytest.mark.parametrize("layout", ["kube-proxy", "compact"])
def test_udp_clients_that_never_pause_follow_the_services(net: ServicesLab, plane: str, layout: str) -> None:
    """At the VIP and the node port, in both families: added, another endpoint, emptied, back, removed."""
    rest = dns(3, port=54, node_port=30054)
    for each in rest:
        each["name"] += "-rest"
    with contextlib.ExitStack() as stack:
        fronts = ((VIP, 53), (VIP6, 53), (NODE, 30053), (NODE6, 30053))
        senders = [stack.enter_context(net.sender("client", *front)) for front in fronts]
        other = stack.enter_context(net.sender("client", VIP, 54))
        assert all(sender.is_answered_by("refused") for sender in [*senders, other])
        steps: tuple[tuple[list[int] | None, str], ...]
        steps = (([1], "pod1"), ([2], "pod2"), ([], "refused"), ([1], "pod1"), (None, "refused"))
        for numbers, server in steps:
            services = [*rest, *(dns(*numbers) if numbers is not None else [])]
            predicted = net.module(plane, True, services=services, layout=layout)
            result = net.apply(plane, services, layout=layout)
            assert [sender.is_answered_by(server) for sender in senders] == [True] * 4, (numbers, server)
            assert other.is_answered_by("pod3")
            again = net.apply(plane, services, layout=layout)
            assert (again["changed"], again["conntrack_deleted"]) == (False, 0)
            if numbers != [1]:  # a sender that is refused has no entry of a service
                assert predicted["conntrack_deleted"] >= 4
                assert result["conntrack_deleted"] >= 4
        net.module(plane, state="absent")
        assert other.is_answered_by("refused")


def test_foreign_conntrack_entries_are_kept(net: ServicesLab, plane: str) -> None:
    """What somebody else translates, and what the node itself answers beside our services, is theirs."""
    publish = ["-p", "udp", "--dport", "8000", "-j", "DNAT", "--to-destination", pod(3) + ":8080"]
    net.run("router", "iptables", "-w", "-t", "nat", "-A", "PREROUTING", *publish)
    local = net.serve("router", "local", "udp:9000")
    # The port of a VIP at another address, and a node port at another host, are none of ours either.
    flows = ((NODE, 8000, "pod3"), (NODE, 9000, "local"), (VIP2, 8000, "pod3"), (pod(4), 8081, "pod4"))
    try:
        with contextlib.ExitStack() as stack:
            net.apply(plane, [])
            for address, port, server in flows:
                assert stack.enter_context(net.sender("client", address, port)).is_answered_by(server)
            before = entries(net)
            assert len(before) == len(flows)
            other = {"port": 8000, "protocol": "udp", "endpoints": endpoints(1)}
            for services in (
                [{**other, "name": "web", "address": VIP}, *dns(1, node_port=8081)],
                [{**other, "name": "web", "address": VIP, "endpoints": []}],
                [],
            ):
                net.apply(plane, services)
                assert before <= entries(net)
    finally:
        net.end(local)


def entries(net: ServicesLab) -> set[str]:
    """The numbers of the router's UDP entries, which a new entry never has again."""
    listed = net.run("router", "conntrack", "-L", "-p", "udp", "-o", "id").out.splitlines()
    return {line.rsplit("id=", 1)[1] for line in listed}


def test_kernel_without_conntrack_netlink_gives_one_warning(net: ServicesLab, plane: str) -> None:
    with mock.patch.object(conntrack, "Netlink", side_effect=OSError(93, "Protocol not supported")):
        result = net.apply(plane, dns(1))
    assert (result["changed"], result["conntrack_deleted"]) == (True, 0)
    said = [warning for warning in result["warnings"] if "nf_conntrack_netlink" in warning]
    assert len(said) == 1
    assert net.ask_once("client", VIP, 53, "udp").server == "pod1"
