# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""iptables_chains when something is in the way: the node stays as it was, and the message says what to do."""

from __future__ import annotations

import fcntl
import os
import threading
from pathlib import Path
from typing import Any, Iterator

import pytest

from ansible_collections.homelab.loadbalancer.plugins.module_utils._common.command import Completed, run
from ansible_collections.homelab.loadbalancer.plugins.module_utils._iptables import plan as iptables
from ansible_collections.homelab.loadbalancer.plugins.module_utils._iptables import run as iptables_run
from ansible_collections.homelab.loadbalancer.plugins.module_utils._iptables.node import Iptables, LockError
from ansible_collections.homelab.loadbalancer.plugins.module_utils._iptables.rules import Ruleset, WantedTable
from ansible_collections.homelab.loadbalancer.tests.integration.namespaces import (
    BACKENDS,
    Firewall,
    finish_module,
    fresh_network,
    idle_tables,
    module,
    start_module,
    try_chains,
    without_empty_tables,
)

FOREIGN = """\
*nat
:DOCKER - [0:0]
-A PREROUTING -j DOCKER
COMMIT
*filter
:FORWARD DROP [0:0]
:DOCKER-USER - [0:0]
-A FORWARD -j DOCKER-USER
COMMIT
"""
OURS: dict[str, Any] = {
    "nat": {"chains": {"LB-X": ["-j RETURN"]}, "jumps": {"PREROUTING": [{"rule": "-j LB-X", "position": "last"}]}},
    "filter": {
        "chains": {"LB-X": ["-j DROP"], "LB-Y": []},
        "jumps": {"FORWARD": [{"rule": "-j LB-X", "before": "DOCKER-USER"}, {"rule": "-j LB-Y"}]},
    },
}


@pytest.fixture(autouse=True)
def _node() -> Iterator[None]:
    with fresh_network():
        yield


@pytest.fixture(params=BACKENDS)
def firewall(request: pytest.FixtureRequest) -> Firewall:
    return Firewall(str(request.param))


def state(firewall: Firewall) -> str:
    """The node as it may be told from another: a table in use once, in the legacy backend, is there for good."""
    saved = firewall.save(counters=True)
    return without_empty_tables(saved) if firewall.backend == "legacy" else saved


def refusal(firewall: Firewall, tables: Any, **options: Any) -> str:
    """The message of a declaration that fails, in check mode as in a real run, and changes nothing."""
    before, tables_before = state(firewall), idle_tables(firewall.save())
    said = set()
    for check_mode in (True, False):
        for diff in (True, False):
            result = try_chains(firewall, check_mode, diff, tables=tables, **options)
            assert result.get("failed"), result
            said.add(result["msg"])
            assert state(firewall) == before
            if check_mode:
                assert idle_tables(firewall.save()) == tables_before
    assert len(said) == 1
    return str(said.pop())


BAD = {
    "unknown option": ("filter", "--nonsense 5 -j DROP", "unknown option"),
    "unknown target": ("filter", "-j NONSENSE", "NONSENSE"),
    "unknown match": ("filter", "-m nonsense -j DROP", "nonsense"),
    "not of this table": ("filter", "-j MASQUERADE", ""),
    "not an address": ("filter", "-s 10.0.0.300 -j DROP", "10.0.0.300"),
    "not a port": ("filter", "-p tcp --dport 65536 -j DROP", "65536"),
    "no protocol": ("filter", "--dport 80 -j DROP", "dport"),
    "other family": ("filter", "-s fd00::1 -j DROP", "fd00::1"),
    "no target's option": ("nat", "-j DNAT", "to-destination"),
    "a chain that is nowhere": ("nat", "-j LB-NOWHERE", "LB-NOWHERE"),
    "with the chain's name": ("filter", "-A LB-X -j DROP", ""),
    "with the table's name": ("filter", "-t filter -j DROP", ""),
    "help": ("filter", "-h", "leave out -h, -V and -v"),
    "help of a match": ("filter", "-p tcp --help", "leave out -h, -V and -v"),
    "version": ("filter", "-j DROP --version", "leave out -h, -V and -v"),
    "a set that is not there": ("filter", "-m set --match-set  nowhere src -j DROP", "the ipset nowhere is not on the"),
}


@pytest.mark.parametrize("declared", [True, False])
@pytest.mark.parametrize("case", BAD)
def test_a_bad_rule_is_named_and_nothing_changes(firewall: Firewall, case: str, declared: bool) -> None:
    """Also in the last table, where the backends have committed those before it."""
    table, rule, said = BAD[case]
    firewall.load(FOREIGN)
    if declared:
        try_chains(firewall, tables=OURS)
    good: dict[str, Any] = {"chains": {"LB-X": ["-j ACCEPT"]}}
    tables = {name: good for name in ("raw", "mangle", "nat", "filter") if name != table}
    tables[table] = {"chains": {"LB-X": ["-p tcp --dport 80 -j ACCEPT"], "LB-Y": ["", "-s 10.0.0.1,10.0.0.2", rule]}}
    message = refusal(firewall, tables)
    assert message.startswith("tables.%s.chains.LB-Y[2] `%s`" % (table, rule))
    assert said in message


@pytest.mark.parametrize("declared", [True, False])
def test_a_rule_that_its_hook_refuses_is_named(firewall: Firewall, declared: bool) -> None:
    """DNAT is fine in a chain that nothing leads to, and so is a jump to a chain."""
    nat: dict[str, Any] = {"chains": {"LB-X": ["-p tcp -j DNAT --to-destination 10.0.0.1:80"]}, "jumps": {}}
    if declared:
        assert try_chains(firewall, tables={"nat": nat})["changed"]
    nat["jumps"] = {"POSTROUTING": [{"rule": "-j LB-X"}]}
    message = refusal(firewall, {"nat": nat, "filter": {"chains": {"LB-X": []}}})
    assert message.startswith(("tables.nat.chains.LB-X[0] `-p tcp", "tables.nat.jumps.POSTROUTING[0] `-j LB-X`"))


THEIRS = {
    "one that ours leads to": ("-A THEIRS -j MASQUERADE", {"LB-X": ["-p udp", "-j THEIRS"]}, "PREROUTING"),
    "one further below": ("-N MORE\n-A THEIRS -j MORE\n-A MORE -j MASQUERADE", {"LB-X": ["-j THEIRS"]}, "PREROUTING"),
    "one that leads to ours": (
        "-N MORE\n-A POSTROUTING -j MORE\n-A MORE -p tcp -g THEIRS",
        {"LB-X": ["-p tcp -j DNAT --to-destination 10.0.0.1:80"]},
        "THEIRS",
    ),
}


@pytest.mark.parametrize("case", THEIRS)
def test_what_the_hooks_of_a_chain_of_others_refuse_is_named(firewall: Firewall, case: str) -> None:
    theirs, ours, host = THEIRS[case]
    for line in ["-N THEIRS", *theirs.splitlines()]:
        firewall(line, "nat")
    tables = {"nat": {"chains": ours, "jumps": {host: [{"rule": "-j LB-X"}]}}}
    message = refusal(firewall, tables)
    assert message.startswith("tables.nat.")
    assert message.endswith("together with the chains of others that lead there or that it leads to")
    tables["nat"]["jumps"] = {"POSTROUTING": [{"rule": "-j LB-X"}]} if host == "PREROUTING" else {}
    assert try_chains(firewall, tables=tables)["changed"]


@pytest.mark.parametrize("declared", [True, False])
def test_a_loop_is_refused(firewall: Firewall, declared: bool) -> None:
    filter_table: dict[str, Any] = {
        "chains": {"LB-A": ["-j LB-B"], "LB-B": ["-j DROP"]},
        "jumps": {"INPUT": [{"rule": "-j LB-A"}]},
    }
    if declared:
        assert try_chains(firewall, tables={"filter": filter_table})["changed"]
    filter_table["chains"]["LB-B"] = ["-p tcp", "-p udp -j LB-A"]
    message = refusal(firewall, {"filter": filter_table})
    assert message.startswith("tables.filter.")


def test_an_anchor_that_is_missing_is_refused(firewall: Firewall) -> None:
    firewall.load(FOREIGN)
    tables = {"nat": {"chains": {"LB-X": []}, "jumps": {"PREROUTING": [{"rule": "-j LB-X", "after": "KUBE-SERVICES"}]}}}
    assert refusal(firewall, tables) == (
        "tables.nat.jumps.PREROUTING: no rule there jumps to KUBE-SERVICES, to stand after"
    )


def test_a_jump_that_is_several_rules_is_refused(firewall: Firewall) -> None:
    tables = {"nat": {"chains": {"LB-X": []}, "jumps": {"PREROUTING": [{"rule": "-s 10.0.0.1,10.0.0.2 -j LB-X"}]}}}
    assert refusal(firewall, tables) == ("tables.nat.jumps.PREROUTING: iptables makes several rules of one jump there")


def test_a_chain_that_others_use_cannot_go(firewall: Firewall) -> None:
    firewall.load(FOREIGN)
    try_chains(firewall, tables=OURS)
    firewall("-A DOCKER-USER -s 10.0.0.1 -j LB-X")
    said = (
        "tables.filter cannot lose the chain LB-X: rule 1 of DOCKER-USER, which is not ours, is "
        "`-s 10.0.0.1/32 -j LB-X`; remove that rule, or list DOCKER-USER under jumps"
    )
    assert refusal(firewall, {}) == said
    assert refusal(firewall, {}, state="absent") == said
    assert try_chains(firewall, tables={"filter": {"jumps": {"DOCKER-USER": []}}}, state="absent")["changed"]
    assert not [name for name in firewall.chains() if "LB-" in name]


def test_a_chain_that_our_own_rule_uses_must_be_declared(firewall: Firewall) -> None:
    try_chains(firewall, tables={"nat": {"chains": {"LB-A": [], "LB-B": ["-j LB-A"]}}})
    assert refusal(firewall, {"nat": {"chains": {"LB-B": ["", "-j LB-A"]}}}).startswith(
        "tables.nat.chains.LB-B[1] `-j LB-A` leads to the chain LB-A, which is not declared"
    )


def test_comments_of_others_with_any_character(firewall: Firewall) -> None:
    for text in ("two\nlines -j LB-X", "next\u0085line", "\u2028", "form\ffeed", "it's", "-j", '"'):
        run([firewall.command, "-A", "INPUT", "-m", "comment", "--comment", text, "-j", "ACCEPT"])
    before = firewall.save()
    tables = {"filter": {"chains": {"LB-X": []}, "jumps": {"INPUT": [{"rule": "-j LB-X"}]}}}
    assert try_chains(firewall, tables=tables)["changed"]
    assert not try_chains(firewall, tables=tables)["changed"]
    assert try_chains(firewall, state="absent")["changed"]
    assert firewall.save() == before


# What goes wrong only in the node itself: by another hand in the middle of the change.


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
def test_half_a_change_is_taken_back(
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


def test_the_rules_of_another_hand_are_what_stops_it(firewall: Firewall) -> None:
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
def test_a_way_back_that_is_barred_too_is_reported(
    firewall: Firewall, monkeypatch: pytest.MonkeyPatch, locks: bool
) -> None:
    Meddler(monkeypatch, locks, bars_the_way_back=True)
    message = try_chains(firewall, tables={name: {"chains": {"LB-X": []}} for name in ("raw", "mangle")})["msg"]
    assert "failed half-way, and then refused to take the change back (" in message
    assert ("xtables lock" if locks else "(line 9 failed). This would: *") in message
    assert message.endswith(":LB-X - [0:0]\n-X LB-X\nCOMMIT\n")


def test_when_the_second_family_fails_the_first_is_put_back(
    firewall: Firewall, monkeypatch: pytest.MonkeyPatch
) -> None:
    restore = Iptables.restore

    def broken(tool: Iptables, text: str, lock_file: str = "") -> Completed:
        if tool.family == "ipv6" and not lock_file:
            raise OSError("no more memory")
        return restore(tool, text, lock_file)

    for before in (True, False):
        declared = {"nat": WantedTable({"LB-X": ["-j ACCEPT"]}, {})}
        tools = [Iptables(family, firewall.backend) for family in ("ipv4", "ipv6")]
        saves = [iptables_run.Declaration(tool, "LB-", declared) for tool in tools]
        iptables_run.converge(saves if before else [d._replace(wanted={}) for d in saves], False, False)
        saved = [state(Firewall(firewall.backend, family)) for family in ("ipv4", "ipv6")]
        with monkeypatch.context() as patch:
            patch.setattr(Iptables, "restore", broken)
            wanted = [d._replace(wanted={} if before else declared) for d in saves]
            with pytest.raises(OSError, match="no more memory"):
                iptables_run.converge(wanted, False, False)
        assert [state(Firewall(firewall.backend, family)) for family in ("ipv4", "ipv6")] == saved


@pytest.mark.parametrize("rule", ["-A FORWARD -j THEIRS", "-I FORWARD -j THEIRS", "-D FORWARD -j DOCKER-USER"])
def test_what_somebody_else_does_meanwhile_is_kept(
    firewall: Firewall, monkeypatch: pytest.MonkeyPatch, rule: str
) -> None:
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
    save = Iptables.save
    turns = iter([lambda: firewall(rule)])

    def then_meddle(tool: Iptables, *arguments: Any) -> Ruleset:
        read = save(tool, *arguments)
        next(turns, lambda: None)()
        return read

    with monkeypatch.context() as patch:
        patch.setattr(Iptables, "save", then_meddle)
        result = try_chains(firewall, tables=tables, diff=False)
    assert result["changed"]
    theirs = [kept for kept in firewall.chains()["filter FORWARD"] if "LB-" not in kept]
    expected = {"-A": ["-j DOCKER-USER", "-j THEIRS"], "-I": ["-j THEIRS", "-j DOCKER-USER"], "-D": []}
    assert theirs == expected[rule[:2]]
    try_chains(firewall, tables=tables)
    found = firewall.chains()["filter FORWARD"]
    assert found == ["-j LB-X", *theirs, "-p tcp -j LB-X"]


@pytest.mark.parametrize("meanwhile", ["-F LB-X", "-D FORWARD -j LB-Y", "-N LB-NEW"])
def test_what_somebody_else_does_to_ours_is_mended(
    firewall: Firewall, monkeypatch: pytest.MonkeyPatch, meanwhile: str
) -> None:
    firewall.load(FOREIGN)
    try_chains(firewall, tables=OURS)
    save, turns = Iptables.save, iter([lambda: firewall(meanwhile)])

    def then_meddle(tool: Iptables, *arguments: Any) -> Ruleset:
        read = save(tool, *arguments)
        next(turns, lambda: None)()
        return read

    with monkeypatch.context() as patch:
        patch.setattr(Iptables, "save", then_meddle)
        try_chains(firewall, state="absent")
    assert not [name for name in firewall.chains() if "LB-" in name and "NEW" not in name]


def test_the_lock_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
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
            "find it by `fuser /run/xtables.lock`, or wait longer by the option wait"
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


@pytest.mark.parametrize("wait", [0, -1])
def test_a_wait_that_is_none_is_refused(firewall: Firewall, wait: int) -> None:
    assert refusal(firewall, {}, wait=wait) == "wait %d is too short: write 1 second at least" % wait


def test_a_backend_that_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Iptables, "command_of", lambda tool, backend: "iptables-nowhere")
    plain = Firewall(Iptables("ipv4").backend)
    other = {"nft": "legacy", "legacy": "nft"}[plain.backend]
    result = module("iptables_chains", prefix="LB-", backend=other)
    assert result["msg"] == "the backend %s is asked for, but iptables-nowhere is not installed; " % other + (
        "the node's own backend is %s" % plain.backend
    )
