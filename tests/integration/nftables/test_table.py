# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""nftables_table on a real kernel, beside foreign tables."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from ansible_collections.homelab.loadbalancer.plugins.module_utils._common.command import Completed, run
from ansible_collections.homelab.loadbalancer.plugins.module_utils._nftables import node
from ansible_collections.homelab.loadbalancer.tests.integration.namespaces import (
    Firewall,
    finish_module,
    fresh_network,
    module,
    run_at_boot,
    start_module,
)
from ansible_collections.homelab.loadbalancer.tests.integration.nftables.tables import (
    FOREIGN,
    converge,
    declare,
    listing,
    load,
    nft,
    others,
    try_table,
)

pytestmark = pytest.mark.usefixtures("fresh_node")

# Every kind of block, in spellings that differ from nft's own. Where possible, another block refers to it.
EVERYTHING = """\
comment "a table"
define office = { 192.0.2.0/24, 198.51.100.7 }
counter web { comment "x"; }
quota month { over 25 mbytes; }
limit slow { rate 400/minute burst 9 packets; }
ct helper ftp { type "ftp" protocol tcp; }
ct timeout short { protocol tcp; policy = { established: 100, close: 4 }; }
ct expectation more { protocol udp; dport 9876; timeout 2m; size 12; l3proto ip; }
synproxy proxy { mss 1460; wscale 7; timestamp sack-perm; }
set merged { type ipv4_addr; flags interval; auto-merge; elements = { 10.0.0.128/25, 10.0.0.0/25, $office } }
set apart { type ipv4_addr; flags interval; elements = { 10.0.0.128/25, 10.0.0.0/25 comment "a, b }" } }
set counted { type ipv4_addr; counter; elements = { 10.0.0.9, 10.0.0.1 } }
set timed { typeof ip saddr; flags timeout; elements = { 10.0.0.9, 10.0.0.1 timeout 60m } }
set filled { type ipv4_addr; size 100; flags dynamic,timeout; timeout 300s; }
set links { type ifname; elements = { "eth0", wg0 } }
set pairs { type ipv4_addr . inet_service; flags interval; elements = { 10.0.0.0/8 . 80-90, 11.0.0.1 . http } }
map dest { type ipv4_addr . inet_service : ipv4_addr . inet_service;
    elements = { 10.0.0.1 . http : 10.0.0.2 . 8080, 10.0.0.1 . 443 comment "c : d" : 10.0.0.2 . 8443 } }
map verdicts { type inet_service : verdict; elements = { 81 : goto other, 80 : jump one, 82 : accept } }
map counts { type ipv4_addr : counter; elements = { 10.0.0.1 : "web" } }
chain one { comment "a chain"; }
chain other {
    counter name web; quota name "month" drop; limit name "slow" accept
    ip saddr { 10.2.0.0/16, 10.1.0.0/16, 1.1.1.1 } counter drop comment "x # handle 5"
    tcp dport vmap { ssh : accept, 2 : jump one }
    meter flood { ip saddr limit rate 10/second } drop
    add @filled { ip saddr limit rate 5/second } accept
    ip saddr @merged ip daddr @apart ip saddr @counted ip saddr @timed oifname @links drop
    ip saddr . tcp dport @pairs quota over 1 mbytes drop
    counter name ip saddr map @counts
    tcp flags & (syn|ack) == syn synproxy name proxy
    tcp dport 21 ct helper set "ftp"; ct timeout set "short"; ct expectation set "more"
    iif lo meta mark set ct mark and 0xff jump one
    ip saddr 10.3.0.1 jump { counter; tcp dport { 2, 1 } jump one
        drop comment "x }"; }
}
chain entry { type filter hook input priority 10; policy drop; tcp dport vmap @verdicts; }
chain beside { type filter hook input priority filter + 10; }
chain nat { type nat hook prerouting priority -100; dnat ip addr . port to ip daddr . tcp dport map @dest; }
"""


def test_lifecycle_keeps_foreign_tables() -> None:
    load(FOREIGN)
    Firewall("nft")("-A INPUT -s 192.0.2.1 -j DROP")
    theirs = others()
    assert converge(EVERYTHING)["changed"]
    assert converge("chain c { }\nset s { type ipv4_addr; elements = { 10.0.0.1 }; }")["changed"]
    assert converge("")["changed"]
    assert listing() == "table inet site {\n}\n"
    declare(EVERYTHING)
    predicted = try_table(check_mode=True, content=EVERYTHING, state="absent")
    assert try_table(state="absent") == predicted
    assert (predicted["changed"], listing()) == (True, "")
    assert try_table(state="absent") == {**predicted, "changed": False, "diff": []}
    assert others() == theirs


# For each block, a replacement in EVERYTHING that changes only this block.
OTHERWISE = {
    "web": ('comment "x"', 'comment "y"'),
    "month": ("25 mbytes", "26 mbytes"),
    "slow": ("400/minute", "500/minute"),
    "ftp": ('type "ftp" protocol tcp', 'type "tftp" protocol udp'),
    "short": ("established: 100", "established: 200"),
    "more": ("dport 9876", "dport 9877"),
    "proxy": ("mss 1460", "mss 1400"),
    "merged": ("auto-merge; ", ""),
    "apart": ("set apart { ", "set apart { size 500; "),
    "counted": ("ipv4_addr; counter; elements", "ipv4_addr; elements"),
    "timed": ("flags timeout;", "flags timeout; timeout 9m;"),
    "filled": ("size 100", "size 200"),
    "links": ("set links { ", 'set links { comment "x"; '),
    "pairs": ("set pairs { ", "set pairs { size 500; "),
    "dest": ("map dest { ", "map dest { size 500; "),
    "verdicts": ("map verdicts { ", "map verdicts { size 500; "),
    "counts": ("map counts { ", "map counts { size 500; "),
    "one": ('comment "a chain"', 'comment "the chain"'),
    "other": ("2 : jump one", "3 : jump one"),
    "entry": ("hook input priority 10", "hook forward priority 10"),
    "beside": ("priority filter + 10", "priority filter + 11"),
    "nat": ("prerouting", "output"),
}


def test_every_block_is_replaced_while_it_is_in_use() -> None:
    """Each declaration changes one block, and changes the one before back."""
    declare(EVERYTHING)
    made = node.read("inet", "site")
    assert made is not None
    assert {name for dummy, name in made.blocks} - {"flood"} == set(OTHERWISE)  # newer versions list the meter's set
    for name, change in OTHERWISE.items():
        content = EVERYTHING.replace(*change)
        assert content != EVERYTHING
        result = declare(content)
        assert result["changed"], name
        assert "warnings" not in result, name
        assert not declare(content, diff=False)["changed"]


def test_counters_and_elements_of_packets_are_kept() -> None:
    """They are no change by themselves, and stay through every kind of change."""
    content = """\
    counter web { }
    quota month { 25 mbytes }
    set seen { type ipv4_addr; flags dynamic,timeout; timeout 1h; counter; elements = { 10.0.0.9 }; }
    set told { type ipv4_addr; flags timeout; elements = { 10.0.0.1 }; }
    map pairs { type ipv4_addr : counter; elements = { 10.0.0.1 : "web" }; }
    chain c { type filter hook input priority 0
        counter name web
        quota name month drop
        ip saddr 10.0.0.1 counter accept
        ip saddr @seen counter drop
        update @seen { ip saddr }
    }
    """
    declare(content)
    state = nft("list table inet site")
    state = state.replace("counter packets 0 bytes 0", "counter packets 7 bytes 700")
    state = state.replace("\t\tpackets 0 bytes 0", "\t\tpackets 5 bytes 500")
    state = state.replace("25 mbytes", "25 mbytes used 3 kbytes")
    added = ", 10.0.0.77 counter packets 9 bytes 900 timeout 2h expires 90m"
    added += ", 10.0.0.78 counter packets 1 bytes 1 expires 9m"
    state = re.sub(r"(10\.0\.0\.9 counter [^}]*?) \}", r"\1%s }" % added, state)
    state = state.replace("elements = { 10.0.0.1 }", "elements = { 10.0.0.1, 10.0.0.7 timeout 1h expires 30m }")
    load("delete table inet site\n" + state)

    def kept(counter: str = "packets 5 bytes 500", seen: bool = True) -> None:
        now = nft("list table inet site")
        assert counter in now, now
        assert "used 3 kbytes" in now
        assert now.count("packets 7 bytes 700") == 3
        assert re.search(r"10\.0\.0\.77 counter packets 9 bytes 900 timeout 2h expires 1h(29|30)m", now)
        assert re.search(r"10\.0\.0\.78 counter packets 1 bytes 1 expires [89]m", now)
        assert re.search(r"10\.0\.0\.7 timeout 1h expires (29|30)m", now)

    kept()
    assert not declare(content)["changed"]
    for changes in (
        [("ip saddr 10.0.0.1 counter accept", "tcp dport 22 accept\n ip saddr 10.0.0.1 counter accept")],
        [("flags timeout; e", "flags timeout; size 99; e"), ("timeout 1h;", "timeout 1h; size 99;")],
        [("counter web { }", 'counter web { comment "x"; }')],
        [("25 mbytes", "26 mbytes")],
        [("priority 0", "priority 5")],
        [("{ type ipv4_addr : counter;", "{ type ipv4_addr : counter; size 9;")],
        [("counter web", 'comment "anew"\ncounter web')],
    ):
        for change in changes:
            content = content.replace(*change)
        assert converge(content, static=False)["changed"], changes
        kept()
    # An undeclared element without a timeout was not added by packets, so it is removed.
    nft("add element inet site told { 10.0.0.8 }")
    assert converge(content, static=False)["changed"]
    assert "10.0.0.8" not in listing()
    kept()


def test_only_changed_elements_are_written(monkeypatch: pytest.MonkeyPatch) -> None:
    networks = ["10.%d.%d.0/24" % divmod(number, 100) for number in range(2000)]
    content = "set s { type ipv4_addr; flags interval; elements = { %s }\n}"
    declare(content % ", ".join(networks))
    asked: list[str] = []
    carry_out = node.load

    def noted(text: str) -> Completed:
        asked.append(text)
        return carry_out(text)

    monkeypatch.setattr(node, "load", noted)
    assert converge(content % ", ".join([*networks[1:], "192.0.2.0/25"]))["changed"]
    changes = [text for text in asked if not text.startswith("table ")]
    assert changes == ["delete element inet site s { 10.0.0.0/24 }\nadd element inet site s { 192.0.2.0/25 }\n"]


def test_rule_for_a_link_is_renewed_with_the_link() -> None:
    """The kernel stores the number of the link, and a new link of the same name has another number."""
    run(["ip", "link", "add", "br7", "type", "bridge"])
    content = 'chain c { type filter hook input priority 0; iif "br7" drop; }'
    assert converge(content)["changed"]
    run(["ip", "link", "del", "br7"])
    said = try_table(content=content)["msg"]
    assert said == "content line 1 `%s` is refused by nft: Interface does not exist (column 50)" % content
    run(["ip", "link", "add", "other", "type", "bridge"])
    run(["ip", "link", "add", "br7", "type", "bridge"])
    assert converge(content)["changed"]
    assert 'iif "br7" drop' in listing()
    device = 'chain c { type filter hook ingress device "br7" priority 0; accept; }'
    assert module("nftables_table", family="netdev", name="early", content=device)["changed"]
    assert not module("nftables_table", family="netdev", name="early", content=device)["changed"]


@pytest.mark.parametrize("family", ["ip", "ip6", "arp", "bridge"])
def test_lifecycle_in_every_family(family: str) -> None:
    content = "chain c { type filter hook input priority 0; counter drop; }"
    assert module("nftables_table", family=family, name="site", content=content)["changed"]
    assert not module("nftables_table", family=family, name="site", content=content)["changed"]
    assert "counter packets" in nft("list table %s site" % family)
    assert module("nftables_table", family=family, name="site", state="absent")["changed"]
    assert nft("list tables") == ""


def test_boot_file_restores_the_table(tmp_path: Path) -> None:
    load(FOREIGN)
    file = tmp_path / "site's.nft"
    result = converge(EVERYTHING, save_to=str(file))
    saved, theirs = listing(), others()
    assert result["boot"] == ['nft -f "%s"' % file]
    for start in ("list tables", "delete table inet site"):  # when the service is restarted, and after a boot
        nft(start)
        run_at_boot(result["boot"])
        assert (listing(), others()) == (saved, theirs)
    assert not declare(EVERYTHING, save_to=str(file))["changed"]
    file.write_text("")
    (shown,) = converge(EVERYTHING, save_to=str(file))["diff"]
    assert (shown["after_header"], shown["after"]) == (str(file), file.read_text())
    assert try_table(state="absent", save_to=str(file))["boot"] == []
    assert not file.exists()
    missing = try_table(content="", save_to=str(tmp_path / "nowhere" / "site.nft"))
    assert "create it first" in missing["msg"]
    assert listing() == ""
    assert declare("", check_mode=True, save_to=str(tmp_path / "nowhere" / "site.nft"))["changed"]


def test_missing_nft_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(argv: list[str], *rest: Any, **more: Any) -> Completed:
        return run(["no-such-" + argv[0], *argv[1:]], *rest, **more)

    monkeypatch.setattr(node, "run", missing)
    assert try_table(content="")["msg"] == "nft is not installed: install the package nftables"
    assert declare("", check_mode=True)["warnings"] == [
        "nft is not installed: install the package nftables. Nothing more can be predicted"
    ]
    assert not listing()


def test_module_runs_as_a_process() -> None:
    """The other tests call it in their own process."""
    assert finish_module(start_module("nftables_table", name="site", content=EVERYTHING))["changed"]
    assert not declare(EVERYTHING)["changed"]


def examples(root: Path) -> list[dict[str, Any]]:
    """The tasks of the module's documentation and of its guide."""
    module_text = (root / "plugins/modules/nftables_table.py").read_text()
    pages = re.findall(r'(?s)^EXAMPLES = r"""(.*?)"""', module_text, re.MULTILINE)
    pages += re.findall(r"(?s)```yaml\n(.*?)```", (root / "docs/nftables_table.md").read_text())
    tasks = [task for page in pages for task in yaml.safe_load(page)]
    return [task["homelab.loadbalancer.nftables_table"] for task in tasks]


def test_published_examples_work(root: Path, tmp_path: Path) -> None:
    found = examples(root)
    assert len(found) > 5
    for options in found:
        with fresh_network():
            if "save_to" in options:
                options["save_to"] = str(tmp_path / "example.nft")
            result = module("nftables_table", **options)
            assert result.get("changed") == (options.get("state") != "absent"), result
            assert module("nftables_table", **options)["changed"] is False
            run_at_boot(result["boot"])
            assert module("nftables_table", **options)["changed"] is False
