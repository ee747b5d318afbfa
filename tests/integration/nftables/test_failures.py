# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""nftables_table with wrong input, refused changes and killed runs: nothing changes, or the next run completes it."""

from __future__ import annotations

import contextlib
import os
import random
import re
import subprocess
import time
from pathlib import Path
from typing import Any, Callable

import pytest

from ansible_collections.homelab.loadbalancer.plugins.module_utils._common.command import Completed
from ansible_collections.homelab.loadbalancer.plugins.module_utils._nftables import node
from ansible_collections.homelab.loadbalancer.tests.integration.namespaces import (
    Firewall,
    finish_module,
    kill_module,
    module,
    start_module,
)
from ansible_collections.homelab.loadbalancer.tests.integration.nftables.tables import (
    FOREIGN,
    declare,
    listing,
    load,
    nft,
    others,
    try_table,
)

pytestmark = pytest.mark.usefixtures("fresh_node")

KILLS = 8
START = "set s { type ipv4_addr; elements = { 10.0.0.1 }; }\nchain c { ip saddr @s counter drop; }"


def refusal(content: str, **options: Any) -> str:
    """The message of a refused declaration. Check mode and a real run have the same one, and change nothing."""
    before, said = nft("-a list ruleset"), set()
    for check_mode in (True, False):
        result = try_table(check_mode, content=content, **options)
        assert result.get("failed"), result
        said.add(result["msg"])
        assert nft("-a list ruleset") == before
    assert len(said) == 1
    return str(said.pop())


BAD = {
    "syntax": ("chain c {\n  tcp dport 80 accpt\n}", "line 2 `tcp dport 80 accpt` is refused by nft: syntax error"),
    "not an address": ("chain c {\n ip saddr 10.0.0.300 drop\n}", "line 2 `ip saddr 10.0.0.300 drop` is refused"),
    "no such set": ("chain c {\n\n ip saddr @none drop\n}", "line 3 `ip saddr @none drop` is refused by nft: No such"),
    "no such chain": ("chain c {\n accept; jump none\n}", "line 2 `accept; jump none` is refused by nft: Could not"),
    "another type": ("set s { type mark; }\nchain c {\n ip saddr @s drop\n}", "line 3 `ip saddr @s drop` is refused"),
    "overlap": (
        "set s { type ipv4_addr; flags interval\n elements = { 10.0.0.0/8,\n 10.0.0.0/9 }\n}",
        " is refused by nft: conflicting intervals specified",
    ),
    "another table": ("chain c { }\n}\ntable ip site {\n chain c { }", "line 2 closes a brace that it did not open"),
    "flush": ("chain c { }\nflush ruleset", "line 2 has the command `flush`"),
    "include": ('include "/etc/nftables.conf"', "line 1 includes a file"),
}
# Only the kernel refuses these, and does not always tell nft the line.
BAD_FOR_THE_KERNEL = {
    "hook": "chain c {\n type nat hook forward priority 0\n}",
    "loop": "chain a {\n type filter hook input priority 0\n jump b\n}\nchain b {\n jump a\n}",
}


@pytest.mark.parametrize("case", BAD)
def test_refused_line_is_named(case: str) -> None:
    content, said = BAD[case]
    load(FOREIGN)
    declare(START)
    message = refusal(content)
    assert message.startswith("content line ")
    assert said in message


@pytest.mark.parametrize("case", BAD_FOR_THE_KERNEL)
def test_content_refused_by_the_kernel_changes_nothing(case: str) -> None:
    load(FOREIGN)
    declare(START)
    message = refusal(BAD_FOR_THE_KERNEL[case])
    assert re.match(r"(content line \d `.*`|name site or the content as a whole) is refused by nft: ", message), message


def test_table_of_iptables_is_refused() -> None:
    Firewall("nft")("-A INPUT -s 192.0.2.1 -j DROP")
    said = "name filter is a table of iptables on this node, with the chain INPUT: choose another name"
    assert refusal("chain c { }", family="ip", name="filter") == said
    assert refusal("", family="ip", name="filter", state="absent") == said
    # An administrator's own table may have that name.
    own = {"family": "ip", "name": "nat", "content": "chain POSTROUTING { type nat hook postrouting priority srcnat; }"}
    assert module("nftables_table", **own)["changed"]
    assert not module("nftables_table", **own)["changed"]


def test_content_is_required() -> None:
    assert try_table()["msg"] == "state is present but all of the following are missing: content"


Load = Callable[[str], Completed]


def carried_out(monkeypatch: pytest.MonkeyPatch, instead: Callable[[str, int, Load], Completed]) -> list[str]:
    """Replace the transactions on the node, but not their trials. Returns the list of the replaced transactions."""
    real, asked = node.load, []

    def carry_out(text: str) -> Completed:
        if text.startswith("table "):
            return real(text)
        asked.append(text)
        return instead(text, len(asked), real)

    monkeypatch.setattr(node, "load", carry_out)
    return asked


REFUSED = Completed(("nft",), 1, "", "/dev/stdin:1:1-1: Error: Could not process rule: File exists\n")
OTHER = "set s { type ipv4_addr; flags interval; elements = { 10.0.0.0/25 }; }\nchain c { ip saddr @s counter drop; }"


def test_concurrent_change_by_others_makes_the_module_plan_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """The table changes after the module has read it."""
    declare(START)

    def meanwhile(text: str, number: int, real: Load) -> Completed:
        if number == 1:
            load("flush chain inet site c\nadd rule inet site c drop\nadd element inet site s { 10.0.0.9 }")
        return real(text)

    asked = carried_out(monkeypatch, meanwhile)
    result = declare(START.replace("counter drop", "counter accept"))
    assert result["changed"]
    assert "warnings" not in result
    assert len(asked) == 2
    assert "10.0.0.9" not in listing()
    assert "ip saddr @s counter accept" in listing()


def test_set_of_intervals_is_refilled_when_nft_refuses_single_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    declare(OTHER)
    load("delete rule inet site c handle 3\nadd rule inet site c ip saddr @s counter packets 5 bytes 6 drop")

    def refuse(text: str, number: int, real: Load) -> Completed:
        return real(text) if number > 1 else REFUSED

    asked = carried_out(monkeypatch, refuse)
    result = declare(OTHER.replace("/25", "/24, 10.1.0.0/16"))
    assert asked[1] == "flush set inet site s\nadd element inet site s { 10.0.0.0/24, 10.1.0.0/16 }\n"
    assert "warnings" not in result
    assert "packets 5 bytes 6" in nft("list table inet site")


def test_whole_table_is_replaced_when_nft_refuses_smaller_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    declare(START)

    def refuse(text: str, number: int, real: Load) -> Completed:
        return real(text) if number > 2 else REFUSED

    carried_out(monkeypatch, refuse)
    result = declare(OTHER)
    assert result["warnings"] == [
        "nft refused the smaller changes (Could not process rule: File exists), so the whole table site was "
        "replaced: its counters, and elements that packets had added, are lost"
    ]
    assert "10.0.0.0/25" in listing()


def test_permanently_refused_change_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    declare(START)
    before = listing()
    carried_out(monkeypatch, lambda text, number, real: REFUSED)
    assert try_table(content=OTHER)["msg"] == (
        "the table inet site cannot be brought to its declared state: Could not process rule: File exists"
    )
    assert listing() == before


def test_killed_run_is_completed_by_the_next(tmp_path: Path) -> None:
    """The module is killed together with its nft, at a random moment."""
    chance = random.Random(int(os.environ.get("KILL_SEED", "1")))
    file = tmp_path / "site.nft"
    contents = [
        "set s { type ipv4_addr; flags interval; size %d; elements = { %s }; }\nchain c { ip saddr @s drop; }\n"
        % (9000 + number, ", ".join("10.%d.%d.0/24" % (number, each) for each in range(250)))
        for number in (0, 1)
    ]
    load(FOREIGN)
    theirs = others()
    expected, moments = [], []
    for content in contents:
        started = time.monotonic()
        finish_module(start_module("nftables_table", diff=False, name="site", content=content, save_to=str(file)))
        moments.append(time.monotonic() - started)
        expected.append((listing(), file.read_text()))
    for number in range(KILLS):
        content = contents[number % 2]
        process = start_module("nftables_table", diff=False, name="site", content=content, save_to=str(file))
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(chance.uniform(0.5, 1.0) * min(moments))
        kill_module(process)
        assert listing() in (expected[0][0], expected[1][0])
        declare(content, diff=False, save_to=str(file))
        assert (listing(), file.read_text()) == expected[number % 2]
        assert others() == theirs
