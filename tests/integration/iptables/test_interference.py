# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""iptables_chains when another program interferes with a change: all of it lands, or none does."""

from __future__ import annotations

import contextlib
import fcntl
import os
import threading
from pathlib import Path
from typing import Any, Iterator

import pytest

from ansible_collections.homelab.loadbalancer.plugins.module_utils._common.command import Completed
from ansible_collections.homelab.loadbalancer.plugins.module_utils._iptables import change as iptables_change
from ansible_collections.homelab.loadbalancer.plugins.module_utils._iptables import plan as iptables
from ansible_collections.homelab.loadbalancer.plugins.module_utils._iptables.node import Iptables, LockError
from ansible_collections.homelab.loadbalancer.plugins.module_utils._iptables.rules import Ruleset, WantedTable
from ansible_collections.homelab.loadbalancer.tests.integration.iptables.others import FOREIGN, OURS, state
from ansible_collections.homelab.loadbalancer.tests.integration.namespaces import (
    BACKENDS,
    Firewall,
    finish_module,
    start_module,
    try_chains,
)

pytestmark = pytest.mark.usefixtures("fresh_node")


@pytest.fixture(params=BACKENDS)
def firewall(request: pytest.FixtureRequest) -> Firewall:
    return Firewall(str(request.param))


class Meddler:
    """Stands between the module and iptables-restore: for changes of the node itself, neither trials nor the way back.

    Of two tables the first lands and the second is refused, as when the kernel is out of memory.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch, locks: bool, bars_the_way_back: bool = False) -> None:
        self.restore, self.undo = Iptables.restore, iptables.undo
        self.going_back = 0
        self.locks, self.bars_the_way_back = locks, bars_the_way_back

        def instead(tool: Iptables, text: str, lock_file: str = "") -> Completed:
            return self.instead(tool, text, lock_file)

        monkeypatch.setattr(Iptables, "restore", instead)
        monkeypatch.setattr(iptables, "undo", self.go_back)

    def go_back(self, *arguments: Any) -> None:
        self.going_back += 1
        try:
            self.undo(*arguments)
        finally:
            self.going_back -= 1

    def instead(self, tool: Iptables, text: str, lock_file: str = "") -> Completed:
        if lock_file or (self.going_back and not self.bars_the_way_back):
            return self.restore(tool, text, lock_file)
        if not self.going_back:
            assert self.restore(tool, text.split("COMMIT\n", 1)[0] + "COMMIT\n").rc == 0
        if self.locks:
            raise LockError("another program has held the xtables lock for 30 s, and nothing was changed: wait longer")
        return Completed(("iptables-restore",), 1, "", "iptables-restore: line 9 failed\n")


@pytest.mark.parametrize("locks", [False, True], ids=["refused", "locked"])
@pytest.mark.parametrize("case", ["from a fresh node", "from declared", "from declared to absent"])
def test_partial_change_is_rolled_back(
    firewall: Firewall, monkeypatch: pytest.MonkeyPatch, locks: bool, case: str
) -> None:
    firewall.load(FOREIGN)
    if "declared" in case:
        try_chains(firewall, tables=OURS)
    saved = state(firewall)
    wanted = {
        "raw": {"chains": {"LB-R": ["-j ACCEPT"]}, "jumps": {"OUTPUT": [{"rule": "-j LB-R"}]}},
        "nat": {"chains": {"LB-X": ["-j ACCEPT"]}, "jumps": {"PREROUTING": [{"rule": "-j LB-X"}]}},
        "filter": {"chains": {"LB-Y": []}, "jumps": {"FORWARD": [{"rule": "-j LB-Y", "position": "last"}]}},
    }
    Meddler(monkeypatch, locks)
    result = try_chains(firewall, tables=wanted, state="absent" if "absent" in case else "present")
    assert ("xtables lock" if locks else "nothing was changed: line 9 failed") in result["msg"]
    assert state(firewall) == saved


def test_loop_closed_by_foreign_rules_is_refused(firewall: Firewall) -> None:
    """A loop that only the node's own rules close: no trial can know."""
    firewall.load(FOREIGN)
    firewall("-N THEIRS")
    try_chains(firewall, tables={"filter": {"chains": {"LB-X": []}, "jumps": {"INPUT": [{"rule": "-j LB-X"}]}}})
    firewall("-A THEIRS -j LB-X")
    saved = state(firewall)
    tables = {
        "mangle": {"chains": {"LB-X": ["-j ACCEPT"]}},
        "filter": {"chains": {"LB-X": ["-j THEIRS"]}, "jumps": {"INPUT": [{"rule": "-j LB-X"}]}},
    }
    result = try_chains(firewall, tables=tables)
    assert "refused the change, and nothing was changed: " in result["msg"]
    assert state(firewall) == saved


@pytest.mark.parametrize("locks", [False, True], ids=["refused", "locked"])
def test_failed_rollback_is_reported(firewall: Firewall, monkeypatch: pytest.MonkeyPatch, locks: bool) -> None:
    Meddler(monkeypatch, locks, bars_the_way_back=True)
    message = try_chains(firewall, tables={name: {"chains": {"LB-X": []}} for name in ("raw", "mangle")})["msg"]
    assert "failed during the change, and also failed to undo it (" in message
    assert ("xtables lock" if locks else "(line 9 failed). To undo it, run: *") in message
    assert message.endswith(":LB-X - [0:0]\n-X LB-X\nCOMMIT\n")


def test_failure_of_the_second_family_rolls_back_the_first(firewall: Firewall, monkeypatch: pytest.MonkeyPatch) -> None:
    restore = Iptables.restore

    def broken(tool: Iptables, text: str, lock_file: str = "") -> Completed:
        if tool.family == "ipv6" and not lock_file:
            raise OSError("no more memory")
        return restore(tool, text, lock_file)

    for before in (True, False):
        declared = {"nat": WantedTable({"LB-X": ["-j ACCEPT"]}, {})}
        tools = [Iptables(family, firewall.backend) for family in ("ipv4", "ipv6")]
        saves = [iptables_change.Declaration(tool, "LB-", declared) for tool in tools]
        iptables_change.Change(saves if before else [d._replace(wanted={}) for d in saves], exact=False).apply()
        saved = [state(Firewall(firewall.backend, family)) for family in ("ipv4", "ipv6")]
        with monkeypatch.context() as patch:
            patch.setattr(Iptables, "restore", broken)
            wanted = [d._replace(wanted={} if before else declared) for d in saves]
            with pytest.raises(OSError, match="no more memory"):
                iptables_change.Change(wanted, exact=False).apply()
        assert [state(Firewall(firewall.backend, family)) for family in ("ipv4", "ipv6")] == saved


@contextlib.contextmanager
def changed_after_reading(firewall: Firewall, monkeypatch: pytest.MonkeyPatch, rule: str) -> Iterator[None]:
    """Another program changes a rule once, right after the module has read the rules."""
    save, turns = Iptables.save, iter([lambda: firewall(rule)])

    def then_meddle(tool: Iptables, *arguments: Any) -> Ruleset:
        read = save(tool, *arguments)
        next(turns, lambda: None)()
        return read

    with monkeypatch.context() as patch:
        patch.setattr(Iptables, "save", then_meddle)
        yield


@pytest.mark.parametrize("rule", ["-A FORWARD -j THEIRS", "-I FORWARD -j THEIRS", "-D FORWARD -j DOCKER-USER"])
def test_concurrent_foreign_changes_are_kept(firewall: Firewall, monkeypatch: pytest.MonkeyPatch, rule: str) -> None:
    """They change the very chain, after it was read and before it is written."""
    firewall.load(FOREIGN)
    firewall("-N THEIRS")
    tables = {
        "filter": {
            "chains": {"LB-X": []},
            "jumps": {"FORWARD": [{"rule": "-j LB-X"}, {"rule": "-p tcp -j LB-X", "position": "last"}]},
        }
    }
    try_chains(firewall, tables=OURS)
    with changed_after_reading(firewall, monkeypatch, rule):
        result = try_chains(firewall, tables=tables, diff=False)
    assert result["changed"]
    theirs = [kept for kept in firewall.chains()["filter FORWARD"] if "LB-" not in kept]
    expected = {"-A": ["-j DOCKER-USER", "-j THEIRS"], "-I": ["-j THEIRS", "-j DOCKER-USER"], "-D": []}
    assert theirs == expected[rule[:2]]
    try_chains(firewall, tables=tables)
    found = firewall.chains()["filter FORWARD"]
    assert found == ["-j LB-X", *theirs, "-p tcp -j LB-X"]


@pytest.mark.parametrize("meanwhile", ["-F LB-X", "-D FORWARD -j LB-Y", "-N LB-NEW"])
def test_concurrent_changes_to_our_rules_are_repaired(
    firewall: Firewall, monkeypatch: pytest.MonkeyPatch, meanwhile: str
) -> None:
    firewall.load(FOREIGN)
    try_chains(firewall, tables=OURS)
    with changed_after_reading(firewall, monkeypatch, meanwhile):
        try_chains(firewall, state="absent")
    assert not [name for name in firewall.chains() if "LB-" in name and "NEW" not in name]


def test_concurrent_runs_are_serialised(firewall: Firewall) -> None:
    """Each declares another chain and jump in several tables: the end is all of the one and nothing of the other."""
    wanted = {
        name: {
            table: {"chains": {name: ["-j ACCEPT"]}, "jumps": {"OUTPUT": [{"rule": "-j " + name}]}}
            for table in ("raw", "mangle", "nat", "filter")
        }
        for name in ("LB-ONE", "LB-TWO")
    }
    for dummy in range(4):
        both = [
            start_module("iptables_chains", backend=firewall.backend, prefix="LB-", tables=tables)
            for tables in wanted.values()
        ]
        assert [finish_module(process).get("msg", "") for process in both] == ["", ""]
        found = {place.split()[1] for place in firewall.chains() if "LB-" in place}
        assert found in ({"LB-ONE"}, {"LB-TWO"})
        (last,) = found
        assert not try_chains(firewall, tables=wanted[last])["changed"]


def test_module_waits_for_the_xtables_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the legacy backend takes it. A lock file of the test's own: nobody else waits for it."""
    lock = tmp_path / "lock"
    monkeypatch.setenv("XTABLES_LOCKFILE", str(lock))
    firewall = Firewall("legacy")
    tables: dict[str, Any] = {"filter": {"chains": {"LB-X": []}}}
    with lock.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        before = firewall.save()
        assert try_chains(firewall, tables=tables, wait=1)["msg"] == (
            "another program has held the xtables lock for 1 s, and nothing was changed: "
            "find it with `fuser /run/xtables.lock`, or increase the option wait"
        )
        assert firewall.save() == before
        assert try_chains(firewall, check_mode=True, tables=tables, wait=1)["changed"]
        started = start_module("iptables_chains", backend="legacy", prefix="LB-", tables=tables, wait=60)
        wait_for_lock(file.fileno(), started.pid)
        fcntl.flock(file, fcntl.LOCK_UN)
    assert finish_module(started)["changed"]
    assert "filter LB-X" in firewall.chains()


def wait_for_lock(descriptor: int, pid: int) -> None:
    """Until a process stands in line for a lock that this one holds."""
    inode = os.fstat(descriptor).st_ino
    pause = threading.Event()
    for dummy in range(1500):
        lines = Path("/proc/locks").read_text(encoding="ascii").splitlines()
        if any("->" in line and ":%d " % inode in line for line in lines):
            return
        pause.wait(0.02)
    raise AssertionError("process %d does not wait for the lock" % pid)
