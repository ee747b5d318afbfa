# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""ipset on a real kernel, beside the sets of others."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Iterable

import pytest

from ansible_collections.homelab.loadbalancer.plugins.module_utils._common.command import Completed, run
from ansible_collections.homelab.loadbalancer.plugins.module_utils._ipset import node as ipset_tool
from ansible_collections.homelab.loadbalancer.plugins.module_utils._iptables.node import Iptables
from ansible_collections.homelab.loadbalancer.tests.integration.namespaces import (
    BACKENDS,
    Firewall,
    finish_module,
    module,
    run_at_boot,
    start_module,
)
from ansible_collections.homelab.loadbalancer.tests.integration.sets import converge, entries, ipset, lines, sets

pytestmark = pytest.mark.usefixtures("fresh_node")

FOREIGN = """\
create KUBE-CLUSTER-IP hash:ip,port family inet counters
add KUBE-CLUSTER-IP 10.96.0.1,tcp:443 packets 5 bytes 300
create f2b-sshd hash:ip timeout 600
add f2b-sshd 192.0.2.7
create all list:set size 8
add all f2b-sshd
"""
A = {"name": "LB-A", "type": "hash:ip", "entries": ["10.0.0.1", "10.0.0.2"]}
B = {"name": "LB-B", "type": "hash:net,port", "entries": ["10.0.0.0/8,http"]}
L = {"name": "LB-L", "type": "list:set", "entries": ["LB-B", "LB-A"]}


def refusal(**options: Any) -> str:
    """The message of a declaration that fails, in check mode as in a real run, and changes nothing."""
    before, said = lines(counters=True), set()
    for check_mode in (True, False):
        for diff in (True, False):
            result = module("ipset", check_mode, diff, **options)
            assert result.get("failed"), result
            said.add(result["msg"])
            assert lines(counters=True) == before
    assert len(said) == 1, said
    return str(said.pop())


def test_sets_lifecycle_beside_foreign_sets() -> None:
    ipset("restore", FOREIGN)
    foreign = ipset("save")
    assert converge(prefix="LB-", sets=[L, A, B])["changed"]
    assert entries("LB-L") == ["LB-B", "LB-A"]
    assert converge(prefix="LB-", sets=[{**L, "entries": ["LB-A", "f2b-sshd"]}, A])["changed"]
    assert "create LB-B" not in ipset("save")
    assert converge(prefix="LB-", sets=[A])["changed"]
    assert converge(sets=[B])["changed"]  # without a prefix, what is not listed stays
    assert sorted(entries("LB-A")) == ["10.0.0.1", "10.0.0.2"]
    assert converge(prefix="LB-", state="absent")["changed"]
    now = re.sub(r"timeout \d+", "timeout N", ipset("save"))
    assert now == re.sub(r"timeout \d+", "timeout N", foreign)


def test_diff_equals_ipset_save() -> None:
    sets(sets=[{**A, "comment": True}])
    result = sets(sets=[{**A, "comment": True, "entries": ["10.0.0.2", '10.0.0.9-10.0.0.10 comment "x"']}])
    header = "create LB-A hash:ip family inet maxelem 65536 comment bucketsize 12\n"
    assert result["diff"] == [
        {
            "before_header": "ipset save",
            "after_header": "ipset save",
            "before": header + "add LB-A 10.0.0.1\nadd LB-A 10.0.0.2\n",
            "after": header + 'add LB-A 10.0.0.10 comment "x"\nadd LB-A 10.0.0.2\nadd LB-A 10.0.0.9 comment "x"\n',
        }
    ]


def test_counters_and_timeouts_are_kept() -> None:
    """What was counted and the time that is left stay through additions, swaps and new options."""
    several = {"name": "LB-A", "type": "hash:ip", "timeout": 1000, "counters": True}
    sets(sets=[{**several, "entries": ["10.0.0.1", "10.0.0.2 timeout 500"]}])
    ipset("-exist add LB-A 10.0.0.1 timeout 70 packets 7 bytes 700")
    ipset("-exist add LB-A 10.0.0.2 timeout 80 packets 8 bytes 800")
    assert not sets(sets=[{**several, "entries": ["10.0.0.1", "10.0.0.2 timeout 500"]}])["changed"]

    def kept() -> None:
        found = dict(re.findall(r"add LB-A 10.0.0.([12]) timeout (\d+) packets [78] bytes [78]00", ipset("save")))
        assert 0 < int(found["1"]) <= 70 < 80 + 1 and 0 < int(found["2"]) <= 80

    converge(sets=[{**several, "entries": ["10.0.0.1", "10.0.0.2", "10.0.0.3"]}])
    kept()
    converge(sets=[{**several, "entries": ["10.0.0.1-10.0.0.2", "10.0.1.0/24"]}])  # much changes: a swap
    kept()
    converge(sets=[{**several, "comment": True, "entries": ["10.0.0.1-10.0.0.2"]}])  # an option too
    kept()
    # An entry for ever is another thing than one for a time.
    assert converge(sets=[{**several, "comment": True, "entries": ["10.0.0.1 timeout 0", "10.0.0.2"]}])["changed"]


def test_options_change_by_swap_while_a_rule_looks() -> None:
    sets(sets=[A])
    firewall = Firewall("nft")
    firewall("-A INPUT -m set --match-set LB-A src -j DROP")
    for options in ({"maxelem": 10}, {"timeout": 9}, {"comment": True, "counters": True}, {"hashsize": 4096}, {}):
        converge(sets=[{**A, **options}])
        header = next(line for line in ipset("save LB-A").splitlines() if line.startswith("create"))
        for key, value in options.items():
            assert (" %s" % key if value is True else " %s %s" % (key, value)) in header
        assert "References: 1" in ipset("list -terse LB-A")
    # What grew by itself is as declared.
    assert not sets(sets=[{**A, "hashsize": 1024}])["changed"]


def test_later_entry_for_the_same_address_wins() -> None:
    each = {"name": "LB-A", "type": "hash:ip", "comment": True}
    converge(sets=[{**each, "entries": ['10.0.0.0/30 comment "all"', '10.0.0.1 comment "one"', "10.0.0.2/32"]}])
    assert sorted(entries("LB-A"))[:3] == ['10.0.0.0 comment "all"', '10.0.0.1 comment "one"', "10.0.0.2"]
    assert sorted(entries("LB-A"))[3:] == ['10.0.0.3 comment "all"']


def test_a_shared_set_keeps_its_options_and_the_entries_of_others() -> None:
    ipset("create shared hash:ip timeout 100 comment maxelem 4")
    ipset("add shared 192.0.2.1 comment theirs")
    each = {"name": "shared", "type": "hash:ip", "append": True}
    assert converge(sets=[{**each, "entries": ["10.0.0.2-10.0.0.3"]}])["changed"]
    assert "timeout 100 comment" in ipset("save shared")
    assert "fit into the set shared, which has room for 4" in refusal(
        sets=[{**each, "entries": ["10.0.0.4", "10.0.0.5"]}]
    )
    assert converge(sets=[{**each, "entries": ["10.0.0.2", "10.9.9.9"]}], state="absent")["changed"]
    assert sorted(entries("shared")) == ["10.0.0.3", '192.0.2.1 comment "theirs"']
    assert "is there already, as hash:ip family inet" in refusal(sets=[{**each, "type": "hash:net"}])


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_set_in_use_cannot_go_nor_become_another(backend: str) -> None:
    sets(sets=[A, B, L])
    own = backend == Iptables("ipv4").backend  # which is called by its plain name
    Firewall(backend)("-A INPUT -p tcp -m set ! --match-set LB-A src -j DROP")
    command = "iptables" if own else "iptables-" + backend
    rule = "the rule `%s -t filter -A INPUT -p tcp -m set ! --match-set LB-A src -j DROP`" % command
    said = refusal(sets=[{"name": "LB-A"}], state="absent")
    assert said == (
        "the set LB-A cannot go, because it is in use by %s and the list LB-L: remove it there first" % rule
    )
    assert rule in refusal(prefix="LB-", state="absent")
    assert "cannot become hash:net, because it is in use by %s" % rule in refusal(sets=[{**A, "type": "hash:net"}])
    assert "the set LB-B cannot go, because it is in use by the list LB-L" in refusal(
        sets=[{"name": "LB-B"}], state="absent"
    )
    # What the same task takes out of use may go.
    converge(sets=[{**L, "entries": ["LB-A"]}, {**B, "type": "hash:net", "entries": ["10.0.0.0/8"]}])
    Firewall(backend)("-F INPUT")
    assert converge(prefix="LB-", state="absent")["changed"]
    assert lines() == []


def test_boot_file_restores_the_sets(tmp_path: Path) -> None:
    ipset("restore", FOREIGN)
    foreign = lines()
    file = tmp_path / "sets"
    several = {"prefix": "LB-", "sets": [L, A, B], "save_to": str(file)}
    result = converge(**several)
    saved = lines()
    assert sets(**several)["boot"] == result["boot"] == ["ipset -exist -file %s restore" % file]
    for dummy in range(2):  # as a service that is started again
        run_at_boot(result["boot"])
        assert lines() == saved
    for name in ("LB-L", "LB-A", "LB-B"):
        ipset("destroy " + name)
    run_at_boot(result["boot"])
    assert lines() == saved
    file.write_text("")
    (shown,) = converge(**several)["diff"]
    assert (shown["after_header"], shown["after"]) == (str(file), file.read_text())
    assert converge(**{**several, "state": "absent"})["boot"] == []
    assert not file.exists()
    assert lines() == foreign
    missing = module("ipset", sets=[A], save_to=str(tmp_path / "nowhere" / "sets"))
    assert "create it first" in missing["msg"]
    assert sets(check_mode=True, sets=[A], save_to=str(tmp_path / "nowhere" / "sets"))["changed"]


def test_entries_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "blocklist"
    file.write_text("# a comment\n\n10.0.0.0/8\n  192.0.2.1  \n")
    each = {"name": "LB-N", "type": "hash:net", "entries_file": str(file), "entries": ["11.0.0.0/8"]}
    assert converge(sets=[each])["changed"]
    assert sorted(entries("LB-N")) == ["10.0.0.0/8", "11.0.0.0/8", "192.0.2.1"]
    file.write_text("10.0.0.0/8\nwww.example.org\n")
    assert "sets[0].entries_file %s, line 2: www.example.org has no IPv4 address" % file in refusal(sets=[each])


def test_missing_ipset_is_refused_and_predicted(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(argv: list[str], *rest: Any, **more: Any) -> Completed:
        return run(["no-such-" + argv[0], *argv[1:]], *rest, **more)

    monkeypatch.setattr(ipset_tool, "run", missing)
    assert module("ipset", sets=[A])["msg"] == "ipset is not installed: install the package ipset"
    predicted = sets(check_mode=True, sets=[A])
    assert predicted["changed"]
    assert predicted["warnings"] == ["ipset is not installed: install the package ipset. Nothing more can be predicted"]


BAD: dict[str, tuple[dict[str, Any], str]] = {
    "unknown type": ({"type": "hash:foo"}, "sets[1] is refused by ipset: Syntax error: typename 'hash:foo' is unknown"),
    "option of another type": (
        {"type": "bitmap:port", "range": "0-9", "maxelem": 5, "entries": []},
        "sets[1] is refused by ipset: Unknown argument: `maxelem'",
    ),
    "not a port": ({"type": "hash:ip,port", "entries": ["10.0.0.1,tcp:99999"]}, "sets[1].entries[0] `10.0.0.1,tcp:99"),
    "out of range": (
        {"type": "bitmap:port", "range": "0-9", "entries": ["3", "10"]},
        "sets[1].entries[1] `10` is refused by ipset: ",
    ),
    "no such set": ({"type": "list:set", "entries": ["LB-OK", "nowhere"]}, "sets[1].entries[1] `nowhere` is refused"),
    "one that goes": ({"type": "list:set", "entries": ["LB-GONE"]}, "sets[1].entries[0] `LB-GONE` is refused"),
    "full": ({"maxelem": 2, "entries": ["10.0.0.0/29"]}, "sets[1].entries[0] `10.0.0.0/29` is refused by ipset: Hash"),
    "option not on": (
        {"entries": ["10.0.0.1", '10.0.0.2 comment "x"']},
        'sets[1].entries[1] `10.0.0.2 comment "x"` is refused by ipset: ',
    ),
    "unknown word": ({"entries": ["10.0.0.1 forever"]}, "sets[1].entries[0] `10.0.0.1 forever` is refused by ipset: "),
}


@pytest.mark.parametrize("there", [False, True])
@pytest.mark.parametrize("case", BAD)
def test_refusal_by_ipset_names_the_entry_and_changes_nothing(case: str, there: bool) -> None:
    options, said = BAD[case]
    ipset("restore", FOREIGN)
    ipset("create LB-GONE hash:ip")
    if there:
        sets(sets=[{"name": "LB-X", "type": "hash:ip", "entries": ["10.9.9.9"]}])
    each = {"name": "LB-X", "type": "hash:ip", **options}
    ok = {"name": "LB-OK", "type": "hash:ip", "entries": ["10.0.0.0/24"]}
    assert refusal(prefix="LB-", sets=[ok, each]).startswith(said)


@pytest.mark.parametrize("case", ["add", "swap", "destroy"])
def test_failure_halfway_is_rolled_back(case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """By another hand in the middle of the change, every time it is tried."""
    ipset("restore", FOREIGN)
    sets(prefix="LB-", sets=[A, B, L])
    before = lines(counters=True)
    restore = ipset_tool.restore
    failed: list[str] = []

    def instead(text: Iterable[str]) -> Completed:
        text = list(text)
        last = max((i for i, line in enumerate(text) if line.startswith(case)), default=0)
        if text[-1].startswith("save"):
            return restore(text)
        if len(failed) % 2:
            failed.append("undone")
            return restore(text)
        failed.append("refused")
        return restore([*text[:last], "add nowhere 10.0.0.1"])

    monkeypatch.setattr(ipset_tool, "restore", instead)
    more = {"name": "LB-C", "type": "hash:ip", "entries": ["10.0.0.9"]}
    result = module("ipset", prefix="LB-", sets=[{**A, "comment": True, "entries": ["10.0.0.1"]}, more])
    assert "nothing was changed: The set with the given name does not exist" in result["msg"], result
    assert failed == ["refused", "undone"] * 3
    assert lines(counters=True) == before


def test_module_runs_as_a_process() -> None:
    """As Ansible starts it."""
    result = finish_module(start_module("ipset", sets=[A, B]))
    assert result["changed"]
    assert not finish_module(start_module("ipset", sets=[B, A]))["changed"]
