# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Packets decide: what a rule that looks at a set does to those of another host, also while the set is changed."""

from __future__ import annotations

import contextlib
import os
import random
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Iterator

import pytest

from ansible_collections.homelab.loadbalancer.tests.integration.namespaces import (
    Firewall,
    finish_module,
    fresh_network,
    kill_module,
    start_module,
)
from ansible_collections.homelab.loadbalancer.tests.integration.services_lab import ServicesLab
from ansible_collections.homelab.loadbalancer.tests.integration.sets import ipset, lines, sets

# The flood is tens of thousands of packets a second: over so many changes, a gap of 10 microseconds in each is hit with
# near certainty.
SWAPS = 40
KILLS = 20
FLOOD = """
import socket, sys
out = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
out.connect(("192.168.10.1", 9))
print("ready", flush=True)
while True:
    try:
        out.send(b"")
    except ConnectionRefusedError:
        pass
"""


def _host(name: str, number: int) -> dict[str, Any]:
    link = {"name": "eth0", "vlan": 10, "addresses": ["192.168.10.%d/24" % number, "fd00:10::%d/64" % number]}
    return {"name": name, "links": [link]}


@pytest.fixture(scope="module")
def lab() -> Iterator[ServicesLab]:
    made = ServicesLab("ipset-test", [_host("router", 1), _host("client", 10), _host("far", 11)])
    try:
        made.build("present")
        made.serve("router", "router", "tcp:80", "tcp:81")
        yield made
    finally:
        made.down()


@pytest.fixture
def router(lab: ServicesLab) -> Iterator[Firewall]:
    with lab.entered("router"):
        try:
            yield Firewall("nft")
        finally:
            Firewall("nft")("-F")
            ipset("destroy")


@contextlib.contextmanager
def flood(lab: ServicesLab) -> Iterator[None]:
    argv = [*lab.inside("client"), sys.executable, "-I", "-c", FLOOD]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        try:
            yield
        finally:
            process.kill()


def packets(firewall: Firewall) -> list[int]:
    """What each rule of INPUT has counted."""
    return [int(count) for count in re.findall(r"^\[(\d+):\d+\] -A INPUT", firewall.save(counters=True), re.MULTILINE)]


def test_a_rule_does_what_the_set_says(lab: ServicesLab, router: Firewall) -> None:
    both = {"name": "LB-X", "type": "hash:ip,port", "entries": ["192.168.10.10,80", "192.168.10.11,tcp:80-81"]}
    sets(sets=[both])
    router("-A INPUT -m set --match-set LB-X src,dst -j REJECT")

    def answers(host: str, port: int) -> bool:
        return lab.ask_once(host, "192.168.10.1", port).server == "router"

    reached = {(host, port): answers(host, port) for host in ("client", "far") for port in (80, 81)}
    assert reached == {("client", 80): False, ("client", 81): True, ("far", 80): False, ("far", 81): False}
    sets(sets=[{**both, "entries": ["192.168.10.11,http"]}])
    assert answers("client", 80)
    assert not answers("far", 80)
    assert answers("far", 81)


@pytest.mark.parametrize("kind", ["another content", "another option", "small changes"])
def test_no_packet_misses_a_set_while_it_changes(lab: ServicesLab, router: Firewall, kind: str) -> None:
    """A flood from an entry that stays, during the changes."""
    options = [{"comment": True}, {}] if kind == "another option" else [{}, {}]
    networks = ["10.0.%d.0/24", "10.0.%d.1"] if kind == "small changes" else ["10.%d.0.0/22"] * 2
    states = [
        {"name": "LB-X", "type": "hash:ip", **options[i], "entries": ["192.168.10.10", networks[i] % i]} for i in (0, 1)
    ]
    sets(sets=[states[1]], diff=False)
    router("-A INPUT -p udp --dport 9 -m set --match-set LB-X src -j DROP")
    router("-A INPUT -p udp --dport 9 -j DROP")
    with flood(lab):
        for i in range(SWAPS):
            assert sets(sets=[states[i % 2]], diff=False)["changed"]
    hits, misses = packets(router)
    assert misses == 0
    assert hits > 100 * SWAPS, "hardly a flood"


def test_killed_at_any_moment_and_run_again(tmp_path: Path) -> None:
    """The module and the ipset it has started, as when the node's service manager ends them."""
    chance = random.Random(int(os.environ.get("KILL_SEED", "1")))
    file = tmp_path / "sets"
    states = [
        {
            "prefix": "LB-",
            "save_to": str(file),
            "sets": [
                {"name": "LB-A", "type": "hash:ip", "comment": bool(i), "entries": ["10.%d.0.0/18" % i, "10.9.0.0/20"]},
                {"name": "LB-%d" % i, "type": "hash:net", "entries": ["10.0.0.0/8"]},
                {"name": "LB-L", "type": "list:set", "entries": ["LB-A", "LB-%d" % i]},
            ],
        }
        for i in (0, 1)
    ]
    with fresh_network():
        ipset("create THEIRS hash:ip")
        expected, moments = [], []
        for state in states * 2:
            started = time.monotonic()
            finish_module(start_module("ipset", diff=False, **state))
            moments.append(time.monotonic() - started)
            expected.append((lines(), file.read_text()))
        Firewall("nft")("-A INPUT -m set --match-set LB-A src -j DROP")
        halves = 0
        for i in range(KILLS):
            process = start_module("ipset", diff=False, **states[i % 2])
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(chance.uniform(0.2, 1.0) * min(moments))
            kill_module(process)
            halves += lines() not in (expected[0][0], expected[1][0])
            result = sets(diff=False, **states[i % 2])
            assert (lines(), file.read_text()) == expected[i % 2], result
        print("%d of %d kills left something half done" % (halves, KILLS))
