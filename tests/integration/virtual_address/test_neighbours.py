# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""virtual_address and the other hosts on a LAN: what it asks them, tells them, and hears from them."""

from __future__ import annotations

import contextlib
import ipaddress
import socket
import time

import pytest

from ansible_collections.homelab.loadbalancer.plugins.module_utils._virtual_address.neighbor import (
    probe_frame,
    read_claim,
)
from ansible_collections.homelab.loadbalancer.tests.integration.lan import MACS, V4, V6, Lan
from ansible_collections.homelab.loadbalancer.tests.integration.namespaces import finish_module, wait_for


def heard(raw: socket.socket) -> list[bytes]:
    """The frames that arrived since the last call."""
    frames = []
    with contextlib.suppress(BlockingIOError):
        while True:
            frame, sender = raw.recvfrom(2048)
            if sender[2] != socket.PACKET_OUTGOING:
                frames.append(frame)
    return frames


def about(frames: list[bytes], address: str) -> list[str]:
    """ARP frames and neighbour discovery about an address, as `kind sender->target` for short."""
    said = []
    for frame in frames:
        claim = read_claim(frame)
        if claim is None or str(claim.ip) != address:
            continue
        if frame[12:14] == b"\x08\x06":
            empty = frame[28:32] == bytes(4)
            said.append("probe" if empty else {1: "request", 2: "reply"}[frame[21]])
        else:
            said.append("probe" if frame[54] == 135 else "advertisement")
    return said


@pytest.mark.parametrize("address", ["192.168.10.2", "fd00:10::2"])
def test_an_address_of_another_host_is_refused(lan: Lan, address: str) -> None:
    before = lan.addresses()
    for check_mode in (True, False):
        result = lan.module(addresses=[V4, V6, address], check_mode=check_mode)
        assert result["failed"]
        assert result["msg"] == (
            "addresses[2] %s is in use by another host on eth0, 02:00:00:00:00:02: "
            "declare another address, or take it from that host first" % address
        )
        assert lan.addresses() == before
    assert lan.module(addresses=[address], probe=False)["changed"]


def test_hundreds_of_addresses_are_probed_together(lan: Lan) -> None:
    addresses = ["10.%d.0.%d" % divmod(number, 200) for number in range(1, 400) if number % 200]
    addresses[300] = "192.168.10.3"
    result = lan.module(addresses=addresses)
    assert "addresses[300] 192.168.10.3 is in use by another host on eth0, 02:00:00:00:00:03" in result["msg"]
    assert result["msg"].count("in use") == 1


@pytest.mark.parametrize("address", [V4, V6])
def test_address_probed_by_another_host_is_refused(lan: Lan, address: str) -> None:
    """Two nodes that declare one VIP at the same time hear each other's probes."""
    frame = probe_frame(MACS["other"], ipaddress.ip_address(address))
    with lan.wire("other") as raw:
        process = lan.start_module("node", addresses=[address])
        while process.poll() is None:
            raw.send(frame)
            time.sleep(0.01)
        result = finish_module(process)
    assert "is in use by another host on eth0, 02:00:00:00:00:02" in result["msg"]


def test_neighbours_hear_probes_and_announcements(lan: Lan) -> None:
    with lan.wire("client") as raw:
        lan.module(addresses=[V4, V6], check_mode=True)
        frames = heard(raw)
        assert about(frames, V4) == about(frames, V6) == ["probe"] * 3
        lan.module(addresses=[V4, V6])
        frames = heard(raw)
        assert about(frames, V4) == ["probe"] * 3 + ["request", "reply"] * 3
        assert about(frames, V6) == ["probe"] * 3 + ["advertisement"] * 3
        lan.module(addresses=[V4, V6])
        frames = heard(raw)
        assert about(frames, V4) == about(frames, V6) == []
        lan.module(addresses=["192.168.10.101", "fd00:10::101"], probe=False, announce=False)
        frames = heard(raw)
        assert about(frames, "192.168.10.101") == about(frames, "fd00:10::101") == []


def test_an_announcement_corrects_a_stale_cache(lan: Lan) -> None:
    """Two pairs of addresses move from the other host; only those announced are reached at the node at once."""
    told, untold = (V4, V6), ("192.168.10.101", "fd00:10::101")
    for address in told + untold:
        lan.module("other", addresses=[address], probe=False)
        assert lan.ping(address)
        assert lan.neighbor(address) == MACS["other"]
    lan.module("other", state="absent", purge="link")
    lan.module(addresses=list(untold), announce=False)
    lan.module(addresses=list(told))
    for address in told:
        wait_for(lambda address=address: lan.neighbor(address) == MACS["node"], address)  # type: ignore[misc]
        assert lan.ping(address)
    assert MACS["node"] not in [lan.neighbor(address) for address in untold]


def test_node_itself_is_not_another_owner(lan: Lan) -> None:
    """An address that moves between two links on one LAN is still answered for by the first while the second asks."""
    lan.batch("lan", "link add p4 type veth peer name eth3 netns %snode" % lan.prefix, "link set p4 master br0 up")
    lan.batch("node", "link set eth3 up")
    lan.module(interface="eth3", addresses=[V4, V6])
    assert lan.ping(V4)
    assert lan.ping(V6)
    assert lan.module(addresses=[V4, V6])["changed"]
    assert lan.ping(V4)
    assert lan.ping(V6)


def test_link_without_carrier_gives_a_warning(lan: Lan) -> None:
    lan.batch("node", "link set eth1 down")
    for reason in ("is down", "has no carrier"):
        result = lan.module(interface="eth1", addresses=[V4])
        assert result["changed"]
        (warning,) = result["warnings"]
        assert "eth1 %s: no other host could be asked" % reason in str(warning)
        lan.module(interface="eth1", state="absent", purge="link")
        lan.batch("node", "link set eth2 down", "link set eth1 up")
