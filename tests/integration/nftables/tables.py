# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The nftables of a node: reading, loading and declaring tables, beside foreign ones."""

from __future__ import annotations

import re
from typing import Any

from ansible_collections.homelab.loadbalancer.plugins.module_utils._common.command import run
from ansible_collections.homelab.loadbalancer.tests.integration.namespaces import module

OURS = "inet site"
# One has the name of ours in another family, the other has objects with the names of ours.
FOREIGN = """\
table ip site {
    set s { type ipv4_addr; flags timeout; elements = { 192.0.2.1 } }
    chain c { type filter hook input priority 0; ip saddr @s counter packets 3 bytes 4 drop; }
}
table inet site2 {
    counter web { packets 5 bytes 6 }
    chain c { type filter hook output priority 0; counter name web; }
}
"""
_WRAPPED = re.compile(r",\n\t\t\t     ")
_COUNT = re.compile(r"\t# count \d+$", re.MULTILINE)  # of newer versions, beside a set's size
_BLOCK = re.compile(r"(?ms)^\t(?!\t)[^\n]*\{$.*?^\t\}$")
_STATE = re.compile(r" expires \w+| packets \d+ bytes \d+")


def nft(line: str, text: str = "") -> str:
    """Run nft by hand."""
    return run(["nft", *line.split()], text).out


def load(text: str) -> None:
    nft("-f -", text)


def listing(table: str = OURS, options: str = "-s") -> str:
    """A table as nft lists it, each list of elements on one line; empty if there is none."""
    if "table %s\n" % table not in nft("list tables"):
        return ""
    return _COUNT.sub("", _WRAPPED.sub(", ", nft("%s list table %s" % (options, table))))


def others(ours: str = OURS) -> str:
    """All tables except ours, with counters and handles."""
    names = [line[6:] for line in nft("list tables").splitlines()]
    return "".join(nft("-a list table " + name) for name in names if name != ours)


def blocks(text: str) -> list[str]:
    """The chains, sets and objects of a listing, in the order of their names."""
    return sorted(_BLOCK.findall(_WRAPPED.sub(", ", text)))


def try_table(check_mode: bool = False, diff: bool = True, **options: Any) -> dict[str, Any]:
    return module("nftables_table", check_mode, diff, **{"name": "site", **options})


def declare(content: str = "", check_mode: bool = False, diff: bool = True, **options: Any) -> dict[str, Any]:
    """Run the module, which must succeed."""
    result = try_table(check_mode, diff, content=content, **options)
    assert not result.get("failed"), result["msg"]
    return result


def still(text: str) -> str:
    return _STATE.sub("", text)


def converge(content: str = "", static: bool = True, **options: Any) -> dict[str, Any]:
    """Run the module in check mode, for real, and again.

    Check mode changes nothing and predicts the run. The second run changes nothing. Foreign tables stay as they are.
    static -- compare the diff with nft's own listings. A diff does not show undeclared elements, which packets add
    """
    theirs, before, shown_before = others(), listing(options="-a"), listing()
    predicted = declare(content, check_mode=True, **options)
    assert still(listing(options="-a")) == still(before)
    result = declare(content, **options)
    assert result == predicted
    after = listing(options="-a")
    again = declare(content, **options)
    assert again == {**result, "changed": False, "diff": []}
    assert declare(content, diff=False, **options)["changed"] is False
    assert still(listing(options="-a")) == still(after)
    assert others() == theirs
    if static:
        shown = [one for one in result["diff"] if one["after_header"].startswith("nft ")]
        had, has = blocks(shown_before), blocks(listing())
        for side, one, other in (("before", had, has), ("after", has, had)):
            assert [b for each in shown for b in blocks(each[side])] == [b for b in one if b not in other], side
    return result
