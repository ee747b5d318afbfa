# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""iptables_chains when something is in the way: the node stays as it was, and the message says what to do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ansible_collections.homelab.loadbalancer.plugins.module_utils._common.command import run
from ansible_collections.homelab.loadbalancer.plugins.module_utils._iptables.node import Iptables
from ansible_collections.homelab.loadbalancer.tests.integration.iptables.others import FOREIGN, OURS, state
from ansible_collections.homelab.loadbalancer.tests.integration.namespaces import (
    BACKENDS,
    Firewall,
    idle_tables,
    module,
    try_chains,
)

pytestmark = pytest.mark.usefixtures("fresh_node")


@pytest.fixture(params=BACKENDS)
def firewall(request: pytest.FixtureRequest) -> Firewall:
    return Firewall(str(request.param))


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
def test_rule_refused_by_its_hook_is_named(firewall: Firewall, declared: bool) -> None:
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
def test_refusal_by_hooks_of_a_foreign_chain_is_named(firewall: Firewall, case: str) -> None:
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


def test_missing_anchor_is_refused(firewall: Firewall) -> None:
    firewall.load(FOREIGN)
    tables = {"nat": {"chains": {"LB-X": []}, "jumps": {"PREROUTING": [{"rule": "-j LB-X", "after": "KUBE-SERVICES"}]}}}
    assert refusal(firewall, tables) == (
        "tables.nat.jumps.PREROUTING: no rule there jumps to KUBE-SERVICES, to stand after"
    )


def test_jump_that_expands_to_several_rules_is_refused(firewall: Firewall) -> None:
    tables = {"nat": {"chains": {"LB-X": []}, "jumps": {"PREROUTING": [{"rule": "-s 10.0.0.1,10.0.0.2 -j LB-X"}]}}}
    assert refusal(firewall, tables) == ("tables.nat.jumps.PREROUTING: iptables makes several rules of one jump there")


def test_chain_used_by_foreign_rules_is_not_removed(firewall: Firewall) -> None:
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


def test_foreign_comments_with_any_character_are_kept(firewall: Firewall) -> None:
    for text in ("two\nlines -j LB-X", "next\u0085line", "\u2028", "form\ffeed", "it's", "-j", '"'):
        run([firewall.command, "-A", "INPUT", "-m", "comment", "--comment", text, "-j", "ACCEPT"])
    before = firewall.save()
    tables = {"filter": {"chains": {"LB-X": []}, "jumps": {"INPUT": [{"rule": "-j LB-X"}]}}}
    assert try_chains(firewall, tables=tables)["changed"]
    assert not try_chains(firewall, tables=tables)["changed"]
    assert try_chains(firewall, state="absent")["changed"]
    assert firewall.save() == before


@pytest.mark.parametrize("wait", [0, -1])
def test_wait_below_one_second_is_refused(firewall: Firewall, wait: int) -> None:
    assert refusal(firewall, {}, wait=wait) == "wait %d is too short: write 1 second at least" % wait


def test_missing_backend_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Iptables, "command_of", lambda tool, backend: "iptables-nowhere")
    plain = Firewall(Iptables("ipv4").backend)
    other = {"nft": "legacy", "legacy": "nft"}[plain.backend]
    result = module("iptables_chains", prefix="LB-", backend=other)
    assert result["msg"] == "backend %s needs iptables-nowhere, which is not installed; " % other + (
        "the node's own backend is %s" % plain.backend
    )
