# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The smallest transaction between two listings of a table, command by command."""

from __future__ import annotations

import re
import textwrap
from typing import Optional, Tuple

import pytest

from ansible_collections.homelab.loadbalancer.plugins.module_utils._nftables.model import Table, parse_table, render
from ansible_collections.homelab.loadbalancer.plugins.module_utils._nftables.plan import make_plan


def table(text: str | None) -> Table | None:
    """A table of these blocks, as `nft -a list table` prints it. Only rules in transactions need their handles."""
    if text is None:
        return None
    return parse_table("table inet t { # handle 1\n%s}\n" % textwrap.indent(tabs(text), "\t"))


def tabs(text: str) -> str:
    """The text with a tab for each four spaces at the beginning of a line."""
    return re.sub(r"(?m)^( {4})+", lambda found: "\t" * (len(found[0]) // 4), text)


CHAIN = """\
chain c { # handle 1
    type filter hook input priority filter; policy accept;
    ip saddr @s counter packets 5 bytes 300 drop # handle 2
    tcp dport 80 counter packets 7 bytes 700 accept # handle 3
    jump d # handle 4
}
"""
SET = """\
set s { # handle 5
    type ipv4_addr
    flags timeout
    elements = { 10.0.0.1, 10.0.0.2 timeout 1h expires 59m1s comment "a, b" }
}
"""
OTHER_CHAIN = "chain d { # handle 6\n}\n"
ALL = SET + CHAIN + OTHER_CHAIN
FIRST = "    ip saddr @s counter packets 5 bytes 300 drop # handle 2\n"
MAP = """\
map m {
    type inet_service : verdict
    elements = { 80 : jump d, 81 : accept }
}
"""
COUNTER = """\
counter web {
    comment "a"
    packets 4 bytes 5
}
"""
USE = """\
chain c {
    counter name "web" # handle 7
    counter packets 1 bytes 2 # handle 8
}
"""
INNER = """\
chain c {
    ip saddr 10.0.0.1 jump {
        counter packets 7 bytes 8 # handle 4
        tcp dport { 1, 2 } accept
    } # handle 8
    accept # handle 13
}
"""
TIMED = """\
set y {
    type ipv4_addr
    flags dynamic,timeout
    timeout %s%s
}
"""
FLOWS = """\
flowtable f {
    hook ingress priority filter
    devices = { eth0 }
}
chain c {
    ct state established flow add @f # handle 9
    counter packets 1 bytes 2 # handle 10
}
"""
INTERVALS = "set i {\n    type ipv4_addr\n    flags interval\n    elements = { %s }\n}\n"

ANEW = """\
delete rule inet t c handle 2
delete set inet t s
table inet t {
    set s {
        type %s
        flags timeout
        elements = { %s }
    }
}
insert rule inet t c handle 3 ip saddr @s counter packets 5 bytes 300 drop
"""
INNER_ANEW = """\
table inet t {
    chain c {
%s        ip saddr 10.0.0.1 jump {
            counter packets 7 bytes 8
            tcp dport { 1, 2 } accept
        }
        accept
    }
}
"""


Case = Tuple[Optional[str], Optional[str], str]  # the live table, the wanted one, and the transaction


def case(have: str, replacements: dict[str, str], commands: str) -> Case:
    """The wanted table is the live one with replacements, all of which must match."""
    want = have
    for old, new in replacements.items():
        assert old in want, old
        want = want.replace(old, new)
    return have, want, commands


CASES: dict[str, Case] = {
    "nothing": case(ALL, {"packets 5 bytes 300": "packets 0 bytes 0", " expires 59m1s": ""}, ""),
    "nothing at all": (None, None, ""),
    "the table goes": (ALL, None, "delete table inet t\n"),
    "a policy": case(ALL, {"policy accept": "policy drop"}, "add chain inet t c { policy drop; }\n"),
    "a rule comes first": case(
        ALL,
        {"accept;\n": "accept;\n    ct state new # handle 9\n"},
        "insert rule inet t c handle 2 ct state new\n",
    ),
    "two rules come in the middle": case(
        ALL,
        {"    jump d": "    ct state new # handle 8\n    ct state invalid # handle 9\n    jump d"},
        "insert rule inet t c handle 4 ct state new\ninsert rule inet t c handle 4 ct state invalid\n",
    ),
    "a rule comes last": case(
        ALL,
        {"jump d # handle 4\n": "jump d # handle 4\n    ct state new # handle 9\n"},
        "add rule inet t c ct state new\n",
    ),
    "a rule moves with its counter": case(
        ALL,
        {FIRST: "", "    jump d # handle 4\n": "    jump d # handle 4\n" + FIRST},
        "delete rule inet t c handle 2\nadd rule inet t c ip saddr @s counter packets 5 bytes 300 drop\n",
    ),
    "an element": case(
        ALL,
        {"10.0.0.1,": "10.0.0.3,"},
        "delete element inet t s { 10.0.0.1 }\nadd element inet t s { 10.0.0.3 }\n",
    ),
    "an undeclared element with a time": case(ALL, {', 10.0.0.2 timeout 1h expires 59m1s comment "a, b"': ""}, ""),
    "an element's time": case(
        ALL,
        {"timeout 1h expires 59m1s": "timeout 2h expires 2h"},
        'delete element inet t s { 10.0.0.2 }\nadd element inet t s { 10.0.0.2 timeout 2h comment "a, b" }\n',
    ),
    "a set's type": case(
        ALL,
        {"ipv4_addr": "inet_proto", "10.0.0.1,": "6,", '10.0.0.2 timeout 1h expires 59m1s comment "a, b"': "17"},
        ANEW % ("inet_proto", "6, 17"),
    ),
    "a set's size, with its elements": case(
        ALL,
        {"    flags": "    size 9\n    flags", 'comment "a, b"': 'comment "a, b", 10.0.0.4'},
        ANEW
        % (
            "ipv4_addr\n        size 9",
            '10.0.0.1, 10.0.0.2 timeout 1h expires 59m1s comment "a, b", 10.0.0.4',
        ),
    ),
    "a set that gets a size and keeps elements of packets": case(
        SET,
        {"    flags": "    size 9\n    flags", "10.0.0.1, ": "", "10.0.0.2": "10.0.0.9"},
        """\
delete set inet t s
table inet t {
    set s {
        type ipv4_addr
        size 9
        flags timeout
        elements = { 10.0.0.9 timeout 1h comment "a, b", 10.0.0.2 timeout 1h expires 59m1s comment "a, b" }
    }
}
""",
    ),
    "a chain's hook": case(
        ALL,
        {"hook input": "hook output"},
        """\
flush chain inet t c
delete chain inet t c
table inet t {
    chain c {
        type filter hook output priority filter; policy accept;
        ip saddr @s counter packets 5 bytes 300 drop
        tcp dport 80 counter packets 7 bytes 700 accept
        jump d
    }
}
""",
    ),
    "a chain that rules and elements jump to": case(
        MAP + ALL,
        {"chain d { # handle 6\n": 'chain d { # handle 6\n    comment "x"\n'},
        """\
delete rule inet t c handle 4
flush chain inet t d
delete element inet t m { 80 : jump d }
delete chain inet t d
table inet t {
    chain d {
        comment "x"
    }
}
add element inet t m { 80 : jump d }
add rule inet t c jump d
""",
    ),
    "a chain goes": case(
        MAP + ALL,
        {"80 : jump d": "80 : drop", "    jump d # handle 4\n": "", OTHER_CHAIN: ""},
        """\
delete rule inet t c handle 4
flush chain inet t d
delete element inet t m { 80 : jump d }
delete chain inet t d
add element inet t m { 80 : drop }
""",
    ),
    "a counter, which keeps its count": case(
        COUNTER + USE,
        {'comment "a"': 'comment "b"', "4 bytes 5": "0 bytes 0"},
        """\
delete rule inet t c handle 7
delete counter inet t web
table inet t {
    counter web {
        comment "b"
        packets 4 bytes 5
    }
}
insert rule inet t c handle 8 counter name "web"
""",
    ),
    "a quota, which keeps its used part": case(
        "quota q {\n    over 25 mbytes used 3 kbytes\n}\n",
        {"25 mbytes used 3 kbytes": "30 mbytes"},
        "delete quota inet t q\ntable inet t {\n    quota q {\n        over 30 mbytes used 3 kbytes\n    }\n}\n",
    ),
    "a helper": (
        'ct helper f {\n    type "ftp" protocol tcp\n}\n',
        "chain d {\n}\n",
        "delete ct helper inet t f\ntable inet t {\n    chain d {\n    }\n}\n",
    ),
    "a comment of the table": (
        OTHER_CHAIN,
        'comment "x"\n' + OTHER_CHAIN,
        'add table inet t\ndelete table inet t\ntable inet t {\n    comment "x"\n\n    chain d {\n    }\n}\n',
    ),
    "a time that a packet set": case(
        "set y {\n    type ipv4_addr\n    flags dynamic,timeout\n    elements = { 10.0.0.1 timeout 5m }\n}\n",
        {" timeout 5m": ""},
        "",
    ),
    "a shorter timeout, with elements that would outlive it": (
        TIMED % ("10m", "\n    elements = { 10.0.0.1 expires 9m59s, 10.0.0.2 timeout 1h expires 59m }"),
        TIMED % ("5s", ""),
        "delete set inet t y\ntable inet t {\n"
        + textwrap.indent(TIMED % ("5s", "\n    elements = { 10.0.0.1, 10.0.0.2 timeout 1h expires 59m }"), "    ")
        + "}\n",
    ),
    "a chain within a new rule": (
        "chain c {\n    accept # handle 13\n}\n",
        INNER,
        "flush chain inet t c\n" + INNER_ANEW % "",
    ),
    "a chain within a rule that comes again": case(
        INNER,
        {"chain c {": 'chain c {\n    comment "x"', "packets 7 bytes 8": "packets 0 bytes 0"},
        "flush chain inet t c\ndelete chain inet t c\n" + INNER_ANEW % '        comment "x"\n',
    ),
    "the devices of a flowtable": case(
        FLOWS,
        {"eth0": "eth0, eth1"},
        """\
delete rule inet t c handle 9
delete flowtable inet t f
table inet t {
    flowtable f {
        hook ingress priority filter
        devices = { eth0, eth1 }
    }
}
insert rule inet t c handle 10 ct state established flow add @f
""",
    ),
    "intervals": case(
        INTERVALS % "10.0.0.0/24, 10.0.9.0/24",
        {"10.0.0.0/24": "10.0.0.0/25"},
        "delete element inet t i { 10.0.0.0/24 }\nadd element inet t i { 10.0.0.0/25 }\n",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_transaction(case: str) -> None:
    have, want, commands = CASES[case]
    plan = make_plan(table(have), table(want))
    assert plan.commands.replace(",\n\t\t\t     ", ", ") == tabs(commands)
    assert plan.changed == bool(commands)
    shown = plan.diff()
    assert (shown["before"] != shown["after"]) == plan.changed


def test_refill_flushes_only_sets_that_lose_and_get_intervals() -> None:
    have, want = INTERVALS % "10.0.0.0/24, 10.0.9.0/24", INTERVALS % "10.0.0.0/25, 10.0.9.0/24"
    plan = make_plan(table(have), table(want), refill=True)
    assert plan.commands == "flush set inet t i\nadd element inet t i { 10.0.0.0/25, 10.0.9.0/24 }\n"
    more = make_plan(table(have), table(INTERVALS % "10.0.0.0/24, 10.0.9.0/24, 10.0.8.0/24"), refill=True)
    assert more.commands == "add element inet t i { 10.0.8.0/24 }\n"


def test_refill_writes_chains_that_gain_rules_anew() -> None:
    """nft 0.9.8 crashes at `add rule` with a verdict map of the same transaction."""
    have = "chain c {\n    accept # handle 3\n}\nchain d {\n    counter packets 7 bytes 8 # handle 5\n}\n"
    want = MAP.replace("jump d", "drop") + have.replace("    counter", "    tcp dport vmap @m # handle 9\n    counter")
    commands = make_plan(table(have), table(want), refill=True).commands
    assert "insert rule" not in commands
    assert "flush chain inet t d\n" in commands
    assert "chain c" not in commands
    assert "\t\ttcp dport vmap @m\n\t\tcounter packets 7 bytes 8\n" in commands


@pytest.mark.parametrize("priority", ["filter", "filter + 10"])
def test_chains_at_one_hook_keep_the_declared_order(priority: str) -> None:
    def chains(*names: str) -> str:
        line = "\ttype filter hook input priority %s; policy accept;\n"
        each = {name: line % ("filter" if name == "z" else priority) for name in names}
        return "".join("chain %s {\n%s}\n" % one for one in each.items())

    same = make_plan(table(chains("a", "z", "b")), table(chains("a", "b", "z")))
    first = make_plan(table(chains("b")), table(chains("a", "b")))
    last = make_plan(table(chains("a")), table(chains("a", "b")))
    assert same.changed == (priority == "filter")
    assert "delete chain inet t b" in first.commands
    assert "delete chain" not in last.commands


def test_diff_contains_only_changed_blocks() -> None:
    shown = make_plan(table(ALL), table(ALL.replace("10.0.0.1,", "10.0.0.3,"))).diff()
    assert shown["before"] == (
        "table inet t {\n\tset s {\n\t\ttype ipv4_addr\n\t\tflags timeout\n"
        '\t\telements = { 10.0.0.1,\n\t\t\t     10.0.0.2 timeout 1h comment "a, b" }\n\t}\n}\n'
    )
    assert shown["after"] == shown["before"].replace("10.0.0.1", "10.0.0.3")


def test_quoted_text_is_not_parsed() -> None:
    text = """\
map m {
    type ifname : verdict
    elements = { "a : b" comment "x, y } counter packets 1 bytes 2" : jump d }
}
chain c {
    comment "policy drop;"
    accept comment "counter packets 1 bytes 2 # handle 5" # handle 6
    accept comment "two
lines # handle 5
    }
" # handle 7
}
"""
    made = table(text)
    assert made is not None
    (element,) = made.blocks["map", "m"].elements.values()
    assert (element.key, element.data) == ('"a : b"', "jump d")
    chain = made.blocks["chain", "c"]
    assert [rule.handle for rule in chain.rules] == [6, 7]
    assert chain.rules[0].text == 'accept comment "counter packets 1 bytes 2 # handle 5"'
    assert chain.policy == ""
    assert render(made, [made.blocks["map", "m"]]).splitlines()[3].strip().startswith('elements = { "a : b" comment')
