# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""iptables_services with all parts of a node: everything or nothing changes, also at a fault and with two at once."""

from __future__ import annotations

import contextlib
import subprocess
from pathlib import Path
from typing import Any, Callable, Iterator
from unittest import mock

import pytest

from ansible_collections.homelab.loadbalancer.plugins.module_utils._common import files
from ansible_collections.homelab.loadbalancer.plugins.module_utils._common.command import run
from ansible_collections.homelab.loadbalancer.tests.integration.namespaces import (
    BACKENDS,
    FAMILIES,
    Firewall,
    finish_module,
    module,
    run_at_boot,
    start_module,
)
from ansible_collections.homelab.loadbalancer.tests.unit.boot.systemd import Systemctl, standing_in

FORWARD = "net.ipv4.ip_forward"


def service(last: int, family: str = "ipv4") -> dict[str, Any]:
    vip, pod = {"ipv4": ("10.0.0.%d", "10.1.0.%d"), "ipv6": ("fd00::%d", "fd01::%d")}[family]
    return {"name": "web%d" % last, "address": vip % last, "port": 80, "endpoints": [{"address": pod % last}]}


ONE = {"services": [service(1), service(3)], "sysctls": {FORWARD: 0}}
OTHER = {"services": [service(2), service(3), service(4, "ipv6")], "sysctls": {FORWARD: 1}}


class Node:
    """A node with one link, and a folder for its files."""

    def __init__(self, path: Path, backend: str, systemd: Systemctl) -> None:
        self._path, self.backend, self.systemd = path, backend, systemd

    def __call__(self, declared: dict[str, Any], check_mode: bool = False, **options: Any) -> dict[str, Any]:
        common = {"interface": "eth0", "probe": False, "backend": self.backend, "boot_path": str(self._path / "ours")}
        return module("iptables_services", check_mode, **{**common, **declared, **options})

    def carry(self, declared: dict[str, Any], **options: Any) -> dict[str, Any]:
        result = self(declared, **options)
        assert not result.get("failed"), result["msg"]
        return result

    def everything(self) -> list[Any]:
        kept = {path: path.read_bytes() for path in self._path.rglob("*") if path.is_file()}
        return [listing(self.backend), kept, sorted(self.systemd.enabled)]


def listing(backend: str) -> list[Any]:
    """The rules of each chain, the addresses in any order, and a kernel parameter."""
    chains = [Firewall(backend, family).chains() for family in FAMILIES]
    # The legacy backend goes on listing tables that were used once.
    rules = [{chain: rules for chain, rules in each.items() if rules} for each in chains]
    return [*rules, sorted(run(["ip", "-brief", "address"]).out.split()), run(["sysctl", FORWARD]).out]


@pytest.fixture(params=BACKENDS)
def node(request: pytest.FixtureRequest, fresh_node: None, tmp_path: Path) -> Iterator[Node]:
    build()
    with standing_in(tmp_path) as systemd:
        yield Node(tmp_path, request.param, systemd)


def build() -> None:
    run(["ip", "link", "add", "eth0", "up", "type", "veth", "peer", "name", "eth1"])
    run(["ip", "link", "set", "eth1", "up"])
    run(["sysctl", "-qw", FORWARD + "=0"])


def test_check_run_predicts_and_absent_restores_the_node(node: Node) -> None:
    before = node.everything()
    for declared in (ONE, OTHER):
        at = node.everything()
        predicted = node(declared, check_mode=True)
        assert node.everything() == at
        assert node.carry(declared) == predicted
        headers = [part["after_header"] for part in predicted["diff"]]
        assert len(headers) == len(set(headers))
        assert not node.carry(declared)["changed"]
    removed = node(OTHER, check_mode=True, state="absent")
    assert node.carry(OTHER, state="absent") == removed
    run(["sysctl", "-qw", FORWARD + "=0"])  # kernel parameters stay
    assert node.everything() == before
    assert not node.carry(OTHER, state="absent")["changed"]


def test_boot_restores_the_node(node: Node) -> None:
    node.carry(ONE)
    node.carry(OTHER)
    at = listing(node.backend)
    run(["ip", "address", "flush", "dev", "eth0", "scope", "global"])
    run(["sysctl", "-qw", FORWARD + "=0"])
    for family in FAMILIES:
        for table in ("filter", "nat", "mangle"):
            Firewall(node.backend, family)("-F", table)
            Firewall(node.backend, family)("-X", table)
    run_at_boot(node.systemd.starts())
    assert listing(node.backend)[2:] == at[2:]
    assert not node(OTHER, check_mode=True)["changed"]


class Fault:
    """Lets one call of a function fail: the one with this number."""

    def __init__(self, real: Callable[..., Any], number: int, error: Callable[..., Any]) -> None:
        self._real, self._error, self.left = real, error, number

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        self.left -= 1
        return self._error(*arguments) if self.left == 0 else self._real(*arguments, **options)


def no_space(path: str, *dummy: Any) -> None:
    raise OSError(28, "No space left on device", path)


def out_of_memory(argv: list[str], *dummy: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.CompletedProcess(argv, 1, "", "out of memory\n")


@contextlib.contextmanager
def fault(place: str, number: int) -> Iterator[Fault]:
    target, name, error = {"file": (files, "write", no_space), "program": (subprocess, "run", out_of_memory)}[place]
    made = Fault(getattr(target, name), number, error)
    with mock.patch.object(target, name, made):
        yield made


# The legacy backend changes its rules by the same programs, in the same steps.
@pytest.mark.parametrize(
    ("node", "place"), [("nft", "file"), ("nft", "program"), ("legacy", "file")], indirect=["node"]
)
def test_fault_at_any_step_leaves_the_node_as_it_was(node: Node, place: str) -> None:
    """At each write of a file, a full disk; at each start of a program, one that fails."""
    number, refused = 0, 0
    for declared, wanted in ((ONE, OTHER), (OTHER, {**ONE, "state": "absent"})):
        node.carry(declared)
        before = node.everything()
        over = False
        while not over:
            number += 1
            with fault(place, number) as made:
                result = node(wanted)
            over = made.left > 0
            if result.get("failed") and "the change was made" not in result["msg"]:
                refused += 1
                assert node.everything() == before, (number, result["msg"])
                assert "could be undone" not in result["msg"]
            else:
                # The last round, or a program whose failure does not matter, such as one that lists foreign rules.
                assert not node(wanted)["changed"]
                node.carry(declared)
                assert node.everything() == before
        number = 0
    assert refused > 10


def test_two_at_once_end_in_one_of_the_two_states(fresh_node: None) -> None:
    build()
    options: dict[str, Any] = {"interface": "eth0", "probe": False, "backend": "nft"}
    states = []
    for declared in (ONE, OTHER):
        assert not module("iptables_services", **options, **declared).get("failed")
        states.append(listing("nft"))
    for turn in range(20):
        both = [ONE, OTHER] if turn % 2 else [OTHER, ONE]
        started = [start_module("iptables_services", **options, **declared) for declared in both]
        for process in started:
            result = finish_module(process)
            assert not result.get("failed"), result["msg"]
        assert listing("nft") in states
