# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Valid sets, and sets that are refused before ipset runs."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.homelab.loadbalancer.plugins.module_utils._common.errors import InputError
from ansible_collections.homelab.loadbalancer.plugins.module_utils._ipset.input import Checker, parse_prefix, parse_sets
from ansible_collections.homelab.loadbalancer.plugins.module_utils._ipset.model import Wanted, temporary

OK = {"name": "LB-A", "type": "hash:ip"}

BAD: dict[str, tuple[dict[str, Any], str]] = {
    "no name": ({"name": None}, "sets[1].name None is not the name of a set"),
    "a number": ({"name": 5}, "sets[1].name 5 is not"),
    "long name": ({"name": "x" * 32}, "sets[1].name %s is not the name of a set: use 1 to 31" % ("x" * 32)),
    "space": ({"name": "a b"}, "sets[1].name a b is not"),
    "hyphen first": ({"name": "-a"}, "sets[1].name -a is not"),
    "line end": ({"name": "a\n"}, "sets[1].name a\n is not"),
    "name twice": ({"name": "LB-A"}, "sets[1].name LB-A is also the name of sets[0]: declare a set once"),
    "temporary": ({"name": temporary("x")}, "sets[1].name homelab-lb-new-"),
    "unknown key": ({"entrys": []}, "sets[1].entrys is not a known key"),
    "no type": ({"type": None}, "sets[1].type None is not a type of ipset: write one such as hash:ip,port"),
    "old type": ({"type": "iphash"}, "sets[1].type iphash is not a type"),
    "injected type": ({"type": "hash:ip -file /tmp/x"}, "sets[1].type hash:ip -file /tmp/x is not a type"),
    "family": ({"family": "inet"}, "sets[1].family inet is neither ipv4 nor ipv6"),
    "family of a bitmap": ({"type": "bitmap:port", "range": "0-9", "family": "ipv4"}, "sets[1].family: only hash"),
    "bitmap without range": ({"type": "bitmap:ip"}, "sets[1].range is missing: a bitmap is made for one"),
    "no time": ({"timeout": "soon"}, "sets[1].timeout soon is not a number from 0 to 2147483"),
    "long time": ({"timeout": 2147484}, "sets[1].timeout 2147484 is not a number from 0 to 2147483"),
    "negative time": ({"timeout": -1}, "sets[1].timeout -1 is not"),
    "true time": ({"timeout": True}, "sets[1].timeout True is not"),
    "half a size": ({"maxelem": 1.5}, "sets[1].maxelem 1.5 is not"),
    "no flag": ({"comment": "yes"}, "sets[1].comment yes is neither true nor false"),
    "injected option": ({"netmask": "24 -quiet"}, "sets[1].netmask 24 -quiet is not a value that ipset takes"),
    "no list": ({"entries": "10.0.0.1"}, "sets[1].entries must be a list, not str"),
    "no file": ({"entries_file": "/nowhere/x"}, "sets[1].entries_file cannot be read on this node: "),
    "no text": ({"entries": ["10.0.0.1", 7]}, "sets[1].entries[1] 7 is not text: put it in quotes"),
}  # fmt: skip
V4, V6 = "hash:ip family inet", "hash:net family inet6"
BAD_ENTRIES = {
    (V4, "10.0.0.300"): "has no IPv4 address at 10.0.0.300: host names are not looked up",
    (V4, "10.0.1"): "has no IPv4 address at 10.0.1",
    (V4, "010.0.0.1"): "has no IPv4 address at 010.0.0.1",
    (V4, "www.example.org"): "has no IPv4 address at www.example.org",
    (V4, "[www.example.org]"): "has no IPv4 address at",
    (V4, "fd00::1"): "has no IPv4 address at fd00::1: host names are not looked up, and a set holds one family",
    (V4, ""): "has no IPv4 address at ",
    (V4, "10.0.0.1,80"): "does not fit the type, which takes ip",
    (V4, "10.0.0.1\ndestroy X"): "is more than one line",
    (V4, "10.0.0.1\rdestroy X"): "is more than one line",
    (V4, "10.0.0.1 comment \"a\nb\""): "is more than one line",
    (V4, "10.0.0.1\0"): "is more than one line",
    (V4, "10.0.0.1 -quiet"): "holds an option of ipset itself",
    (V4, "-file /etc/passwd"): "holds an option of ipset itself",
    (V4, "10.0.0.1 -f x"): "holds an option of ipset itself",
    (V4, '10.0.0.1 comment "x'): "has a quote or a backslash out of place",
    (V4, '10.0.0.1 comment "x\\"'): "has a quote or a backslash out of place",
    (V4, "10.0.0.1 comment 'x y'"): "has a quote or a backslash out of place",
    (V4, '10.0.0.1 comment "%s"' % ("x" * 800)): "is longer than 800 characters",
    (V6, "10.0.0.0/8"): "has no IPv6 address at 10.0.0.0/8",
    (V6, "cafe.de"): "has no IPv6 address at cafe.de",
    (V6, "fd00::1::2"): "has an IPv6 address that is none",
    (V6, "1:2"): "has an IPv6 address that is none",
    ("hash:ip,port", "10.0.0.1"): "does not fit the type, which takes ip,port",
    ("hash:net,iface", "example.org,eth0"): "has no IPv4 address at example.org",
    ("hash:ip,port,net", "10.0.0.1,80,example.org"): "has no IPv4 address at example.org",
    ("list:set", "-x"): "holds an option of ipset itself",
}  # fmt: skip
GOOD_ENTRIES = [
    (V4, "10.0.0.1"), (V4, "10.0.0.1-10.0.0.9"), (V4, "10.0.0.0/24 timeout 5"), (V4, '10.0.0.1 comment "a - b -f"'),
    (V4, "10.0.0.1\ttimeout 5"), (V4, '10.0.0.1 comment "" timeout 5'), (V6, "fd00::/64"), (V6, "::ffff:10.0.0.1"),
    (V6, "FD00::1 nomatch"), ("hash:ip,port", "10.0.0.1,[ftp-data]"), ("hash:ip,port", "10.0.0.1,udp:5-9"),
    ("hash:net,iface", "10.0.0.0/8,physdev:eth0.5"), ("hash:ip,mark", "10.0.0.1,0x10"), ("bitmap:ip,mac", "10.0.0.1"),
    ("bitmap:ip,mac", "10.0.0.1,00:11:22:33:44:55"), ("hash:mac", "00:11:22:33:44:55"), ("bitmap:port", "http"),
    ("list:set", "LB-A before LB-B"), ("hash:net,port,net", "10.0.0.0/8,80,10.0.0.1"),
]  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_a_bad_set_is_named(case: str) -> None:
    options, said = BAD[case]
    with pytest.raises(InputError) as refused:
        parse_sets([OK, {"name": "LB-B", "type": "hash:ip", **options}], present=True)
    assert str(refused.value).startswith(said)


@pytest.mark.parametrize(("create", "entry"), BAD_ENTRIES)
def test_invalid_entry_is_explained(create: str, entry: str) -> None:
    assert Checker(create).why(entry).startswith(BAD_ENTRIES[create, entry])


@pytest.mark.parametrize(("create", "entry"), GOOD_ENTRIES)
def test_a_good_entry(create: str, entry: str) -> None:
    assert not Checker(create).why(entry)


def test_entries_are_written_for_ipset() -> None:
    raw = {
        "name": "LB-A",
        "type": "hash:net,port",
        "family": "ipv6",
        "timeout": "300",
        "maxelem": 9,
        "comment": True,
        "counters": False,
        "netmask": 64,
        "entries": ["fd00::/64,80"],
    }
    assert parse_sets([raw], present=True) == [
        Wanted(
            "sets[0]",
            "LB-A",
            "hash:net,port family inet6 timeout 300 maxelem 9 netmask 64 comment",
            ["fd00::/64,80"],
        )
    ]


def test_absent_set_needs_only_its_name() -> None:
    assert parse_sets([{"name": "LB-A"}], present=False) == [Wanted("sets[0]", "LB-A", mode="gone")]
    shared = {"name": "LB-A", "type": "hash:ip", "entries": ["10.0.0.1"], "append": True}
    assert parse_sets([shared], present=False) == [Wanted("sets[0]", "LB-A", "hash:ip", ["10.0.0.1"], "remove")]
    assert parse_sets([shared], present=True)[0].mode == "add"


def test_entries_of_a_file_follow_those_of_the_list(tmp_path: Any) -> None:
    file = tmp_path / "list"
    file.write_text("10.0.0.2\n# no\n\n 10.0.0.3 \n")
    wanted = parse_sets([{**OK, "entries": ["10.0.0.1"], "entries_file": str(file)}], present=True)
    assert wanted[0].entries == ["10.0.0.1", "10.0.0.2", "10.0.0.3"]
    file.write_text("10.0.0.2\n\nx\n")
    with pytest.raises(InputError, match=r"sets\[0\].entries_file .*/list, line 3: x has no IPv4"):
        parse_sets([{**OK, "entries_file": str(file)}], present=True)


@pytest.mark.parametrize("prefix", ["-", "a b", "x" * 32, "a\n"])
def test_a_bad_prefix(prefix: str) -> None:
    with pytest.raises(InputError, match="cannot begin set names"):
        parse_prefix(prefix)


def test_a_prefix() -> None:
    assert [parse_prefix(prefix) for prefix in ("", "LB-")] == ["", "LB-"]
