# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""virtual_address on real links: a node, another host and a client on one LAN, each a network namespace."""

from __future__ import annotations

import contextlib
import ctypes
import ipaddress
import itertools
import json
import os
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any, Callable, Iterator

import pytest

from ansible_collections.homelab.loadbalancer.plugins.module_utils._command import Completed, run
from ansible_collections.homelab.loadbalancer.plugins.module_utils._neighbor import probe_frame, read_claim

REPOSITORY = Path(__file__).resolve().parents[2]
MODULE = REPOSITORY / "plugins/modules/virtual_address.py"
V4, V6 = "192.168.10.100", "fd00:10::100"
MACS = {"node": "02:00:00:00:00:01", "other": "02:00:00:00:00:02", "client": "02:00:00:00:00:03"}
CLONE_NEWNET = 0x40000000
ETH_P_ALL = 3
_numbers = itertools.count()


class Lan:
    """Hosts node .1, other .2 and client .3 on a bridge by their eth0; the node has an eth1 that leads nowhere."""

    def __init__(self) -> None:
        self.prefix = "vip-test-%d-%d-" % (os.getpid(), next(_numbers))

    def up(self) -> None:
        for name in ("lan", *MACS):
            run(["ip", "netns", "add", self.prefix + name])
        self.batch("lan", "link add br0 type bridge", "link set br0 up")
        for number, (name, mac) in enumerate(MACS.items(), start=1):
            self.batch(
                "lan",
                "link add p%d type veth peer name eth0 address %s netns %s" % (number, mac, self.prefix + name),
                "link set p%d master br0 up" % number,
            )
            self.batch(
                name,
                "link set lo up",
                "link set eth0 up",
                "address add 192.168.10.%d/24 dev eth0" % number,
                "address add fd00:10::%d/64 dev eth0 nodad" % number,
            )
        self.batch("node", "link add eth1 type veth peer name eth2", "link set eth1 up", "link set eth2 up")

    def down(self) -> None:
        for name in ("lan", *MACS):
            run(["ip", "netns", "del", self.prefix + name], check=False)

    def batch(self, host: str, *lines: str) -> None:
        run(["ip", "-n", self.prefix + host, "-batch", "-"], stdin="".join(line + "\n" for line in lines))

    def run(self, host: str, *argv: str, stdin: str = "", check: bool = True) -> Completed:
        return run(["ip", "netns", "exec", self.prefix + host, *argv], stdin=stdin, check=check)

    def addresses(self, host: str = "node") -> str:
        """What a user sees, without the link-local addresses that appear by themselves."""
        return self.run(host, "ip", "-oneline", "address", "show", "scope", "global").out

    def everything(self) -> str:
        """The node's addresses, links and routes, but for the link-local part."""
        links = [(e["ifname"], e["flags"], e.get("ifalias")) for e in json.loads(self.run("node", "ip", "-j", "l").out)]
        routes = [
            self.run("node", "ip", family, "route", "show", "table", "all", "scope", scope).out
            for family, scope in itertools.product(("-4", "-6"), ("global", "link", "host"))
        ]
        kept = [line for text in routes for line in text.splitlines() if "fe80:" not in line and "ff00:" not in line]
        return "\n".join([repr(links), self.addresses(), *kept])

    def module(self, host: str = "node", check_mode: bool = False, **options: Any) -> dict[str, Any]:
        return self.result(self.start_module(host, check_mode, **options))

    def start_module(self, host: str, check_mode: bool = False, **options: Any) -> subprocess.Popen[str]:
        arguments = {"interface": "eth0", **options, "_ansible_check_mode": check_mode, "_ansible_diff": True}
        process = subprocess.Popen(
            ["ip", "netns", "exec", self.prefix + host, sys.executable, str(MODULE)],
            env={**os.environ, "PYTHONPATH": str(REPOSITORY / ".collections")},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert process.stdin is not None
        process.stdin.write(json.dumps({"ANSIBLE_MODULE_ARGS": arguments}))
        process.stdin.close()
        return process

    @staticmethod
    def result(process: subprocess.Popen[str]) -> dict[str, Any]:
        assert process.stdout is not None
        with process:
            found: dict[str, Any] = json.loads(process.stdout.read())
        return found

    @contextlib.contextmanager
    def wire(self, host: str) -> Iterator[socket.socket]:
        """A raw socket on a host's eth0, for what arrives there and to send as that host."""
        sockets: list[socket.socket] = []

        def open_inside() -> None:
            # A namespace belongs to a thread, and a socket to the namespace it was opened in.
            with open("/run/netns/%s%s" % (self.prefix, host), encoding="ascii") as namespace:
                if ctypes.CDLL(None, use_errno=True).setns(namespace.fileno(), CLONE_NEWNET) != 0:
                    raise OSError(ctypes.get_errno(), "setns")
                raw = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
                raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
                raw.bind(("eth0", ETH_P_ALL))
                sockets.append(raw)

        thread = threading.Thread(target=open_inside)
        thread.start()
        thread.join()
        with sockets[0] as raw:
            raw.setblocking(False)
            yield raw

    def neighbor(self, address: str) -> str:
        """The MAC address that the client has for an address."""
        found = json.loads(self.run("client", "ip", "-j", "neighbour", "show", address).out or "[]")
        return str(found[0].get("lladdr", "")) if found else ""

    def ping(self, address: str, host: str = "client") -> bool:
        return self.run(host, "ping", "-c1", "-W5", address, check=False).rc == 0


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


def wait_for(condition: Callable[[], bool], what: str) -> None:
    end = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < end, what
        time.sleep(0.01)


@pytest.fixture
def lan() -> Iterator[Lan]:
    made = Lan()
    try:
        made.up()
        yield made
    finally:
        made.down()


def test_vips_answer_and_a_second_run_changes_nothing(lan: Lan) -> None:
    before = lan.addresses()
    predicted = lan.module(addresses=[V4, V6], check_mode=True)
    assert lan.addresses() == before
    result = lan.module(addresses=[V4, V6])
    assert result == {**predicted, "invocation": result["invocation"]}
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


def test_hundreds_of_addresses_are_asked_for_together(lan: Lan) -> None:
    addresses = ["10.%d.0.%d" % divmod(number, 200) for number in range(1, 400) if number % 200]
    addresses[300] = "192.168.10.3"
    result = lan.module(addresses=addresses)
    assert "addresses[300] 192.168.10.3 is in use by another host on eth0, 02:00:00:00:00:03" in result["msg"]
    assert result["msg"].count("in use") == 1


@pytest.mark.parametrize("address", [V4, V6])
def test_an_address_that_another_host_is_about_to_take_is_refused(lan: Lan, address: str) -> None:
    """Two nodes that declare one VIP at the same time hear each other's probes."""
    frame = probe_frame(MACS["other"], ipaddress.ip_address(address))
    with lan.wire("other") as raw:
        process = lan.start_module("node", addresses=[address])
        while process.poll() is None:
            raw.send(frame)
            time.sleep(0.01)
        result = lan.result(process)
    assert "is in use by another host on eth0, 02:00:00:00:00:02" in result["msg"]


def test_what_the_neighbours_hear(lan: Lan) -> None:
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


def test_the_node_itself_is_no_other_host(lan: Lan) -> None:
    """An address that moves between two links on one LAN is still answered for by the first while the second asks."""
    lan.batch("lan", "link add p4 type veth peer name eth3 netns %snode" % lan.prefix, "link set p4 master br0 up")
    lan.batch("node", "link set eth3 up")
    lan.module(interface="eth3", addresses=[V4, V6])
    assert lan.ping(V4)
    assert lan.ping(V6)
    assert lan.module(addresses=[V4, V6])["changed"]
    assert lan.ping(V4)
    assert lan.ping(V6)


def test_a_failure_in_the_middle_takes_back_what_was_done(lan: Lan) -> None:
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


def test_what_the_node_rules_out(lan: Lan) -> None:
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


def test_nobody_can_be_asked_on_a_link_that_is_down(lan: Lan) -> None:
    lan.batch("node", "link set eth1 down")
    for reason in ("is down", "has no carrier"):
        result = lan.module(interface="eth1", addresses=[V4])
        assert result["changed"]
        (warning,) = result["warnings"]
        assert "eth1 %s: no other host could be asked" % reason in str(warning)
        lan.module(interface="eth1", state="absent", purge="link")
        lan.batch("node", "link set eth2 down", "link set eth1 up")


def test_dummy_link(lan: Lan) -> None:
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


PLAYBOOK = """
- hosts: all
  gather_facts: false
  tasks:
    - homelab.loadbalancer.virtual_address: {interface: eth0, addresses: [192.168.10.100, "fd00:10::100"], purge: node}
"""


def test_from_a_playbook(lan: Lan, tmp_path: Path) -> None:
    playbook = tmp_path / "vips.yml"
    playbook.write_text(PLAYBOOK, encoding="ascii")
    command = ["ansible-playbook", "-i", lan.prefix + "node,", str(playbook), "--diff"]
    command += ["-e", "ansible_connection=homelab.loadbalancer.netns ansible_python_interpreter=" + sys.executable]
    env = {"ANSIBLE_CONFIG": str(REPOSITORY / "ansible.cfg"), "LC_ALL": "C.UTF-8"}
    outputs = []
    for extra, changed in ((["--check"], 1), ([], 1), ([], 0)):
        done = run([*command, *extra], env=env, check=False)
        assert done.rc == 0, done.out + done.err
        assert "changed=%d " % changed in done.out
        outputs.append(done.out)
    assert "+    inet 192.168.10.100/32 metric 27746" in outputs[0]
    assert outputs[0] == outputs[1]
    assert lan.ping(V4)
