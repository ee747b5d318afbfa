# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reading `ip`, all-or-nothing changes, and the frames on the wire, with neither a link nor a tool."""

from __future__ import annotations

import ipaddress

import pytest

from ansible_collections.homelab.loadbalancer.plugins.module_utils._common.command import Completed
from ansible_collections.homelab.loadbalancer.plugins.module_utils._common.errors import InputError
from ansible_collections.homelab.loadbalancer.plugins.module_utils._virtual_address import neighbor
from ansible_collections.homelab.loadbalancer.plugins.module_utils._virtual_address import node as virtual_address_node
from ansible_collections.homelab.loadbalancer.plugins.module_utils._virtual_address.plan import (
    Address,
    Link,
    State,
    Step,
)

MAC = "02:00:00:00:00:01"
V4 = ipaddress.ip_address("192.168.10.100")
V6 = ipaddress.ip_address("fd00:10::12:3456")


def test_output_of_ip_is_parsed() -> None:
    link = virtual_address_node.read_link(
        {
            "ifname": "eth0",
            "flags": ["BROADCAST", "UP", "LOWER_UP"],
            "link_type": "ether",
            "address": MAC,
            "master": "br0",
            "linkinfo": {"info_kind": "veth", "info_slave_kind": "bridge"},
            "addr_info": [
                {"family": "inet", "local": "10.0.0.1", "prefixlen": 32, "address": "10.0.0.2"},
                {"family": "inet6", "local": "fd00::1", "prefixlen": 128, "metric": 27746},
                {},
            ],
        }
    )
    assert link.addresses == (
        Address(ipaddress.ip_address("10.0.0.1"), 32, 0),
        Address(ipaddress.ip_address("fd00::1"), 128, 27746),
    )
    assert (link.kind, link.port_of, link.mac, link.has_neighbours, link.silent) == ("veth", "br0", MAC, True, "")


@pytest.mark.parametrize(
    ("entry", "neighbours", "silent"),
    [
        ({"flags": ["UP", "LOWER_UP"], "link_type": "ether"}, True, ""),
        ({"flags": ["UP"], "link_type": "ether"}, True, "has no carrier"),
        ({"flags": [], "link_type": "ether"}, True, "is down"),
        ({"flags": ["UP", "LOWER_UP", "NOARP"], "link_type": "ether"}, False, ""),
        ({"flags": ["UP", "LOWER_UP"], "link_type": "loopback"}, False, ""),
        ({"flags": ["UP", "LOWER_UP"], "link_type": "none"}, False, ""),
    ],
)
def test_links_with_neighbours_are_recognized(entry: dict[str, object], neighbours: bool, silent: str) -> None:
    link = virtual_address_node.read_link({"ifname": "eth0", **entry})
    assert (link.has_neighbours, link.silent) == (neighbours, silent)


class Ip:
    """Stands in for `ip -batch`: it refuses the line `refused`, and keeps all lines."""

    def __init__(self, says: str, undo_rc: int = 0) -> None:
        self.says, self.undo_rc = says, undo_rc
        self.calls: list[tuple[list[str], str]] = []

    def __call__(self, argv: list[str], stdin: str = "", check: bool = True) -> Completed:
        self.calls.append((argv, stdin))
        lines = stdin.splitlines()
        if "-force" in argv or "refused" not in lines:
            return Completed(tuple(argv), self.undo_rc if "-force" in argv else 0, "", "Cannot find device")
        return Completed(tuple(argv), 1, "", "%s\nCommand failed -:%d\n" % (self.says, lines.index("refused") + 1))


def steps(*lines: str) -> list[Step]:
    return [Step(line, ("undo " + line, "undo more"), "addresses[%d] x" % i) for i, line in enumerate(lines)]


def test_one_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    ip = Ip("")
    monkeypatch.setattr(virtual_address_node, "run", ip)
    virtual_address_node.apply(steps("one", "two"), ())
    assert ip.calls == [(["ip", "-batch", "-"], "one\ntwo\n")]
    virtual_address_node.apply([], ())
    assert len(ip.calls) == 1


def test_refused_line_rolls_back_earlier_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    ip = Ip("Error: ipv4: Address already assigned.")
    monkeypatch.setattr(virtual_address_node, "run", ip)
    with pytest.raises(virtual_address_node.ApplyError) as refused:
        virtual_address_node.apply(steps("one", "two", "refused", "four"), ())
    assert ip.calls[1] == (["ip", "-force", "-batch", "-"], "undo two\nundo more\nundo one\nundo more\n")
    assert str(refused.value) == "addresses[2] x: ip refused: Error: ipv4: Address already assigned."


def test_failed_rollback_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(virtual_address_node, "run", Ip("Error.", undo_rc=1))
    with pytest.raises(virtual_address_node.ApplyError, match="taking back what was done failed too: Cannot find"):
        virtual_address_node.apply(steps("one", "refused"), ())


def test_state_after_a_failure_is_read_and_reported() -> None:
    one, two, three = (Address(ipaddress.ip_address("10.0.0.%d" % i), 24) for i in (1, 2, 3))
    local = Address(ipaddress.ip_address("fe80::1"), 64)
    before = State({"a": Link("a", (one, two)), "b": Link("b", (one, two, three)), "c": Link("c"), "e": Link("e")})
    after = State({"a": Link("a", (two, one)), "b": Link("b", (one,)), "d": Link("d"), "e": Link("e", (local, three))})
    assert virtual_address_node.differences(before, before) == []
    assert virtual_address_node.differences(before, after) == [
        "a has its addresses in another order: 10.0.0.2/24, 10.0.0.1/24",
        "b has lost 10.0.0.2/24, 10.0.0.3/24",
        "the link c is gone",
        "the link d is there now",
        "e has 10.0.0.3/24 besides",
    ]


def test_address_is_kept_when_its_secondaries_would_be_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel cannot be told to keep them, for instance in a container with a read-only /proc/sys."""

    def refuse(*setting: str) -> None:
        raise OSError(30, "Read-only file system")

    ip = Ip("")
    monkeypatch.setattr(virtual_address_node, "run", ip)
    monkeypatch.setattr(virtual_address_node, "_sysctl", lambda *setting: "0")
    monkeypatch.setattr(virtual_address_node, "_set_sysctl", refuse)
    with pytest.raises(InputError, match=r"promote_secondaries is 0 and cannot be set here .Read-only file system."):
        virtual_address_node.apply(steps("one"), ["eth0"])
    assert ip.calls == []


def test_arp_probe_claims_nothing() -> None:
    frame = neighbor.probe_frame(MAC, V4)
    assert frame.hex() == ("ffffffffffff0200000000010806000108000604000102000000000100000000000000000000c0a80a64")


def test_gratuitous_arp_in_both_forms() -> None:
    request, reply = (frame.hex() for frame in neighbor.announcement_frames(MAC, V4))
    head = "ffffffffffff0200000000010806000108000604"
    assert request == head + "0001020000000001c0a80a64000000000000c0a80a64"
    assert reply == head + "0002020000000001c0a80a64020000000001c0a80a64"


def test_neighbor_solicitation_is_that_of_duplicate_address_detection() -> None:
    frame = neighbor.probe_frame(MAC, V6)
    assert frame[:14].hex() == "3333ff12345602000000000186dd"
    assert frame[14:22].hex() == "6000000000183aff"
    assert frame[22:38] == bytes(16)
    assert ipaddress.IPv6Address(frame[38:54]) == ipaddress.ip_address("ff02::1:ff12:3456")
    assert frame[54:56].hex() == "8700"
    assert frame[62:] == V6.packed
    assert good_checksum(frame)


@pytest.mark.parametrize(("router", "flags"), [(False, "20000000"), (True, "a0000000")])
def test_unsolicited_advertisement(router: bool, flags: str) -> None:
    (frame,) = neighbor.announcement_frames(MAC, V6, router)
    assert frame[:14].hex() == "33330000000102000000000186dd"
    assert frame[22:38] == V6.packed
    assert frame[58:62].hex() == flags
    assert frame[62:] == V6.packed + bytes.fromhex("0201020000000001")
    assert good_checksum(frame)


def good_checksum(frame: bytes) -> bool:
    body = frame[54:]
    return neighbor.checksum(frame[22:54] + len(body).to_bytes(4, "big") + b"\0\0\0\x3a" + body) == 0


def test_claim_of_an_address_is_parsed() -> None:
    """A probe of another host counts too: it is about to take the address."""
    for frame in [neighbor.probe_frame(MAC, V4), *neighbor.announcement_frames(MAC, V4)]:
        assert neighbor.read_claim(frame + bytes(18)) == (V4, MAC)
    for frame in [neighbor.probe_frame(MAC, V6), *neighbor.announcement_frames(MAC, V6)]:
        assert neighbor.read_claim(frame) == (V6, MAC)


def test_other_frames_claim_nothing() -> None:
    arp, ndp = neighbor.probe_frame(MAC, V4), neighbor.probe_frame(MAC, V6)
    forwarded = ndp[:21] + b"\xfe" + ndp[22:]
    echo = ndp[:54] + b"\x80" + ndp[55:]
    token_ring = arp[:14] + b"\x00\x06" + arp[16:]
    for frame in [b"", arp[:30], ndp[:60], forwarded, echo, token_ring, arp[:12] + b"\x08\x00" + arp[14:]]:
        assert neighbor.read_claim(frame) is None
